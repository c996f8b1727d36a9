"""Labels that scores of a model which has not seen the images speak against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twlcli.labels import ABSENT, PRESENT


@dataclass(frozen=True)
class Doubtful:
    """A label of an image that is likely to be wrong.

    Attributes:
        row: of the image.
        column: of the label.
        given: whether the label file has it as present.
        confidence: the probability that it is what the file says, in 0..1.
    """

    row: int
    column: int
    given: bool
    confidence: float


def doubtful_labels(
    probabilities: NDArray[np.floating], targets: NDArray[np.int8]
) -> tuple[Doubtful, ...]:
    r"""Entries that are likely to be wrong, the least confident first.

    Confident learning (Northcutt, Jiang and Chuang, JAIR 2021, eq. (1) and (2)) on each label as a
    question of two answers, as Thyagarajan et al. do it for multi-label data (arXiv:2211.13895):
    the mean probability of an answer, over the images that were given it, is the threshold from
    which the model is confident of it. An entry is doubtful where the model is confident of the
    other answer and finds it more probable than the given one; cleanlab 2.9 with
    `filter_by="confident_learning"` finds the same. The scores have to be of images that the model
    was not trained on. Entries are ordered by self-confidence: the probability of what was given.

    Args:
        probabilities: (N, C) in 0..1; NaN where there is no score.
        targets: (N, C) of 1, 0 and -1; unknown entries are left out.

    Example:
        >>> probabilities = np.array([[0.9], [0.8], [0.1], [0.2], [0.875]])
        >>> doubtful_labels(probabilities, np.array([[1], [1], [0], [0], [0]], dtype=np.int8))
        (Doubtful(row=4, column=0, given=False, confidence=0.125),)
    """
    scores = np.asarray(probabilities, dtype=np.float64)
    scored = np.isfinite(scores)
    given, absent = (targets == PRESENT) & scored, (targets == ABSENT) & scored
    is_present = (scores > 0.5) & (scores >= _mean_where(given, scores))
    is_absent = (scores < 0.5) & (1 - scores >= _mean_where(absent, 1 - scores))
    wrong = (given & is_absent) | (absent & is_present)
    rows, columns = np.nonzero(wrong)
    present = given[rows, columns]
    confidence = np.where(present, scores[rows, columns], 1 - scores[rows, columns])
    order = np.lexsort((columns, rows, confidence))
    return tuple(
        Doubtful(int(rows[each]), int(columns[each]), bool(present[each]), float(confidence[each]))
        for each in order
    )


def _mean_where(chosen: NDArray[np.bool_], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each column (C,) over what is chosen; more than 1 where nothing is."""
    counts = chosen.sum(axis=0)
    means = np.where(chosen, values, 0.0).sum(axis=0) / np.maximum(counts, 1)
    return np.where(counts > 0, means, 2.0)
