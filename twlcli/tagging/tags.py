"""What tagging yields for each image, and the two kinds of output that take it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from twlcli.images.image_file import ImageFile


@dataclass(frozen=True)
class Tags:
    """The labels given to one image, the most probable first, with their probabilities."""

    image: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Failure:
    """An image that could not be tagged, and why."""

    image: str
    reason: str


class Writer(Protocol):
    """A table: it takes the tags of one image after the other."""

    def write(self, tags: Tags) -> None:
        """Take the tags of one image."""


class FileWriter(Protocol):
    """An output that needs to know where the image lies: sidecars, and the gallery."""

    def write(self, file: ImageFile, tags: Tags) -> None:
        """Take the tags of one image.

        Raises:
            ImageError: this image's tags cannot be written; the message is the reason alone.
            TwlError: nothing more can be written at all.
        """
