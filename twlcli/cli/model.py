"""`twl model`: what a model is, and models of other programs as twl's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.cli import options, tag_options
from twlcli.cli.command import Command
from twlcli.cli.label_options import flags_of, with_label_options
from twlcli.cli.printable import echo, echo_json, print_unreadable, say
from twlcli.errors import TwlError, needs_extra

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    help="Show what a model is, and make models of other programs twl's own.",
)

Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        parser=options.on_disk,
        help="An exported .onnx model, a folder with a model of another program, hf:ORG/NAME, a "
        "run folder or checkpoint, or a name from `twl models`.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
Source = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        parser=options.on_disk,
        help="A folder or .onnx file that another program has made, or hf:ORG/NAME.",
    ),
]
Out = Annotated[Path, typer.Option(metavar="FILE", help="The .onnx file to write.")]
Calibrate = Annotated[
    Path | None,
    typer.Option(
        metavar="DATA",
        help=f"Fit calibration and thresholds to labelled images that the model was not trained "
        f"on. {options.DATA_HELP}",
    ),
]
IgnoreUnknownLabels = Annotated[
    bool,
    typer.Option(
        "--ignore-unknown-labels", help="Leave out labels of DATA that the model does not know."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]


@app.command(cls=Command)
def show(model: Model, as_json: AsJson = False, allow_code: options.AllowCode = False) -> None:
    """Show a model's labels, preprocessing, thresholds and where it comes from.

    Example: twl model show voc.onnx
    """
    from twlcli.model.load import load_predictor

    spec = load_predictor(model, allow_code=allow_code).spec
    fitted = spec.thresholds
    names = {} if fitted is None else {"precision": fitted.precision, "recall": fitted.recall}
    fields: dict[str, Any] = {
        "model": str(model),
        "made by": spec.provenance.get("made_by", "twl"),
        "network": spec.backbone,
        "images": spec.preprocessing.fields(),
        "thresholds": [] if fitted is None else ["best-f1"],
    }
    for what, by_target in names.items():
        fields["thresholds"] += [f"{what}={float(key):g}" for key in by_target]
    if fitted is not None:
        fields["thresholds"] += [f"f{beta}" for beta in fitted.f_beta]
    if validation := spec.provenance.get("validation"):
        fields["validation"] = validation
    fields["labels"] = list(spec.vocabulary.names)
    if as_json:
        echo_json(fields)
        return
    labels = fields.pop("labels")
    for name, value in fields.items():
        echo(f"{name + ':':12} {_in_words(value)}")
    echo(f"{'labels:':12} {len(labels):,}")
    for label in labels:
        echo(f"  {label}")


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_in_words(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(_in_words, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@app.command(cls=Command)
@with_label_options
def adopt(
    source: Source,
    out: Out,
    labels: tag_options.LabelsFile = None,
    form: tag_options.InputForm = None,
    calibrate: Calibrate = None,
    split: options.Split = None,
    reading: ReadOptions = DEFAULTS,
    ignore_unknown_labels: IgnoreUnknownLabels = False,
    force: Force = False,
    workers: options.Threads = None,
) -> None:
    """Write a model of another program as one of twl's: one .onnx file, with fitted thresholds.

    What prepares images becomes a part of the file. With --calibrate, probabilities and thresholds
    are fitted to your own images; without, they are those of the other program.

    Example: twl model adopt wd-vit-tagger-v3 --calibrate labels.csv --out mine.onnx
    """
    with needs_extra("adopting a model", "train"):
        from twlcli.exporting.adopt import adopt as adopt_model
    from twlcli.cli.progress import counting_bar
    from twlcli.labels import counted

    if calibrate is None and (given := flags_of(reading) or ({"split": 1} if split else {})):
        raise TwlError(f"--{next(iter(given))} requires --calibrate")
    done = adopt_model(
        source,
        out,
        labels=labels,
        input=form,
        calibrate=calibrate,
        split=split,
        **reading.given(),
        ignore_unknown_labels=ignore_unknown_labels,
        force=force,
        workers=workers,
        watcher=counting_bar,
    )
    count = counted(len(done.spec.vocabulary), "label", "labels")
    whose = f"those of {done.spec.provenance['made_by']}"
    if done.images:
        whose = f"fitted to {counted(done.images, 'image', 'images')}"
    say(f"{done.path}: {count}; calibration and thresholds {whose}")
    if done.unreadable:
        print_unreadable(done.unreadable)
        raise typer.Exit(3)
