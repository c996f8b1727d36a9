"""Reads lists of file names, one at a time."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from typing import BinaryIO

from twlcli.errors import TwlError

MAX_NAME = 1 << 16  # bytes; no system has longer paths
_BLOCK = 1 << 16


def read_list(file: BinaryIO, *, source: str, null: bool = False) -> Iterator[str]:
    r"""The names of a list, in its order, in the memory of one name.

    Bytes that are not UTF-8 are kept as `os.fsdecode` does.

    Args:
        file: the list, opened for reading; it need not be seekable.
        source: what errors call the list.
        null: the names end with NUL and are taken as they are, as `find -print0` writes them.
            Otherwise they end with a line feed or with CR LF, a byte order mark in front is
            dropped, and blank lines are ignored.

    Raises:
        TwlError: something that cannot be a list of names; with the number of the line.
    """
    names = _pieces(file, b"\0" if null else b"\n", source)
    for line, name in enumerate(names, start=1):
        if not null:
            name = name.removeprefix(codecs.BOM_UTF8) if line == 1 else name
            name = name.removesuffix(b"\r")
            if b"\0" in name:
                raise TwlError(
                    f"{source}:{line}: a NUL character in a list of names",
                    hint="{null} reads names that end with NUL",
                )
        if name and (null or not name.isspace()):
            try:
                yield os.fsdecode(name)
            except UnicodeDecodeError:  # only on Windows, whose names have no bytes to keep
                raise TwlError(f"{source}:{line}: not UTF-8") from None


def _pieces(file: BinaryIO, separator: bytes, source: str) -> Iterator[bytes]:
    read = getattr(file, "read1", file.read)  # what a pipe has by now, not a full block
    rest = b""
    count = 0
    while block := read(_BLOCK):
        *pieces, rest = (rest + block).split(separator)
        yield from pieces
        count += len(pieces)
        if len(rest) > MAX_NAME:
            raise TwlError(
                f"{source}:{count + 1}: a name of more than {MAX_NAME:,} bytes; "
                "expected a list of file names"
            )
    if rest:
        yield rest
