"""Tags as JSON Lines."""

from __future__ import annotations

import json
import re
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

# Made once: `json.dumps` would make one for each line, which takes twice as long.
_PLAIN = json.JSONEncoder(ensure_ascii=False).encode
_ESCAPED = json.JSONEncoder(ensure_ascii=True).encode
_SURROGATE = re.compile("[\ud800-\udfff]")


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
        encode = _ESCAPED if _SURROGATE.search(row.image) else _PLAIN
        self._file.write(encode({"image": row.image, "labels": labels}) + "\n")
