"""Reads lists of file names, one at a time."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from twlcli.errors import TwlError

MAX_NAME = 1 << 16  # bytes; no system has longer paths
_BLOCK = 1 << 16
_UNUSUAL = re.compile(r"""^[\s"']|[\s"']$|\\|^file:""", re.IGNORECASE)  # for a name of a file
_QUOTED = re.compile(r"""(["']).+\1""")


def read_list(file: BinaryIO, *, source: str, null: bool = False) -> Iterator[str]:
    r"""The names of a list, in its order, in the memory of one name.

    Bytes that are not UTF-8 are kept as `os.fsdecode` does.

    Args:
        file: the list, opened for reading; it need not be seekable.
        source: what errors call the list.
        null: the names end with NUL and are taken as they are, as `find -print0` writes them.
            Otherwise they end with a line feed or with CR LF, and blank lines are ignored. A list
            in UTF-16 with a byte order mark, as PowerShell writes it, is read too. A name in
            quotes, with spaces around it, with backslashes or as a `file:` address is the file
            that it means, where that is there and no file has the very name.

    Raises:
        TwlError: something that cannot be a list of names; with the number of the line.
    """
    names = _pieces(_in_utf8(file), b"\0" if null else b"\n", source)
    for line, name in enumerate(names, start=1):
        if not null:
            name = name.removeprefix(codecs.BOM_UTF8) if line == 1 else name
            name = name.removesuffix(b"\r")
            if b"\0" in name:
                raise TwlError(
                    f"{source}:{line}: a NUL character; expected names in UTF-8, or in UTF-16 with "
                    "its mark",
                    hint="{null} reads names that end with NUL",
                )
        if name and (null or not name.isspace()):
            try:
                text = os.fsdecode(name)
                yield text if null else _meant(text)
            except UnicodeDecodeError:  # only on Windows, whose names have no bytes to keep
                raise TwlError(f"{source}:{line}: not UTF-8") from None


def _meant(name: str) -> str:
    """The file that a name means: itself, or what it says in the way of other programs."""
    if not _UNUSUAL.search(name) or os.path.lexists(name):
        return name
    from urllib.parse import unquote, urlsplit  # most lists need neither

    stripped = name.strip()
    bare = stripped[1:-1] if _QUOTED.fullmatch(stripped) else stripped
    address = urlsplit(bare)
    if address.scheme.lower() == "file" and address.netloc in ("", "localhost"):
        bare = unquote(address.path, errors="surrogateescape")
    for meant in (stripped, bare, bare.replace("\\", "/")):
        if Path(meant).is_file():
            return meant
    return name


def _in_utf8(file: BinaryIO) -> Iterator[bytes]:
    """The blocks of a list; from UTF-16 if it begins with that byte order mark."""
    read = getattr(file, "read1", file.read)  # what a pipe has by now, not a full block
    first = b""
    while len(first) < 2 and (block := read(_BLOCK)):
        first += block
    if first[:2] not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        yield first
        while block := read(_BLOCK):
            yield block
        return
    decoder = codecs.getincrementaldecoder("utf-16")("surrogatepass")
    block = first
    while block:
        yield decoder.decode(block).encode("utf-8", "surrogatepass")
        block = read(_BLOCK)


def _pieces(blocks: Iterator[bytes], separator: bytes, source: str) -> Iterator[bytes]:
    rest = b""
    count = 0
    for block in blocks:
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
