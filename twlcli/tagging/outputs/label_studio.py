"""Tags as predictions that Label Studio imports, and the labelling interface that shows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from twlcli.errors import TwlError
from twlcli.images.image_file import ImageFile
from twlcli.io import open_text
from twlcli.pages.addresses import quoted
from twlcli.tagging.outputs.csv import DECIMALS
from twlcli.tagging.outputs.json_rows import json_rows
from twlcli.tagging.outputs.output import RunFacts, Sink
from twlcli.tagging.tags import Row, Tags

LOCAL_FILES = "/data/local-files/?d="
QUESTION, IMAGE = "tags", "image"  # names in the interface, which the tasks refer to

_DIGITS = 12  # of the model's digest
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, Char


@dataclass(frozen=True)
class LabelStudio:
    r"""Tasks for Label Studio, each with the tags of an image as its prediction.

    One JSON list with a task on each line, in the form of https://labelstud.io/guide/predictions:

        [
        {"data": {"image": "/data/local-files/?d=photos/1.jpg"},
         "predictions": [{"model_version": "twl 0a1b2c3d4e5f", "score": 0.71,
                          "result": [{"from_name": "tags", "to_name": "image", "type": "choices",
                                      "value": {"choices": ["dog", "person"]}}]}]}
        ]

    `score`, by which Label Studio sorts, is the lowest probability of the tags; an image without
    tags has 0 and an empty `result`. `LabelStudioConfig` writes the interface that this fits.

    Attributes:
        file: the JSON file; None for a stream.
        stream: where the tasks go without a file.
        image_prefix: what stands before an image's name, whose bytes are percent-encoded, in its
            address; a `/` between them is added unless the prefix ends in `/` or `=`. The default
            is Label Studio's local storage.
    """

    file: Path | None
    stream: BinaryIO | None = None
    image_prefix: str = LOCAL_FILES

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """As an `Output` does."""
        version = f"twl {run.model_digest()[:_DIGITS]}"
        prefix = self.image_prefix
        if prefix and prefix[-1] not in "/=":
            prefix += "/"
        with json_rows(self.file, self.stream, before="[", after="]") as add:
            yield _TaskSink(add, prefix, version)


class _TaskSink:
    def __init__(
        self, add: Callable[[dict[str, Any]], object], image_prefix: str, version: str
    ) -> None:
        self._add = add
        self._image_prefix = image_prefix
        self._version = version

    def write(self, file: ImageFile, row: Row) -> None:
        """Write one task."""
        if not isinstance(row, Tags):
            return
        choices = {
            "from_name": QUESTION,
            "to_name": IMAGE,
            "type": "choices",
            "value": {"choices": row.labels},
        }
        prediction = {
            "model_version": self._version,
            "score": round(min(row.probabilities, default=0.0), DECIMALS),
            "result": [choices] if row.labels else [],
        }
        address = self._image_prefix + quoted(row.image)
        self._add({"data": {IMAGE: address}, "predictions": [prediction]})


@dataclass(frozen=True)
class LabelStudioConfig:
    """The labelling interface for the tasks of `LabelStudio`: every label is a choice.

    Its text goes into a project's settings, under Labeling Interface, Code.

    Attributes:
        file: the XML file.
    """

    file: Path

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """As an `Output` does.

        Raises:
            TwlError: it cannot be written, or XML cannot hold a label.
        """
        text = interface(run.vocabulary.names)
        with open_text(self.file) as file:
            file.write(text)
            yield _NoSink()


class _NoSink:
    def write(self, file: ImageFile, row: Row) -> None:
        """Drop it: the interface is of labels alone."""


def interface(labels: tuple[str, ...]) -> str:
    """Label Studio's labelling interface with these labels as choices, of which several may be.

    Raises:
        TwlError: a label has a character that XML cannot hold.

    Example:
        >>> print(interface(("dog", "R&B")))
        <View>
          <Image name="image" value="$image"/>
          <Choices name="tags" toName="image" choice="multiple" layout="inline">
            <Choice value="dog"/>
            <Choice value="R&amp;B"/>
          </Choices>
        </View>
        <BLANKLINE>
    """
    from xml.sax.saxutils import quoteattr  # which loads all that fetches from the network

    for label in labels:
        if _NOT_XML.search(label):
            raise TwlError(
                f"label {label!a} has a character that XML, and so Label Studio, cannot hold; give "
                "it another name with an alias in the tag rules"
            )
    choices = "\n".join(f"    <Choice value={quoteattr(label)}/>" for label in labels)
    return f"""<View>
  <Image name="{IMAGE}" value="${IMAGE}"/>
  <Choices name="{QUESTION}" toName="{IMAGE}" choice="multiple" layout="inline">
{choices}
  </Choices>
</View>
"""
