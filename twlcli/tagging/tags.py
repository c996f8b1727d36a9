"""What tagging yields for each image."""

from __future__ import annotations

from dataclasses import dataclass

from twlcli.images.image_file import Failure


@dataclass(frozen=True)
class Tags:
    """The labels given to one image, the most probable first, with their probabilities."""

    image: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


Row = Tags | Failure
