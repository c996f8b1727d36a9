"""Rows between the beginning and the end of one JSON document, written as they come."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from twlcli.io import open_text

# Made once: `json.dumps` would make one for each row, which takes twice as long.
encode = json.JSONEncoder(ensure_ascii=False, separators=(", ", ": ")).encode


@contextmanager
def json_rows(
    file: Path | None, stream: BinaryIO | None, *, before: str, after: str
) -> Iterator[Callable[[dict[str, Any]], object]]:
    """Takes the objects of the one list in a document, each of which gets a line.

    Where the block ends by an exception, the list is not closed: a file has its name not yet, and
    whoever reads a stream sees that it is not whole.

    Args:
        file: where the document goes; None for a stream.
        stream: where it goes without a file.
        before: what stands before the first object, up to the bracket of the list.
        after: what stands after the last one, from the bracket of the list.

    Raises:
        TwlError: it cannot be written.
    """
    separator = "\n"
    with open_text(file, stream) as text:
        text.write(before)

        def add(row: dict[str, Any]) -> None:
            nonlocal separator
            text.write(separator + encode(row))
            separator = ",\n"

        yield add
        text.write(f"\n{after}\n")
