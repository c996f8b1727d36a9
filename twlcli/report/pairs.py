"""Labels beside others: in the data, in what the model says, and one instead of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twlcli.report.evaluated import Evaluated
from twlcli.scoring.average_precision import blocks

MOST_BESIDE = 8  # labels that are named beside one
MOST_INSTEAD = 6


@dataclass(frozen=True)
class Beside:
    """A label beside another: in how many images of the data, and of those given both."""

    column: int
    in_data: int
    in_predictions: int


def counts_among(marks: NDArray[np.bool_], rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """How many of the rows have each mark, (C,), of marks (N, C).

    Example:
        >>> counts_among(np.array([[True, False], [True, True]]), np.array([1])).tolist()
        [1, 1]
    """
    total = np.zeros(marks.shape[1], dtype=np.int64)
    for block in blocks(len(rows), marks.shape[1]):
        total += np.count_nonzero(marks[rows[block]], axis=0)
    return total


def beside(evaluated: Evaluated, column: int) -> tuple[Beside, ...]:
    """The labels that are most often beside one, by the larger of both shares.

    The shares are those of the images that have it, and of the images that are given it.
    """
    in_data, in_predictions = counts_beside(evaluated, column)
    largest = np.maximum(_share(in_data, column), _share(in_predictions, column))
    largest[column] = 0
    order = np.argsort(-largest, kind="stable")[:MOST_BESIDE]
    return tuple(
        Beside(each, int(in_data[each]), int(in_predictions[each]))
        for each in order.tolist()
        if largest[each] > 0
    )


def counts_beside(evaluated: Evaluated, column: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """With each label (C,), how many images have both, and how many are given both."""
    return (
        counts_among(evaluated.present, np.flatnonzero(evaluated.present[:, column])),
        counts_among(evaluated.given, np.flatnonzero(evaluated.given[:, column])),
    )


def instead(evaluated: Evaluated, column: int) -> tuple[tuple[int, int], ...]:
    """What images that have a label and are not given it are given wrongly: column and count."""
    missed = np.flatnonzero(evaluated.present[:, column] & ~evaluated.given[:, column])
    counts = counts_among(evaluated.wrong, missed)
    order = np.argsort(-counts, kind="stable")[:MOST_INSTEAD]
    return tuple((each, int(counts[each])) for each in order.tolist() if counts[each])


def _share(counts: NDArray[np.int64], column: int) -> NDArray[np.float64]:
    return counts / max(1, int(counts[column]))


# --- the labels that are in most images, each beside each ---------------------------------------


@dataclass(frozen=True)
class Pair:
    """Of the images with one label, the shares that have another: in the data and as predicted."""

    first: int
    second: int
    in_data: float
    in_predictions: float

    @property
    def difference(self) -> float:
        """How much larger the predictions' share is."""
        return self.in_predictions - self.in_data


def most_frequent(evaluated: Evaluated, most: int) -> list[int]:
    """The columns of the labels that most images have, in the order of the vocabulary."""
    support = np.array([row.support for row in evaluated.evaluation.labels])
    order = np.argsort(-support, kind="stable")[:most]
    return sorted(order[support[order] > 0].tolist())


def pairs_of(evaluated: Evaluated, columns: Sequence[int]) -> list[Pair]:
    """Every label of some with every other of them."""
    found = []
    for first in columns:
        in_data, in_predictions = counts_beside(evaluated, first)
        data, predicted = _share(in_data, first), _share(in_predictions, first)
        found += [
            Pair(first, second, float(data[second]), float(predicted[second]))
            for second in columns
            if second != first
        ]
    return found
