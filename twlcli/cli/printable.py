"""Texts from files and their names, made fit for a terminal."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

if TYPE_CHECKING:
    from twlcli.images.image_file import Failure

FAILURES_SHOWN = 20

_MAYBE_ODD = re.compile(r"[^\n -~]")
_LONGEST = 4000  # characters of a text that is shown; the longest path has as many


def printable(text: str) -> str:
    r"""`text` on one line, without control codes and bytes that are not UTF-8, and not endless.

    Example:
        >>> printable("caf\udce9\n\x1b[31m")
        'caf\\udce9\\n\\x1b[31m'
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 500]}…{text[-500:]}"
    return text if text.isprintable() else "".join(map(_printable, text))


def printable_lines(text: str) -> str:
    """`text` as `printable`, but whole, and with its lines."""
    return text if text.isprintable() else "\n".join(map(_escaped, text.split("\n")))


def _escaped(line: str) -> str:
    return "".join(map(_printable, line))


def _printable(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


# The only functions that print without rich; console.py has the one that prints with it.


def say(text: str) -> None:
    """One line on stderr, with the name of the program."""
    typer.echo(f"twl: {printable(text)}", err=True)


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Lines on stdout or stderr."""
    typer.echo(printable_lines(text), err=err, nl=nl)


def echo_json(value: Any) -> None:
    r"""A value as JSON on stdout, with escapes for what a terminal would not show."""
    echo_json_text(json.dumps(value, ensure_ascii=False, indent=2))


def echo_json_text(text: str) -> None:
    r"""JSON that is a text already; what is escaped, such as `\u202e`, means the same."""
    typer.echo(_MAYBE_ODD.sub(_json_escaped, text))


def _json_escaped(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]


class Terminal(io.RawIOBase):
    """A terminal as the place of data: what would act on it is shown as `printable_lines` does."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Print whole lines of UTF-8."""
        text = bytes(data).decode("utf-8", "surrogateescape")
        self._stream.write(printable_lines(text).encode())
        self._stream.flush()
        return len(data)


def data_stream() -> BinaryIO:
    """The standard output for data: as they are, but not onto a terminal."""
    stream = typer.get_binary_stream("stdout")
    try:
        is_terminal = os.isatty(stream.fileno())
    except OSError:  # no file, in a test
        is_terminal = False
    return Terminal(stream) if is_terminal else stream  # type: ignore[return-value]


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
    say(f"{what} not scored:")
    for each in unreadable[:FAILURES_SHOWN]:
        say(f"  {each.image}: {each.reason}")
    if count > FAILURES_SHOWN:
        say(f"  … and {count - FAILURES_SHOWN:,} more{more}")


def print_caveats(*, damaged: int, profiles_ignored: int) -> None:
    """Say on stderr what was odd about images that were read all the same."""
    without = "read without the embedded colour profile, which is damaged or does not fit"
    for count, sentence in (
        (damaged, "damaged and read as far as possible"),
        (profiles_ignored, without),
    ):
        if count:
            images = "1 image was" if count == 1 else f"{count:,} images were"
            say(f"{images} {sentence}")
