"""`twl data`: inspect, check, convert and split labels, draw a sample data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.cli import options
from twlcli.cli.command import Command
from twlcli.cli.data_check import check
from twlcli.cli.data_split import split
from twlcli.cli.label_options import with_label_options
from twlcli.cli.printable import echo_json
from twlcli.io import check_free, check_not_read

if TYPE_CHECKING:
    from twlcli.annotations.summary import Summary

LABELS_SHOWN = 40
SPLITS_SHOWN = 4

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    help="Inspect, check, convert and split labels, draw a sample data set.",
)


@app.command(cls=Command)
@with_label_options
def show(
    data: options.Data,
    reading: ReadOptions = DEFAULTS,
    all_labels: Annotated[
        bool,
        typer.Option("--all", help=f"List every label, not only the {LABELS_SHOWN} most frequent."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Show format, splits, labels and missing files.

    Example: twl data show photos.csv --images /mnt/photos --all
    """
    from twlcli.annotations.detect import read_with
    from twlcli.annotations.summary import summarize

    annotations = read_with(data, reading)
    summary = summarize(annotations)
    if as_json:
        echo_json(summary.to_dict())
    else:
        _print_facts(summary)
        _print_labels(summary, shown=len(summary.labels) if all_labels else LABELS_SHOWN)


app.command(cls=Command)(check)


@app.command(cls=Command)
@with_label_options
def convert(
    data: options.Data,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="The table to write: a .csv, .tsv or .parquet.", show_default=False
        ),
    ],
    reading: ReadOptions = DEFAULTS,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Convert labels of any format to one table.

    The table holds every label, unknown label and split. Image paths in it are relative to its
    own folder.

    Example: twl data convert VOCdevkit/VOC2007 --out voc.csv
    """
    from twlcli.annotations.detect import read_with
    from twlcli.annotations.write import write_table
    from twlcli.cli.console import err
    from twlcli.labels import counted

    check_free(out, force=force)
    check_not_read(out, (data, reading.corrections, reading.names))
    annotations = read_with(data, reading)
    write_table(annotations, out)
    images, labels = annotations.labels.shape
    err.print(
        f"{out}: {counted(images, 'image', 'images')}, {counted(labels, 'label', 'labels')}, "
        f"read as {annotations.format}"
    )


app.command(cls=Command)(split)


@app.command(cls=Command)
def sample(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="New or empty folder to write to.", show_default=False),
    ],
    images: Annotated[int, typer.Option(min=5, metavar="N", help="Number of images.")] = 2000,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="The same seed draws the same images.")
    ] = 0,
) -> None:
    """Draw a sample data set to try twl on.

    Writes images of coloured shapes, and a labels.csv with the splits train and val.

    Example: twl data sample shapes --images 2000
    """
    from twlcli.cli.console import err
    from twlcli.shapes.sample import draw

    draw(folder, count=images, seed=seed)
    err.print(f"{folder / 'labels.csv'}: {images:,} images drawn")


def _print_facts(summary: Summary) -> None:
    from rich.table import Table

    from twlcli.cli.console import out, print_table

    out.print(f"{summary.source} ({summary.format})")
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(no_wrap=True)
    facts.add_column(justify="right", no_wrap=True)
    facts.add_column(overflow="fold")
    splits = ", ".join(f"{name or 'in none'} {n:,}" for name, n in summary.splits.items())
    mean, most = summary.labels_per_image_mean, summary.labels_per_image_max
    rows = [
        ("images", summary.images, splits if any(summary.splits) else "no splits"),
        *([("groups", summary.groups, "")] if summary.groups else []),
        ("labels", len(summary.labels), f"{mean:.3f} per image on average, at most {most}"),
        ("images without labels", summary.unlabelled, ""),
        ("unknown entries", summary.unknown, ""),
        ("missing files", summary.missing, ""),
    ]
    for name, count, remark in rows:
        facts.add_row(name, f"{count:,}", remark)
    print_table(facts)
    for path in summary.missing_first:
        out.print(f"  {path}")
    if summary.missing > len(summary.missing_first):
        out.print(f"  … and {summary.missing - len(summary.missing_first):,} more")
    for note in summary.notes:
        out.print(f"note: {note}")
    out.print()


def _print_labels(summary: Summary, *, shown: int) -> None:
    from rich.table import Table

    from twlcli.cli.console import out, print_table

    splits = [name for name in summary.splits if name]
    splits = splits if 2 <= len(splits) <= SPLITS_SHOWN else []
    table = Table(box=None, pad_edge=False)
    table.add_column("label", overflow="fold")
    for heading in ("images", "%", *(["unknown"] if summary.unknown else []), *splits):
        table.add_column(heading, justify="right", no_wrap=True)
    for label in summary.labels[:shown]:
        cells = [f"{label.present:,}", f"{100 * label.present / summary.images:.1f}"]
        if summary.unknown:
            cells.append(f"{label.unknown:,}")
        cells += [f"{label.splits[name]:,}" for name in splits]
        table.add_row(label.name, *cells)
    print_table(table)
    if len(summary.labels) > shown:
        out.print(f"… and {len(summary.labels) - shown:,} more labels; --all shows them")
