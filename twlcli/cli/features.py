"""`twl features`: the features of images that frozen backbones left on disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twlcli.cli.command import Command
from twlcli.cli.printable import echo
from twlcli.errors import TwlError

if TYPE_CHECKING:
    from twlcli.features.kept import CacheSummary

_DAY = 24 * 60 * 60  # seconds

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    help="Show and remove features that train --frozen, compare --frozen and probe computed.",
)

Folder = Annotated[
    Path | None,
    typer.Argument(
        metavar="DIR",
        help="The folder of features [default: the user's cache]",
        show_default=False,
    ),
]


@app.command(cls=Command)
def show(folder: Folder = None) -> None:
    """Show of which networks and how many images features are kept, and how large they are.

    Example: twl features show
    """
    from rich.table import Table

    from twlcli.cli.console import err, out, print_table
    from twlcli.features.cache import default_folder
    from twlcli.features.kept import summaries

    place = _there(folder) or default_folder()
    found = summaries(place)
    if not found:
        err.print(f"{place}: no features are kept there")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("network", overflow="fold")
    for heading in ("pixels", "images", "rows", "MB", "last used"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in found:
        table.add_row(
            *_facts(each),
            _megabytes(each),
            time.strftime("%Y-%m-%d", time.localtime(each.used)),
        )
    out.print(f"in {place}:")
    print_table(table)


@app.command(cls=Command)
def prune(
    folder: Folder = None,
    unused: Annotated[
        float,
        typer.Option(
            metavar="DAYS",
            min=0,
            help="Remove those of networks that were not used for so many days; 0 removes all.",
        ),
    ] = 30,
) -> None:
    """Remove the features of networks that were not used for long.

    They are computed again where they are needed.

    Example: twl features prune --unused 7
    """
    from twlcli.features.cache import default_folder
    from twlcli.features.kept import prune as remove

    place = _there(folder) or default_folder()
    removed, in_use = remove(place, unused_since=time.time() - _DAY * unused)
    for each in removed:
        echo(f"removed {each.folder}: {_megabytes(each)} MB")
    for each in in_use:
        echo(f"left {each.folder}: in use by another twl", err=True)
    if not removed and not in_use:
        echo(f"nothing was unused for {unused:g} days", err=True)


def _there(folder: Path | None) -> Path | None:
    """A folder that was named, which has to be there."""
    if folder is not None and not folder.is_dir():
        what = "is not a folder" if folder.exists() else "no such folder"
        raise TwlError(f"{folder}: {what}")
    return folder


def _facts(summary: CacheSummary) -> tuple[str, str, str, str]:
    """Network, pixels, images and rows."""
    about = summary.about
    if about is None:
        return f"{summary.folder.name} (unreadable)", "–", "–", "–"
    pixels = str(about.preprocessing.crop)
    return about.backbone, pixels, f"{summary.images:,}", f"{summary.rows:,}"


def _megabytes(summary: CacheSummary) -> str:
    return f"{summary.size / 1e6:,.1f}"
