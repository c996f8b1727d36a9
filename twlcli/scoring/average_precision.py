"""Average precision of many lines at once.

A line is a label (its images are ranked) or an image (its labels are ranked).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twlcli.errors import ModelError
from twlcli.labels import ABSENT, PRESENT, UNKNOWN
from twlcli.scoring.arrays import as_array, as_targets

BLOCK_ENTRIES = 1 << 20  # entries of the matrix worked on at a time: a few megabytes
_LONG = 1000  # entries of a line from which on a loop over lines costs nothing


@dataclass(frozen=True)
class MeanOverLines:
    """The mean over the lines that have a positive.

    Attributes:
        value: in 0..1; NaN where no line has a positive.
        lines: how many lines the mean runs over.
        left_out: how many lines have no positive and are not in the mean.
    """

    value: float
    lines: int
    left_out: int


def average_precision_per_label(scores: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """Average precision of each label over the images, (C,).

    For a label with positives P and known entries K, non-interpolated and with ties taken together
    (the convention of `sklearn.metrics.average_precision_score`):

        AP = 1/|P| * sum_{p in P} |{q in P: s_q >= s_p}| / |{k in K: s_k >= s_p}|

    Args:
        scores: (N, C), any finite real; only their order within a label matters.
        targets: (N, C) of 1 present, 0 absent, -1 unknown; unknown entries are left out.

    Returns:
        float64 in 0..1, NaN for a label without a positive.

    Raises:
        ModelError: a score is not finite.
        ValueError: the shapes differ, or a target is another number.

    Example:
        >>> scores = np.array([[0.9], [0.8], [0.7], [0.6]])
        >>> targets = np.array([[1], [0], [1], [-1]], dtype=np.int8)
        >>> float(average_precision_per_label(scores, targets)[0])  # (1/1 + 2/3) / 2
        0.8333333333333333
    """
    scores, targets = checked(scores, targets)
    return _average_precision(scores.T, targets.T)


def average_precision_per_image(scores: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """Average precision of each image over its labels, (N,).

    The equation, arguments and errors of `average_precision_per_label`, with the lines being the
    rows of `scores`: NaN for an image without a positive.
    """
    return _average_precision(*checked(scores, targets))


def of_labels_with_both(
    average_precision: NDArray[np.float64], targets: NDArray[np.int8]
) -> NDArray[np.float64]:
    """The average precision (C,) with NaN for each label without a known negative.

    Any scores rank its images rightly, so that it says nothing of a model: it is always 1.

    Example:
        >>> targets = np.array([[1, 1], [-1, 0]], dtype=np.int8)
        >>> of_labels_with_both(np.array([1.0, 0.5]), targets)
        array([nan, 0.5])
    """
    return np.where(has_negative(targets), average_precision, np.nan)


def has_negative(targets: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Whether each label is known to be absent from an image, (C,)."""
    found = np.zeros(targets.shape[1], dtype=np.bool_)
    for block in blocks(*targets.shape):
        found |= (targets[block] == ABSENT).any(axis=0)
    return found


def mean_over_lines(average_precision: NDArray[np.float64]) -> MeanOverLines:
    """The mean of the lines that are not NaN, and how many there are and are not.

    Of `average_precision_per_label` it is mAP@class, of `average_precision_per_image` mAP@sample
    (Kobayashi, CVPR 2023, section 4).
    """
    counted = average_precision[~np.isnan(average_precision)]
    value = float(counted.mean()) if len(counted) else float("nan")
    return MeanOverLines(value, len(counted), len(average_precision) - len(counted))


def checked(scores: ArrayLike, targets: ArrayLike) -> tuple[NDArray[np.floating], NDArray[np.int8]]:
    """Scores and targets as arrays that can be compared.

    Raises:
        ModelError: a score is not finite.
        ValueError: the shapes differ, or a target is not 1, 0 or -1.
    """
    arrays = as_array(scores), as_targets(targets)
    check_scores(*arrays)
    return arrays


def check_scores(scores: NDArray[np.floating], targets: NDArray[np.int8]) -> None:
    """Raise where scores (N, C) and targets (N, C) cannot be compared.

    Raises:
        ModelError: a score is not finite; says how many and where the first stands.
        ValueError: the shapes differ.
    """
    if scores.ndim != 2 or scores.shape != targets.shape:
        raise ValueError(f"scores {scores.shape} and targets {targets.shape} are not both (N, C)")
    if scores.size == 0 or (np.isfinite(scores.min()) and np.isfinite(scores.max())):
        return  # min and max carry NaN and need no memory
    rows, columns = np.nonzero(~np.isfinite(scores))
    raise ModelError(
        f"{len(rows)} of {scores.size} scores are not finite numbers (the first: image {rows[0]}, "
        f"label {columns[0]}, {scores[rows[0], columns[0]]}); the model's weights are damaged or "
        "its training diverged"
    )


def blocks(line_count: int, line_length: int, entries: int = BLOCK_ENTRIES) -> Iterator[slice]:
    """Slices that cut `line_count` lines into blocks of about so many entries."""
    step = max(1, entries // max(1, line_length))
    for start in range(0, line_count, step):
        yield slice(start, min(start + step, line_count))


def _average_precision(
    scores: NDArray[np.floating], targets: NDArray[np.int8]
) -> NDArray[np.float64]:
    """Average precision of each row of `scores` (lines, entries)."""
    result = np.full(len(scores), np.nan)
    for block in blocks(*scores.shape):
        # Of columns of the caller's arrays this is much faster than one column at a time.
        ranked: NDArray[np.floating] = np.array(scores[block], dtype=_exact_type(scores), order="C")
        known = np.ascontiguousarray(targets[block])
        if (known == UNKNOWN).any():  # below every positive, so that they are in no count
            ranked[known == UNKNOWN] = -np.inf
        if scores.shape[1] >= _LONG:
            result[block] = [
                _of_line(line, is_positive)
                for line, is_positive in zip(ranked, known == PRESENT, strict=True)
            ]
        else:
            result[block] = _of_short_lines(ranked, known == PRESENT)
    return result


def _of_line(ranked: NDArray[np.floating], is_positive: NDArray[np.bool_]) -> float:
    """Average precision of one line; `ranked` is sorted in place."""
    positives = np.sort(ranked[is_positive])
    if not len(positives):
        return math.nan
    ranked.sort()
    positives_at_least = len(positives) - np.searchsorted(positives, positives)
    known_at_least = len(ranked) - np.searchsorted(ranked, positives)
    return float((positives_at_least / known_at_least).mean())


def _of_short_lines(
    ranked: NDArray[np.floating], is_positive: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """As `_of_line` does of each, without a loop over them."""
    lines, columns = np.nonzero(is_positive)
    positives = ranked[lines, columns]
    order = np.lexsort((positives, lines))
    positives, lines = positives[order], lines[order]
    ranked.sort(axis=1)
    precision = _positives_at_least(positives, lines) / _known_at_least(ranked, positives, lines)
    totals = np.bincount(lines, weights=precision, minlength=len(ranked))
    counts = np.bincount(lines, minlength=len(ranked))
    result = np.full(len(ranked), np.nan)
    np.divide(totals, counts, out=result, where=counts > 0)
    return result


def _exact_type(scores: NDArray[np.floating]) -> type[np.float32 | np.float64]:
    """The faster type that holds every score exactly."""
    return np.float32 if scores.dtype in (np.float16, np.float32) else np.float64


def _positives_at_least(
    positives: NDArray[np.floating], lines: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each positive: how many of its line score as high. Sorted by line, then score."""
    index = np.arange(len(positives))
    is_new = np.ones(len(positives), dtype=bool)
    is_new[1:] = (lines[1:] != lines[:-1]) | (positives[1:] != positives[:-1])
    first_of_tie = np.maximum.accumulate(np.where(is_new, index, 0))
    line_end: NDArray[np.int64] = np.searchsorted(lines, lines, side="right")
    line_end -= first_of_tie
    return line_end


def _known_at_least(
    ranked: NDArray[np.floating], positives: NDArray[np.floating], lines: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each positive: how many entries of its ascending line `ranked` score as high.

    A binary search for all positives together.
    """
    length = ranked.shape[1]
    low = np.zeros(len(positives), dtype=np.int64)  # everything before low is smaller
    high = np.full(len(positives), length, dtype=np.int64)  # nothing from high on is smaller
    for _ in range(length.bit_length()):
        middle = (low + high) // 2
        smaller = ranked[lines, np.minimum(middle, length - 1)] < positives
        searching = low < high
        low = np.where(searching & smaller, middle + 1, low)
        high = np.where(searching & ~smaller, middle, high)
    at_least: NDArray[np.int64] = length - low
    return at_least
