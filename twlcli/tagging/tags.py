"""What tagging yields for each image."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twlcli.images.image_file import Failure


@dataclass(frozen=True)
class Tags:
    """The labels given to one image, the most probable first, with their probabilities.

    Attributes:
        image: its name.
        labels: those given.
        probabilities: theirs.
        logits: (C,), what the model says of all labels; None where no output of the run is of
            scores.
    """

    image: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    logits: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


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


@dataclass(frozen=True, eq=False)
class Logits:
    """What the model says of one image, where all of it is asked for.

    Attributes:
        image: its name.
        values: (C,) float32.
    """

    image: str
    values: NDArray[np.float32]


Row = Tags | Failure
