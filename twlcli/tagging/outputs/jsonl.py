"""Tags as JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from twlcli.images.image_file import ImageFile
from twlcli.io import open_text
from twlcli.tagging.outputs.csv import DECIMALS
from twlcli.tagging.outputs.output import RunFacts, Sink
from twlcli.tagging.tags import Row, Tags


@dataclass(frozen=True)
class Jsonl:
    r"""One JSON object per line: `{"image": "beach/1.jpg", "labels": {"dog": 0.93}}`.

    The text is UTF-8; the bytes of a name that is not stand as escapes from `\udc80` to `\udcff`,
    which Python's `os.fsencode` turns into the name again.

    Attributes:
        file: where the lines go; None for a stream.
        stream: where they go without a file; each is visible at once.
    """

    file: Path | None
    stream: BinaryIO | None = None

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """As an `Output` does."""
        with open_text(self.file, self.stream) as file:
            yield JsonlSink(file)


class JsonlSink:
    """Writes the lines of a `Jsonl`."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, file: ImageFile, row: Row) -> None:
        """Write one line."""
        if not isinstance(row, Tags):
            return
        pairs = zip(row.labels, row.probabilities, strict=True)
        labels = {label: round(probability, DECIMALS) for label, probability in pairs}
        ascii_only = any("\ud800" <= character <= "\udfff" for character in row.image)
        line = json.dumps({"image": row.image, "labels": labels}, ensure_ascii=ascii_only)
        self._file.write(line + "\n")
