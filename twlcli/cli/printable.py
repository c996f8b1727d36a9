"""Texts from files and their names, made fit for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from twlcli.images.image_file import Failure

FAILURES_SHOWN = 20

_LONGEST = 4000  # characters of a text that is shown; the longest path has as many


def printable(text: str) -> str:
    r"""`text` on one line, without control codes and bytes that are not UTF-8, and not endless.

    Example:
        >>> printable("caf\udce9\n\x1b[31m")
        'caf\\udce9\\n\\x1b[31m'
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 500]}…{text[-500:]}"
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def print_unreadable(unreadable: Sequence[Failure], *, more: str = "") -> None:
    """List the images that are in no score on stderr, the first of many; `more` says where all."""
    if not unreadable:
        return
    count = len(unreadable)
    what = (
        "1 image cannot be read and is"
        if count == 1
        else f"{count:,} images cannot be read and are"
    )
    typer.echo(f"twl: {what} not scored:", err=True)
    for each in unreadable[:FAILURES_SHOWN]:
        typer.echo(f"twl:   {each.image}: {each.reason}", err=True)
    if count > FAILURES_SHOWN:
        typer.echo(f"twl:   … and {count - FAILURES_SHOWN:,} more{more}", err=True)


def print_caveats(*, damaged: int, profiles_ignored: int) -> None:
    """Say on stderr what was odd about images that were read all the same."""
    without = "read without the embedded colour profile, which is damaged or does not fit"
    for count, sentence in (
        (damaged, "damaged and read as far as possible"),
        (profiles_ignored, without),
    ):
        if count:
            images = "1 image was" if count == 1 else f"{count:,} images were"
            typer.echo(f"twl: {images} {sentence}", err=True)
