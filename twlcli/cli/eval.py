"""`twl eval`: measure a model on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.cli import options
from twlcli.cli.label_options import with_label_options
from twlcli.cli.printable import echo_json, print_caveats, print_unreadable
from twlcli.cli.recipe_options import Splits

if TYPE_CHECKING:
    from twlcli.cli.tables import LabelOrder
    from twlcli.scoring.evaluation import Evaluation


Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="An exported .onnx model, a run folder, a .safetensors checkpoint, or scores of "
        "`twl tag --scores`.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Argument(
        metavar="DATA", help=f"{options.DATA_HELP} [default: what the run was trained on]"
    ),
]
IgnoreUnknownLabels = Annotated[
    bool,
    typer.Option(
        "--ignore-unknown-labels", help="Leave out labels of DATA that the model does not know."
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object instead; scores are fractions 0..1.")
]
Scores = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Also write the scores of every image: probabilities as .csv; or logits, "
        "probabilities, targets, labels and images as .npz.",
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Also write an HTML page: scores, curves, a threshold slider and the worst mistakes "
        "of each label.",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace the files of --scores and --report if they exist.")
]
Sort = Annotated[
    Literal["ap", "name"],
    typer.Option(metavar="ap|name", help="Order of the labels: highest AP first, or by name."),
]
AllLabels = Annotated[bool, typer.Option("--all", help="List every label of a long vocabulary.")]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="What runs a run folder or checkpoint: auto, cuda, cuda:N, mps or cpu."
    ),
]


@with_label_options
def evaluate(
    model: Model,
    data: Data = None,
    split: options.Split = None,
    threshold: options.Threshold = None,
    reading: ReadOptions = DEFAULTS,
    splits: Splits = None,
    ignore_unknown_labels: IgnoreUnknownLabels = False,
    as_json: AsJson = False,
    scores: Scores = None,
    report: Report = None,
    force: Force = False,
    sort: Sort = "ap",
    all_labels: AllLabels = False,
    batch_size: options.BatchSize = None,
    workers: options.Threads = None,
    exact: options.Exact = False,
    max_pixels: options.MaxPixels = None,
    accept_damaged: options.AcceptDamaged = False,
    device: Device = None,
    provider: options.Provider = None,
    allow_code: options.AllowCode = False,
) -> None:
    """Evaluate a model on labelled images: mAP, precision, recall, F1, calibration.

    Images that cannot be read are listed and left out of the scores; the exit code is then 3.

    Example: twl eval voc.onnx VOCdevkit/VOC2007 --split val
    """
    from twlcli.cli.progress import counting_bar
    from twlcli.report.run import evaluate as evaluate_model

    evaluation = evaluate_model(
        model,
        data,
        split=split,
        threshold=threshold,
        **reading.given(),
        splits=splits,
        ignore_unknown_labels=ignore_unknown_labels,
        scores=scores,
        report=report,
        force=force,
        batch_size=batch_size,
        workers=workers,
        exact=exact,
        max_pixels=max_pixels,
        accept_damaged=accept_damaged,
        provider=provider,
        device=device,
        allow_code=allow_code,
        watcher=counting_bar,
    )
    if as_json:
        _print_json(evaluation, model=model)
    else:
        mean = sum(label.support for label in evaluation.labels) / evaluation.images
        where = f"{evaluation.data}, split {evaluation.split}"
        title = f"{model} on {where}: {evaluation.images:,} images with {mean:.2f} labels each"
        _print_tables(evaluation, title, order=sort, all_labels=all_labels)
    print_caveats(damaged=evaluation.damaged, profiles_ignored=evaluation.profiles_ignored)
    if evaluation.unreadable:
        print_unreadable(evaluation.unreadable, more="; --json lists all")
        raise typer.Exit(3)


def _print_tables(
    evaluation: Evaluation, title: str, *, order: LabelOrder, all_labels: bool
) -> None:
    from twlcli.cli.console import err, out, print_table
    from twlcli.cli.tables import decision_table, label_table, summary_table
    from twlcli.scoring.report import notes_on

    out.print(title)
    out.print()
    print_table(summary_table(evaluation))
    out.print()
    print_table(decision_table(evaluation))
    out.print()
    print_table(label_table(evaluation, order=order, whole=all_labels))
    for note in notes_on(evaluation):
        err.print(f"note: {note}")


def _print_json(evaluation: Evaluation, *, model: Path) -> None:
    from twlcli.scoring.report import to_dict

    fields = {"model": str(model), **to_dict(evaluation)}
    echo_json(fields)
