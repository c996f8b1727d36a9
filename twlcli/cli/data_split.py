"""`twl data split`: split labelled images for training, validation and testing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.cli import options
from twlcli.cli.data_check import Near, Workers
from twlcli.cli.label_options import with_label_options
from twlcli.cli.printable import echo_json

if TYPE_CHECKING:
    from twlcli.checking.split import DataSplit

LABELS_SHOWN = 5


@with_label_options
def split(
    data: options.Data,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="The table of image and split to write, for --splits of train and eval.",
            show_default=False,
        ),
    ],
    val: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of the images for validation; 0 for none.")
    ] = 0.1,
    test: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of the images for testing; 0 for none.")
    ] = 0.1,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="The same seed gives the same split.")
    ] = 0,
    group_by: Annotated[
        Literal["folder"] | None,
        typer.Option(metavar="folder", help="Keep the images of one folder together."),
    ] = None,
    reading: ReadOptions = DEFAULTS,
    no_images: Annotated[
        bool,
        typer.Option("--no-images", help="Do not read the images; copies are then not noticed."),
    ] = False,
    near: Near = None,
    max_pixels: options.MaxPixels = None,
    accept_damaged: options.AcceptDamaged = False,
    workers: Workers = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of the summary.")
    ] = False,
) -> None:
    """Split images: labels keep their shares, copies stay together.

    Copies of an image, and images that look nearly the same, are put in the same split. The order
    of the label file makes no difference, and splits that it names are ignored.

    Example: twl data split photos.csv --out splits.csv --val 0.1 --test 0.1
    """
    from twlcli.checking.split import split_labels
    from twlcli.cli.progress import counting_bar

    result = split_labels(
        data,
        out,
        val=val,
        test=test,
        seed=seed,
        group_by=group_by,
        look_at_images=not no_images,
        near=near,
        max_pixels=max_pixels,
        accept_damaged=accept_damaged,
        workers=workers,
        force=force,
        watcher=counting_bar,
        **reading.given(),
    )
    if as_json:
        echo_json(result.to_dict())
    else:
        _print(result, out)


def _print(result: DataSplit, path: Path) -> None:
    from rich.table import Table

    from twlcli.cli.console import err, out, print_table
    from twlcli.labels import counted

    total = len(result.images)
    sizes = ", ".join(
        f"{name} {count:,} ({100 * count / total:.1f} %)" for name, count in result.sizes.items()
    )
    out.print(f"{path}: {total:,} images; {sizes}")
    if result.groups:
        groups = counted(result.groups, "group", "groups")
        out.print(f"{result.together:,} images stay together, in {groups}")
    if result.shares:
        out.print()
        out.print("the labels whose shares differ most:")
        table = Table(box=None, pad_edge=False)
        table.add_column("label", overflow="fold")
        for heading in ("split", "images", "% of the split", "% of all"):
            table.add_column(heading, justify="right", no_wrap=True)
        for each in result.shares[:LABELS_SHOWN]:
            percents = (f"{100 * each.share:.2f}", f"{100 * each.overall:.2f}")
            table.add_row(each.label, each.split, f"{each.images:,}", *percents)
        print_table(table)
    if result.unreadable:
        err.print(
            f"note: {counted(result.unreadable, 'image is', 'images are')} missing or cannot be "
            "read, so what looks like them was not found"
        )
    if result.unreadable is not None and result.near is None:
        err.print(
            "note: only exact copies were looked for; images that look nearly the same need the "
            "'check' extra: pip install 'twlcli[check]'"
        )
