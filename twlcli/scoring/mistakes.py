"""A label's worst mistakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twlcli.labels import ABSENT, PRESENT


@dataclass(frozen=True)
class Mistakes:
    """Rows of the images with a label's worst mistakes, the worst first.

    Attributes:
        given: of those that lack it, the most probable that were given it: false positives.
        missed: of those that have it, the least probable that were not: false negatives.
        given_count: how many false positives there are in all.
        missed_count: how many false negatives.
    """

    given: tuple[int, ...]
    missed: tuple[int, ...]
    given_count: int
    missed_count: int


def worst_mistakes(
    probabilities: NDArray[np.float32],
    targets: NDArray[np.int8],
    threshold: np.float32,
    *,
    most: int,
) -> Mistakes:
    """The mistakes of which the model is the most certain; of equal ones the first rows.

    Args:
        probabilities: of one label, (N,).
        targets: of 1 present, 0 absent, -1 unknown, (N,).
        threshold: the least probability at which it is given.
        most: mistakes of each kind.

    Example:
        >>> probabilities = np.array([0.9, 0.2, 0.7, 0.8], dtype=np.float32)
        >>> targets = np.array([0, 1, 0, 1], dtype=np.int8)
        >>> worst_mistakes(probabilities, targets, np.float32(0.5), most=1)
        Mistakes(given=(0,), missed=(1,), given_count=2, missed_count=1)
    """
    is_given = probabilities >= threshold
    given = np.flatnonzero(is_given & (targets == ABSENT))
    missed = np.flatnonzero(~is_given & (targets == PRESENT))
    return Mistakes(
        _first(given, -probabilities[given], most),
        _first(missed, probabilities[missed], most),
        len(given),
        len(missed),
    )


def _first(rows: NDArray[np.intp], keys: NDArray[np.float32], most: int) -> tuple[int, ...]:
    return tuple(rows[np.argsort(keys, kind="stable")[:most]].tolist())
