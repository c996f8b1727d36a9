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


@dataclass(frozen=True)
class Scores:
    """What the model says of one image, for other thresholds too.

    Attributes:
        image: its name.
        labels: the most probable first; of equal ones, in the order of the vocabulary.
        probabilities: theirs.
        rest: the largest probability of the labels that are left out; None where none is.
    """

    image: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    rest: float | None = None


Row = Tags | Failure
