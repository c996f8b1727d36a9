"""Precision, recall and F1 of decisions; Brier score and calibration error of probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twlcli.labels import PRESENT, UNKNOWN
from twlcli.scoring.arrays import as_array, as_probabilities, as_targets
from twlcli.scoring.average_precision import blocks

CALIBRATION_BINS = 15  # the number of Guo et al., "On Calibration of Modern Neural Networks", 2017


@dataclass(frozen=True)
class Counts:
    """What the decisions for each label came to, over its known entries.

    Attributes:
        correct: how many images were given the label and have it, (C,).
        given: how many images were given the label, (C,).
        present: how many images have the label (its support), (C,).
        unknown: for how many images it is unknown; these are in no other count, (C,).
    """

    correct: NDArray[np.int64]
    given: NDArray[np.int64]
    present: NDArray[np.int64]
    unknown: NDArray[np.int64]

    @property
    def precision(self) -> NDArray[np.float64]:
        """Correct / given of each label, (C,); 0 for a label that was never given."""
        return _ratio(self.correct, self.given)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Correct / present of each label, (C,); 0 for a label that no image has."""
        return _ratio(self.correct, self.present)

    @property
    def f1(self) -> NDArray[np.float64]:
        """2 correct / (given + present) of each label, (C,); 0 where no image was given or has it.

        The harmonic mean of precision and recall.
        """
        return _ratio(2 * self.correct, self.given + self.present)


@dataclass(frozen=True)
class DecisionScore:
    """Precision, recall and F1 by class and overall, each in 0..1.

    With c correct, g given and p present for each label (Wang et al., "CNN-RNN", CVPR 2016;
    Chen et al., "ML-GCN", CVPR 2019, section 4.1):

        CP = mean over labels of c / g        OP = sum c / sum g
        CR = mean over labels of c / p        OR = sum c / sum p
        CF1 = 2 CP CR / (CP + CR)             OF1 = 2 OP OR / (OP + OR)

    The class means run over the labels with p > 0, and c / g is 0 where g is 0. The overall sums
    run over all labels. CF1 is not the mean of the labels' F1.
    """

    class_precision: float
    class_recall: float
    class_f1: float
    overall_precision: float
    overall_recall: float
    overall_f1: float


def count_decisions(decisions: ArrayLike, targets: ArrayLike) -> Counts:
    """Count the decisions (N, C) of bool against the targets (N, C) of 1, 0 and -1.

    Example:
        >>> decisions = np.array([[True], [True], [True]])
        >>> counts = count_decisions(decisions, np.array([[1], [0], [-1]], dtype=np.int8))
        >>> float(counts.precision[0]), float(counts.recall[0]), int(counts.unknown[0])
        (0.5, 1.0, 1)

    Raises:
        ValueError: the shapes differ, a decision is no bool, or a target is another number.
    """
    decisions, targets = as_array(decisions), as_targets(targets)
    _check_shapes(decisions, targets)
    if decisions.dtype != np.bool_:
        raise ValueError(f"expected decisions of bool, got {decisions.dtype}")
    correct, given, present, unknown = np.zeros((4, targets.shape[1]), dtype=np.int64)
    for block in blocks(*targets.shape):
        is_given, part = decisions[block], targets[block]
        is_present, is_unknown = part == PRESENT, part == UNKNOWN
        correct += np.count_nonzero(is_given & is_present, axis=0)
        given += np.count_nonzero(is_given & ~is_unknown, axis=0)
        present += np.count_nonzero(is_present, axis=0)
        unknown += np.count_nonzero(is_unknown, axis=0)
    return Counts(correct, given, present, unknown)


def score_decisions(counts: Counts) -> DecisionScore:
    """CP, CR, CF1, OP, OR and OF1 of counted decisions; see `DecisionScore`.

    A mean over no label is 0.

    Example:
        >>> decisions = np.array([[True, True], [True, False]])
        >>> targets = np.array([[1, 1], [0, 1]], dtype=np.int8)
        >>> score = score_decisions(count_decisions(decisions, targets))
        >>> score.class_precision, score.class_recall, score.class_f1
        (0.75, 0.75, 0.75)
    """
    counted = counts.present > 0
    label_count = max(1, int(np.count_nonzero(counted)))
    class_precision = float(counts.precision[counted].sum()) / label_count
    class_recall = float(counts.recall[counted].sum()) / label_count
    correct = int(counts.correct.sum())
    overall_precision = correct / max(1, int(counts.given.sum()))
    overall_recall = correct / max(1, int(counts.present.sum()))
    return DecisionScore(
        class_precision,
        class_recall,
        _harmonic_mean(class_precision, class_recall),
        overall_precision,
        overall_recall,
        _harmonic_mean(overall_precision, overall_recall),
    )


def decide_top(scores: ArrayLike, count: int) -> NDArray[np.bool_]:
    """Give each image its `count` highest labels, (N, C); of equal scores the first columns.

    Example:
        >>> decide_top(np.array([[0.2, 0.7, 0.7, 0.9]]), 2).tolist()
        [[False, True, False, True]]
    """
    scores = as_array(scores)
    label_count = scores.shape[1]
    if label_count <= count:
        return np.ones(scores.shape, dtype=bool)
    decisions = np.empty(scores.shape, dtype=bool)
    for block in blocks(*scores.shape):
        part = scores[block]
        lowest = np.partition(part, label_count - count, axis=1)[:, label_count - count, None]
        above, equal = part > lowest, part == lowest
        room = count - np.count_nonzero(above, axis=1)[:, None]
        decisions[block] = above | (equal & (np.cumsum(equal, axis=1) <= room))
    return decisions


def has_one_label_each(targets: ArrayLike) -> bool:
    """Whether every image of the targets (N, C) has one label, and all is known of the others."""
    targets = as_targets(targets)
    ones = np.count_nonzero(targets == PRESENT, axis=1)
    return len(targets) > 0 and bool((ones == 1).all()) and not (targets == UNKNOWN).any()


def top_accuracy(scores: ArrayLike, targets: ArrayLike, count: int) -> float:
    """Top-k accuracy: the share of the images whose label is among their `count` highest scores.

    As Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", 2015, section 4.1.
    Of equal scores the first columns count as higher.

    Args:
        scores: (N, C), of which the order alone matters.
        targets: (N, C) of 1 and 0, with one 1 for each image.
        count: k.

    Example:
        >>> top_accuracy([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]], [[0, 1, 0], [1, 0, 0]], 1)
        0.5

    Raises:
        ValueError: the shapes differ, or an image has not one label.
    """
    scores, targets = as_array(scores), as_targets(targets)
    _check_shapes(scores, targets)
    if not has_one_label_each(targets):
        raise ValueError("expected targets with one 1 in each row, and otherwise 0")
    return float((decide_top(scores, count) & (targets == PRESENT)).any(axis=1).mean())


def brier_score(probabilities: ArrayLike, targets: ArrayLike) -> float:
    """Mean squared difference of probability and target over all known entries, 0..1, 0 is best.

        1/|K| * sum_{k in K} (p_k - t_k)^2        (Brier, 1950, the form for one event)

    Args:
        probabilities: (N, C) in 0..1.
        targets: (N, C) of 1, 0 and -1; unknown entries are left out.

    Returns:
        The score; NaN where nothing is known.

    Raises:
        ValueError: the shapes differ, or a probability or a target is out of its range.

    Example:
        >>> round(brier_score(np.array([[0.9, 0.2]]), np.array([[1, 0]])), 3)
        0.025
    """
    return brier_of(brier_sums(probabilities, targets))


def brier_sums(probabilities: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """What `brier_of` takes, of some images: the sum of squares and the number of known entries."""
    probabilities, targets = as_probabilities(probabilities), as_targets(targets)
    _check_shapes(probabilities, targets)
    sums = np.zeros(2)
    for block in blocks(*targets.shape):
        known = targets[block] != UNKNOWN
        difference = probabilities[block][known].astype(np.float64) - targets[block][known]
        sums += difference @ difference, len(difference)
    return sums


def brier_of(sums: NDArray[np.float64]) -> float:
    """The Brier score of the sums of all images."""
    total, known_count = sums
    return float(total / known_count) if known_count else float("nan")


def calibration_error(
    probabilities: ArrayLike, targets: ArrayLike, *, bins: int = CALIBRATION_BINS
) -> float:
    """Expected calibration error over all known entries, 0..1, 0 is best.

        sum_b |K_b|/|K| * | mean_{k in K_b} t_k - mean_{k in K_b} p_k |

    with K_b the entries whose probability of being present is in the b-th of `bins` bins of equal
    width; the last bin includes 1 (Naeini et al., AAAI 2015, for the event "label present").

    Args:
        probabilities: (N, C) in 0..1.
        targets: (N, C) of 1, 0 and -1; unknown entries are left out.
        bins: number of bins.

    Returns:
        The error; NaN where nothing is known.

    Raises:
        ValueError: the shapes differ, or a probability or a target is out of its range.

    Example:
        >>> round(calibration_error(np.array([[0.9, 0.8]]), np.array([[1, 0]]), bins=2), 3)
        0.35
    """
    return calibration_error_of(calibration_sums(probabilities, targets, bins=bins))


def calibration_sums(
    probabilities: ArrayLike, targets: ArrayLike, *, bins: int
) -> NDArray[np.float64]:
    """What `calibration_error_of` takes, of some images, (3, bins).

    For each bin its sum of targets, its sum of probabilities and its number of entries.
    """
    probabilities, targets = as_probabilities(probabilities), as_targets(targets)
    _check_shapes(probabilities, targets)
    sums = np.zeros((3, bins))
    for block in blocks(*targets.shape):
        known = targets[block] != UNKNOWN
        values = probabilities[block][known].astype(np.float64)
        bin_of = np.minimum((values * bins).astype(np.int64), bins - 1)
        for row, weights in zip(sums, (targets[block][known], values, None), strict=True):
            row += np.bincount(bin_of, weights=weights, minlength=bins)
    return sums


def calibration_error_of(sums: NDArray[np.float64]) -> float:
    """The expected calibration error of the sums of all images."""
    present, expected, counts = sums
    known_count = counts.sum()
    return float(np.abs(present - expected).sum() / known_count) if known_count else float("nan")


def _ratio(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> NDArray[np.float64]:
    result = np.zeros(len(numerator))
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def _harmonic_mean(first: float, second: float) -> float:
    return 2 * first * second / (first + second) if first + second > 0 else 0.0


def _check_shapes(values: NDArray[np.generic], targets: NDArray[np.int8]) -> None:
    if targets.ndim != 2 or values.shape != targets.shape:
        raise ValueError(f"{values.shape} and targets {targets.shape} are not both (N, C)")
