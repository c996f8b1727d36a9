"""`twl data check`: look for what is wrong with labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.cli import options
from twlcli.cli.label_options import with_label_options
from twlcli.cli.printable import echo_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from twlcli.checking.check import Checked
    from twlcli.checking.finding import Finding, Severity

ITEMS_SHOWN = 4
_STYLES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "note": "dim"}

NoImages = Annotated[
    bool, typer.Option("--no-images", help="Look at the labels alone, not at image files.")
]
Near = Annotated[
    int | None,
    typer.Option(
        metavar="BITS",
        help="Images look the same if at most so many of the 64 bits of their perceptual hashes "
        "differ, 0 to 16 [default: 6 with the check extra; without it none are compared]",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Processes that read images [default: one per core]"),
]


@with_label_options
def check(
    data: options.Data,
    reading: ReadOptions = DEFAULTS,
    no_images: NoImages = False,
    near: Near = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Name labels that a model's scores speak against: a file that twl eval --scores "
            "wrote, of images that the model was not trained on.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 for warnings too, not only for errors.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead, with all that was found.")
    ] = False,
    all_items: Annotated[
        bool, typer.Option("--all", help=f"List every case, not only {ITEMS_SHOWN} of each kind.")
    ] = False,
    max_pixels: options.MaxPixels = None,
    accept_damaged: options.AcceptDamaged = False,
    workers: Workers = None,
) -> None:
    """Look for what is wrong with labels and images.

    Finds images that are missing, unreadable or there twice, above all in two splits; labels that
    are never present, never absent, rare, or alike in name; and labels that a model's scores speak
    against.

    The exit code is 1 if there are errors, with --strict also if there are warnings, and 0
    otherwise. Errors are images that are missing, unreadable, in several splits, or there twice
    with different labels, and labels that are never present or never absent, in all images or in
    those to train on.

    Example: twl data check VOCdevkit/VOC2007
    """
    from twlcli.checking.check import check_labels
    from twlcli.cli.progress import counting_bar

    checked = check_labels(
        data,
        look_at_images=not no_images,
        near=near,
        scores=scores,
        max_pixels=max_pixels,
        accept_damaged=accept_damaged,
        workers=workers,
        watcher=counting_bar,
        **reading.given(),
    )
    if as_json:
        echo_json(checked.to_dict())
    else:
        _print(checked, shown=None if all_items else ITEMS_SHOWN)
    if checked.fails(strict=strict):
        raise typer.Exit(1)


def _print(checked: Checked, *, shown: int | None) -> None:
    from twlcli.cli.console import err, out, print_table
    from twlcli.labels import counted

    splits = ", ".join(f"{name or 'in none'} {count:,}" for name, count in checked.splits.items())
    out.print(
        f"{checked.source} ({checked.format}): {counted(checked.images, 'image', 'images')}, "
        f"{counted(checked.labels, 'label', 'labels')}; "
        + (splits if any(checked.splits) else "no splits")
    )
    for note in checked.notes:
        out.print(f"note: {note}")
    if checked.balance is not None:
        (fewest, least), (most, top) = checked.balance.fewest, checked.balance.most
        out.print(
            f"images of a label: {least:,} ({fewest}) to {top:,} ({most}), median "
            f"{checked.balance.median:,.0f}; {100 * checked.balance.unknown:.1f} % of all "
            "entries unknown"
        )
    out.print()
    if checked.findings:
        print_table(_table(checked.findings, shown=shown))
        out.print()
    out.print(_summary(checked.findings))
    if checked.looked and checked.near is None:
        err.print(
            "note: images that look nearly the same were not looked for; that needs the 'check' "
            "extra: pip install 'twlcli[check]'"
        )


def _table(findings: Sequence[Finding], *, shown: int | None) -> Table:
    """A row for each finding, and below it what can be done and the first of its cases."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        style = _STYLES[finding.severity]
        hint = f"; {finding.hint}" if finding.hint else ""
        table.add_row(Text(finding.severity, style=style), f"{finding.message}{hint}")
        for item in finding.items[:shown]:
            table.add_row("", Padding(item.text, (0, 0, 0, 2)))
        if shown is not None and finding.count > shown:
            table.add_row("", f"  … and {finding.count - shown:,} more")
    return table


def _summary(findings: Sequence[Finding]) -> str:
    from twlcli.labels import counted

    errors = sum(finding.severity == "error" for finding in findings)
    warnings = sum(finding.severity == "warning" for finding in findings)
    if not errors and not warnings:
        return "nothing is wrong"
    return f"{counted(errors, 'error', 'errors')}, {counted(warnings, 'warning', 'warnings')}"
