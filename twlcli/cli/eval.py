"""`twl eval`: how good a model is on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from twlcli.cli.printable import print_unreadable

if TYPE_CHECKING:
    from twlcli.cli.tables import LabelOrder
    from twlcli.scoring.evaluation import Evaluation


Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="An exported .onnx, a run folder or .safetensors.")
]
Data = Annotated[
    Path | None,
    typer.Argument(
        metavar="DATA", help="Labels to evaluate on. Default: what the run was trained on."
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="A split of DATA, or all. Default: val; all where there are no splits."
    ),
]
Threshold = Annotated[
    str | None,
    typer.Option(
        metavar="T",
        help="A number for all labels, or precision=0.9 for the fitted ones. "
        "Default: best-f1, fitted for the best F1 of each label.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option("--format", metavar="NAME", help="DATA's format; found by itself otherwise."),
]
Images = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder that DATA's image paths are relative to."),
]
CocoImages = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder with the photographs of a COCO file.")
]
Separator = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What stands between labels in a cell, or json.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON object instead, scores as fractions 0..1.")
]
Scores = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Also write every image's scores: probabilities as .csv, or logits, probabilities, "
        "targets, labels and images as .npz.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file of --scores if it exists.")]
Sort = Annotated[
    Literal["ap", "name"], typer.Option(help="Labels with the best AP first, or by name.")
]
AllLabels = Annotated[bool, typer.Option("--all", help="Every label of a long vocabulary.")]
BatchSize = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Images in one call of the model.")
]
Workers = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Threads. Default: one for each core.")
]
Exact = Annotated[bool, typer.Option("--exact", help="Decode JPEG at full size: slower.")]
Device = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="What runs a run or .safetensors: auto, cpu, cuda, mps."),
]
Provider = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="What runs an .onnx, such as cpu or cuda. Default: the best."
    ),
]


def evaluate(
    model: Model,
    data: Data = None,
    split: Split = None,
    threshold: Threshold = None,
    format_name: Format = None,
    images: Images = None,
    coco_images: CocoImages = None,
    separator: Separator = None,
    as_json: AsJson = False,
    scores: Scores = None,
    force: Force = False,
    sort: Sort = "ap",
    all_labels: AllLabels = False,
    batch_size: BatchSize = None,
    workers: Workers = None,
    exact: Exact = False,
    device: Device = None,
    provider: Provider = None,
) -> None:
    """Evaluate a model on labelled images: mAP, precision, recall, F1, calibration.

    Images that cannot be read are left out of the scores and listed, and the exit code is then 3.

    Example: twl eval voc.onnx VOCdevkit/VOC2007 --split val
    """
    from twlcli.cli.progress import counting_bar
    from twlcli.scoring.evaluation import evaluate as evaluate_model

    evaluation = evaluate_model(
        model,
        data,
        split=split,
        threshold=threshold,
        format=format_name,
        images=images,
        coco_images=coco_images,
        separator=separator,
        scores=scores,
        force=force,
        batch_size=batch_size,
        workers=workers,
        exact=exact,
        provider=provider,
        device=device,
        watcher=counting_bar,
    )
    if as_json:
        _print_json(evaluation, model=model)
    else:
        where = f"{evaluation.data}, split {evaluation.split}: {evaluation.images:,} images"
        _print_tables(evaluation, f"{model} on {where}", order=sort, all_labels=all_labels)
    if evaluation.unreadable:
        print_unreadable(evaluation.unreadable, more="; --json lists all")
        raise typer.Exit(3)


def _print_tables(
    evaluation: Evaluation, title: str, *, order: LabelOrder, all_labels: bool
) -> None:
    from twlcli.cli.console import out
    from twlcli.cli.tables import decision_table, label_table, summary_table

    out.print(title, markup=False)
    out.print()
    out.print(summary_table(evaluation))
    out.print()
    out.print(decision_table(evaluation))
    out.print()
    out.print(label_table(evaluation, order=order, whole=all_labels))


def _print_json(evaluation: Evaluation, *, model: Path) -> None:
    import json

    from twlcli.scoring.report import to_dict

    fields = {"model": str(model), **to_dict(evaluation)}
    typer.echo(json.dumps(fields, ensure_ascii=False, indent=2, allow_nan=False))
