"""Tags as a data set that FiftyOne loads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from twlcli.errors import ImageError
from twlcli.images.image_file import ImageFile
from twlcli.tagging.outputs.csv import DECIMALS
from twlcli.tagging.outputs.json_rows import json_rows
from twlcli.tagging.outputs.output import RunFacts, Sink
from twlcli.tagging.tags import Row, Tags

FIELD = "predictions"

_FIELDS = "fiftyone.core.fields."
_LABELS = "fiftyone.core.labels.Classifications"


@dataclass(frozen=True)
class FiftyOne:
    """A data set for FiftyOne, as its `Dataset.to_json` writes it and `from_json` reads it.

    The field `predictions` of each sample has the tags as `Classifications`, with their
    probabilities as `confidence`; `dataset.classes["predictions"]` has all labels. Paths are the
    names of the images:

        dataset = fiftyone.Dataset.from_json("samples.json", name="photos", rel_dir="photos")

    FiftyOne keeps paths as text: an image whose name is not UTF-8 is a failure.

    Attributes:
        file: the JSON file; None for a stream.
        stream: where it goes without a file.
    """

    file: Path | None
    stream: BinaryIO | None = None

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """As an `Output` does."""
        head = {
            "name": "twl",
            "media_type": "image",
            "sample_fields": {
                "filepath": f"{_FIELDS}StringField",
                FIELD: f"{_FIELDS}EmbeddedDocumentField({_LABELS})",
            },
            "classes": {FIELD: run.vocabulary.names},
        }
        before = json.dumps(head, ensure_ascii=False, indent=1).removesuffix("\n}")
        samples = json_rows(self.file, self.stream, before=f'{before},\n "samples": [', after="]}")
        with samples as add:
            yield _SampleSink(add)


class _SampleSink:
    def __init__(self, add: Callable[[dict[str, Any]], object]) -> None:
        self._add = add

    def write(self, file: ImageFile, row: Row) -> None:
        """Write one sample.

        Raises:
            ImageError: the image's name is not UTF-8.
        """
        if not isinstance(row, Tags):
            return
        try:
            row.image.encode()
        except UnicodeEncodeError:
            raise ImageError("its name is not UTF-8, which FiftyOne cannot keep") from None
        given = [
            {"_cls": "Classification", "label": label, "confidence": round(value, DECIMALS)}
            for label, value in zip(row.labels, row.probabilities, strict=True)
        ]
        predictions = {"_cls": "Classifications", "classifications": given}
        self._add({"filepath": row.image, FIELD: predictions})
