"""How many images a label is given to at every threshold, in little room.

The thresholds are a grid of equal steps from 0 to 1. Of each image only the highest of them that
its probability reaches matters, so that precision, recall and F1 at the grid's thresholds follow
exactly from how many images there are for each of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FINE, _COARSE = 1000, 200  # steps
_FEW_LABELS = 1000  # that have the fine grid


def steps_for(labels: int) -> int:
    """Into how many steps the grid cuts 0..1 in a page of that many labels."""
    return _FINE if labels <= _FEW_LABELS else _COARSE


def grid_of(steps: int) -> NDArray[np.float32]:
    """The thresholds from 0 to 1, (steps + 1,), as `thresholds_of` would make them.

    Example:
        >>> grid_of(4).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    return (np.arange(steps + 1) / steps).astype(np.float32)


def places_on(grid: NDArray[np.float32], probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """The highest threshold of the grid that each probability reaches, as its index.

    Example:
        >>> places_on(grid_of(4), np.array([0.5, 0.49, 1.0], dtype=np.float32)).tolist()
        [2, 1, 4]
    """
    return np.searchsorted(grid, probabilities, side="right") - 1


def packed(places: NDArray[np.int64]) -> list[int]:
    """How many there are of each place: from the one before it, its distance and its number.

    Example:
        >>> packed(np.array([2, 7, 2]))  # two at 2, and five further on one
        [2, 2, 5, 1]
    """
    values, counts = np.unique(places, return_counts=True)
    return np.stack([np.diff(values, prepend=0), counts], axis=1).ravel().tolist()
