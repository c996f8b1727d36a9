"""`twl eval`: measure a model on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.cli import options
from twlcli.cli.label_options import with_label_options
from twlcli.cli.printable import echo_json, print_caveats, print_unreadable
from twlcli.cli.recipe_options import Splits

if TYPE_CHECKING:
    from twlcli.cli.tables import LabelOrder
    from twlcli.paired.result import PairedEvaluation
    from twlcli.scoring.evaluation import Evaluation


Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="MODEL... [DATA]",
        parser=options.on_disk,
        help="MODEL: an exported .onnx model, a run folder, a .safetensors checkpoint, or scores "
        "of `twl tag --scores`; several are compared with the first. DATA: labelled images. "
        f"{options.DATA_HELP} [default: what the first run was trained on]",
        show_default=False,
    ),
]
IgnoreUnknownLabels = Annotated[
    bool,
    typer.Option("--ignore-unknown-labels", help="Leave out labels of DATA that no MODEL knows."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object instead; scores are fractions 0..1.")
]
Scores = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Also write the scores of every image, of one MODEL: probabilities as .csv; or "
        "logits, probabilities, targets, labels and images as .npz.",
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Also write an HTML page: scores, curves, a threshold slider and the worst mistakes "
        "of each label; of several models their differences, by label and image.",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace the files of --scores and --report if they exist.")
]
Sort = Annotated[
    Literal["ap", "name"],
    typer.Option(
        metavar="ap|name",
        help="Order of the labels: highest AP first, or by name; of several models the largest "
        "difference first.",
    ),
]
AllLabels = Annotated[
    bool,
    typer.Option(
        "--all",
        help="List every label of a long vocabulary; of several models also those whose "
        "difference may be chance.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="What runs a run folder or checkpoint: auto, cuda, cuda:N, mps or cpu."
    ),
]


@with_label_options
def evaluate(
    paths: Paths,
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

    Several models are scored on the same images and labels, and compared with the first: which
    differences are more than chance, in which labels, and on which images they disagree.

    Images that cannot be read are listed and left out of the scores; the exit code is then 3.

    Example: twl eval voc.onnx VOCdevkit/VOC2007 --split val
    """
    from twlcli.cli.progress import counting_bar
    from twlcli.errors import TwlError
    from twlcli.paired.names import models_and_data
    from twlcli.paired.run import evaluate_models
    from twlcli.report.run import evaluate as evaluate_model

    models, data = models_and_data(list(paths))
    keywords: dict[str, Any] = {
        "split": split,
        "threshold": threshold,
        **reading.given(),
        "splits": splits,
        "ignore_unknown_labels": ignore_unknown_labels,
        "report": report,
        "force": force,
        "batch_size": batch_size,
        "workers": workers,
        "exact": exact,
        "max_pixels": max_pixels,
        "accept_damaged": accept_damaged,
        "provider": provider,
        "device": device,
        "allow_code": allow_code,
        "watcher": counting_bar,
    }
    if len(models) > 1:
        if scores is not None:
            raise TwlError("--scores takes the scores of one model; name it alone")
        paired = evaluate_models(models, data, **keywords)
        _print_paired(paired, as_json=as_json, order=sort, all_labels=all_labels)
        evaluations, unreadable = paired.evaluations, paired.unreadable
    else:
        evaluation = evaluate_model(models[0], data, scores=scores, **keywords)
        _print_one(evaluation, models[0], as_json=as_json, order=sort, all_labels=all_labels)
        evaluations, unreadable = (evaluation,), evaluation.unreadable
    print_caveats(
        damaged=max(each.damaged for each in evaluations),
        profiles_ignored=max(each.profiles_ignored for each in evaluations),
    )
    if unreadable:
        print_unreadable(unreadable, more="; --json lists all")
        raise typer.Exit(3)


def _print_one(
    evaluation: Evaluation, model: Path, *, as_json: bool, order: LabelOrder, all_labels: bool
) -> None:
    if as_json:
        _print_json(evaluation, model=model)
        return
    where = f"{evaluation.data}, split {evaluation.split}"
    title = f"{model} on {where}: {_images_of(evaluation)}"
    _print_tables(evaluation, title, order=order, all_labels=all_labels)


def _images_of(evaluation: Evaluation) -> str:
    mean = sum(label.support for label in evaluation.labels) / evaluation.images
    return f"{evaluation.images:,} images with {mean:.2f} labels each"


def _print_paired(
    paired: PairedEvaluation, *, as_json: bool, order: LabelOrder, all_labels: bool
) -> None:
    from twlcli.cli.console import err, out, print_table
    from twlcli.cli.paired_tables import (
        differences_table,
        images_table,
        labels_table,
        scores_table,
    )
    from twlcli.paired.report import (
        how_tested,
        images_text,
        labels_text,
        notes_on,
        paired_to_dict,
    )

    if as_json:
        echo_json(paired_to_dict(paired))
        return
    where = f"{paired.data}, split {paired.split}"
    out.print(f"{len(paired.names)} models on {where}: {_images_of(paired.evaluations[0])}")
    out.print()
    print_table(scores_table(paired))
    for each in paired.differences:
        names = (paired.names[0], each.name)
        out.print()
        out.print(f"{names[1]} − {names[0]}, thresholds {paired.evaluations[0].threshold}")
        print_table(differences_table(each))
        out.print()
        out.print(labels_text(each))
        if each.real or (all_labels and each.labels):
            print_table(labels_table(each, names, order=order, whole=all_labels))
        out.print()
        out.print(images_text(each.disagreement, paired.images, names))
        if each.disagreement.worst:
            print_table(images_table(each, names))
    for note in (*notes_on(paired), *how_tested(paired)):
        err.print(f"note: {note}")


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
