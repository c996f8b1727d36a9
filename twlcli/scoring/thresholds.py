"""Fitting thresholds on calibrated probabilities, per label on held-out data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from twlcli.labels import PRESENT, UNKNOWN
from twlcli.model.spec import Thresholds
from twlcli.scoring.average_precision import blocks, check_scores

PRECISION_TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
NEVER = float(np.float32(1.01))  # above every probability

# Measured: how sure a threshold must be of its precision. On VOC2007, fitted to 100, 250 and 1,254
# images and counted on the others, 45 to 74 % of the labels that were given missed 0.8, 0.9 and
# 0.95 with the quotient of the fitted images itself, 9 to 23 % at a confidence of 0.8 (but for the
# few labels that reach 0.95 on 100 images), and 0 to 22 % at 0.9, which gives a tenth fewer tags.
CONFIDENCE = 0.8

# Measured: how many positives weigh as much as the pooled threshold. Of 0, 2, 5, 10, 20, 50, 100
# and 200, 5 has the best mean F1 per label on images not fitted on, averaged over a linear two-way
# head on VOC2007 and drawn logits (40 labels with rates of 0.5 to 30 %), fitted on 60, 100, 300 and
# 1,000 images; 10 is 0.01 behind. Against 0 it gains 6.0 points on 60 images and nothing on 1,000.
POOLED_POSITIVES = 5.0

# Shrinking toward the threshold that is best for the mean of the labels' F1 was 0.9 to 2.3 points
# better on the drawn logits than toward the one that is best for F1 over all entries, which serves
# the frequent labels; on VOC2007 the two were within 0.1.
POOLED_STEPS = 100


def fit_thresholds(probabilities: NDArray[np.float32], targets: NDArray[np.int8]) -> Thresholds:
    """Fit the thresholds of each label on held-out data.

    `best_f1`: the threshold t with the best F1 = 2 correct / (given + present), shrunk toward the
    pooled threshold t0, the one with the best mean F1 for all labels, where positives are few:

        log odds = (k * log odds of t + m * log odds of t0) / (k + m)

    with k positives of the label and m = `POOLED_POSITIVES`. A label without positives has t0.

    `precision`: for each of `PRECISION_TARGETS` the lowest threshold at which the lower confidence
    bound of correct / given (Clopper and Pearson, one-sided, `CONFIDENCE`) is at least the target;
    `NEVER` where there is none, as always where too few images have the label.

    Thresholds lie between neighbouring probabilities of the data, not on one of them, so that
    another machine's rounding decides alike.

    Args:
        probabilities: (N, C), calibrated, in 0..1.
        targets: (N, C) of 1 present, 0 absent, -1 unknown; unknown entries are left out.

    Returns:
        Thresholds that are exact in float32.

    Raises:
        ModelError: a probability is not finite.
        ValueError: the shapes differ.
    """
    check_scores(probabilities, targets)
    pooled = _pooled_threshold(probabilities, targets)
    label_count = targets.shape[1]
    best_f1 = np.full(label_count, pooled)
    precision = np.full((len(PRECISION_TARGETS), label_count), NEVER)
    if len(targets):
        for block in blocks(label_count, len(targets)):
            ranking = _Ranking.of(probabilities[:, block], targets[:, block])
            best_f1[block] = ranking.best_f1(pooled)
            precision[:, block] = [
                ranking.precise(least_correct(target, len(targets))) for target in PRECISION_TARGETS
            ]
    return Thresholds(
        _float32_values(best_f1),
        {
            f"{target:g}": _float32_values(row)
            for target, row in zip(PRECISION_TARGETS, precision, strict=True)
        },
    )


@lru_cache(maxsize=32)
def least_correct(target: float, most: int) -> NDArray[np.int64]:
    """How many of n must be correct for a precision of at least `target`, for n = 0..most.

    The least k with P(X >= k) <= 1 - `CONFIDENCE` for X binomial with n draws at the target: k of
    n correct have then a lower bound of Clopper and Pearson that is no less. n + 1 where even n of
    n are too few.

    Example:
        >>> least_correct(0.9, 100)[[15, 16, 27, 28, 100]].tolist()  # 16 of 16, or 27 of 28
        [16, 16, 27, 27, 94]
    """
    allowed, odds = 1 - CONFIDENCE, target / (1 - target)
    least = np.empty(most + 1, dtype=np.int64)
    k, tail, point = 1, 0.0, 1.0  # P(X >= k) and P(X = k - 1), of no draws
    least[0] = 1
    for n in range(1, most + 1):
        below = point * (k - 1) / (n - k + 1) / odds  # P(X = k - 2) of n - 1 draws
        tail += target * point
        point = (1 - target) * point + target * below
        if tail > allowed:
            point *= (n - k + 1) / k * odds  # P(X = k) of n draws
            tail -= point
            k += 1
        least[n] = k
    return least


def _pooled_threshold(probabilities: NDArray[np.float32], targets: NDArray[np.int8]) -> float:
    """The multiple of 1 / `POOLED_STEPS` with the best mean F1; 0.5 where nothing is present."""
    f1 = np.zeros(POOLED_STEPS)
    for block in blocks(targets.shape[1], len(targets)):
        part, known = targets[:, block], targets[:, block] != UNKNOWN
        step = np.minimum(probabilities[:, block] * POOLED_STEPS, POOLED_STEPS - 1).astype(np.int64)
        step += POOLED_STEPS * np.arange(part.shape[1])  # a bin for each label and step
        given = _at_least(step[known], part.shape[1])
        correct = _at_least(step[part == PRESENT], part.shape[1])
        has_positive = correct[:, 0] > 0
        f1 += (2 * correct / np.maximum(1, given + correct[:, :1]))[has_positive].sum(axis=0)
    return float(np.argmax(f1[1:]) + 1) / POOLED_STEPS if f1.any() else 0.5


def _at_least(steps: NDArray[np.int64], label_count: int) -> NDArray[np.int64]:
    """How many entries of each label are at each step or above it, (labels, steps)."""
    counts = np.bincount(steps, minlength=label_count * POOLED_STEPS).reshape(-1, POOLED_STEPS)
    return np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]


@dataclass(frozen=True)
class _Ranking:
    """The entries of c labels, each label's from the most probable on; (c, N).

    Attributes:
        probabilities: descending; unknown entries come last and are negative.
        correct: how many are present up to here.
        given: how many there are up to here, (N,).
        is_cut: whether a threshold fits between this entry and the next.
        present: how many are present in all, (c,).
    """

    probabilities: NDArray[np.float64]
    correct: NDArray[np.int64]
    given: NDArray[np.int64]
    is_cut: NDArray[np.bool_]
    present: NDArray[np.int64]

    @classmethod
    def of(cls, probabilities: NDArray[np.float32], targets: NDArray[np.int8]) -> _Ranking:
        ranked = np.where(targets == UNKNOWN, -1.0, probabilities).T
        order = np.argsort(-ranked, axis=1)
        ranked = np.take_along_axis(ranked, order, axis=1)
        hits = np.take_along_axis(targets.T == PRESENT, order, axis=1)
        correct = np.cumsum(hits, axis=1)
        is_cut = ranked >= 0
        is_cut[:, :-1] &= ranked[:, :-1] > ranked[:, 1:]
        given = np.arange(1, ranked.shape[1] + 1)
        return cls(ranked, correct, given, is_cut, correct[:, -1])

    def best_f1(self, pooled: float) -> NDArray[np.float64]:
        """The thresholds with the best F1, the highest of equals, shrunk toward the pooled one."""
        f1 = 2 * self.correct / (self.given + self.present[:, None])
        own = self._threshold_after(np.where(self.is_cut, f1, -1.0).argmax(axis=1))
        weight = self.present / (self.present + POOLED_POSITIVES)
        log_odds = weight * _log_odds(own) + (1 - weight) * _log_odds(np.array(pooled))
        return self._clear_of_data(1 / (1 + np.exp(-log_odds)))

    def precise(self, needed: NDArray[np.int64]) -> NDArray[np.float64]:
        """The lowest thresholds at which enough are correct; see `least_correct`."""
        reached = self.is_cut & (self.correct >= needed[self.given])
        last = reached.shape[1] - 1 - reached[:, ::-1].argmax(axis=1)
        return np.where(reached.any(axis=1), self._threshold_after(last), NEVER)

    def _threshold_after(self, entry: NDArray[np.int64]) -> NDArray[np.float64]:
        """Midway between the `entry`-th probability of each label and the next lower one."""
        label = np.arange(len(entry))
        upper = self.probabilities[label, entry]
        following = np.minimum(entry + 1, self.probabilities.shape[1] - 1)
        lower = np.where(following > entry, self.probabilities[label, following], 0.0)
        lower = np.maximum(lower, 0.0)
        middle = _float32((upper + lower) / 2)
        return np.where(middle > lower, middle, upper)

    def _clear_of_data(self, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
        """The thresholds, moved into the middle half between their neighbouring probabilities."""
        above = self.probabilities >= thresholds[:, None]
        below = ~above & (self.probabilities >= 0)
        upper = np.where(above, self.probabilities, 1.0).min(axis=1)
        lower = np.where(below, self.probabilities, 0.0).max(axis=1)
        margin = (upper - lower) / 4
        clear = _float32(np.clip(thresholds, lower + margin, upper - margin))
        return np.where(clear > lower, clear, upper)


def _log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    odds: NDArray[np.float64] = np.log(clipped / (1 - clipped))
    return odds


def _float32(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest values that float32 holds."""
    return values.astype(np.float32).astype(np.float64)


def _float32_values(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(values.astype(np.float32).tolist())
