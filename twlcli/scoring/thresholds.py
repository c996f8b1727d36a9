"""Fitting thresholds on calibrated probabilities, per label on held-out data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from twlcli.labels import PRESENT, UNKNOWN
from twlcli.model.spec import Thresholds
from twlcli.scoring.average_precision import blocks, check_scores

PRECISION_TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
RECALL_TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
BETAS = (0.5, 2.0)  # of F-beta, beside F1
NEVER = float(np.float32(1.01))  # above every probability

# Measured: how sure a threshold must be of its precision. On VOC2007, fitted to 100, 250 and 1,254
# images and counted on the others, 45 to 78 % of the labels that were given missed 0.8, 0.9 and
# 0.95 with the quotient of the fitted images itself, 0 to 23 % at a confidence of 0.8 (but for the
# few labels that reach 0.95 on 100 images), and 0 to 22 % at 0.9, which gives a tenth fewer tags.
CONFIDENCE = 0.8

# Measured: how many positives weigh as much as what a label leans on; see docs/calibration.md.
POOLED_POSITIVES = 100.0


def fit_thresholds(
    probabilities: NDArray[np.float32],
    targets: NDArray[np.int8],
    pooled: NDArray[np.float64],
    *,
    by_beta: Mapping[float, NDArray[np.float64]] | None = None,
) -> Thresholds:
    """Fit the thresholds of each label on held-out data.

    `best_f1`: see `best_f1_thresholds`.

    `precision`: for each of `PRECISION_TARGETS` the lowest threshold at which the lower confidence
    bound of correct / given (Clopper and Pearson, one-sided, `CONFIDENCE`) is at least the target;
    `NEVER` where there is none, as always where too few images have the label.

    `recall`: for each of `RECALL_TARGETS` the highest threshold at which the same bound of correct
    / present is at least the target; `NEVER` where too few images have the label: of 8 all must be
    correct for 0.8, and of 16 for 0.9.

    `f_beta`: as `best_f1`, for the betas of `by_beta`.

    Thresholds lie between neighbouring probabilities of the data, not on one of them, so that
    another machine's rounding decides alike.

    Args:
        probabilities: (N, C), calibrated, in 0..1.
        targets: (N, C) of 1 present, 0 absent, -1 unknown; unknown entries are left out.
        pooled: (C,), of `pooled_thresholds`.
        by_beta: (C,) for each beta, of `pooled_by_beta`.

    Returns:
        Thresholds that are exact in float32.

    Raises:
        ModelError: a probability is not finite.
        ValueError: the shapes differ.
    """
    best_f1 = best_f1_thresholds(probabilities, targets, pooled)
    anchors = by_beta or {}
    precision = np.full((len(PRECISION_TARGETS), targets.shape[1]), NEVER)
    recall = np.full((len(RECALL_TARGETS), targets.shape[1]), NEVER)
    f_beta = np.array([*anchors.values()]).reshape(len(anchors), targets.shape[1])
    if len(targets):
        needed = {
            target: least_correct(target, len(targets))
            for target in {*PRECISION_TARGETS, *RECALL_TARGETS}
        }
        for block in blocks(targets.shape[1], len(targets)):
            ranking = _Ranking.of(probabilities[:, block], targets[:, block])
            precision[:, block] = [ranking.precise(needed[each]) for each in PRECISION_TARGETS]
            recall[:, block] = [ranking.complete(needed[each]) for each in RECALL_TARGETS]
            for row, (beta, anchor) in enumerate(anchors.items()):
                f_beta[row, block] = ranking.best(anchor[block], beta)
    return Thresholds(
        _float32_values(best_f1),
        _by_target(PRECISION_TARGETS, precision),
        _by_target(RECALL_TARGETS, recall),
        _by_target([*anchors], f_beta),
    )


def best_f1_thresholds(
    probabilities: NDArray[np.float32], targets: NDArray[np.int8], pooled: NDArray[np.float64]
) -> NDArray[np.float32]:
    """The threshold of each label with the best F1, leaning on another where positives are few.

    With the threshold t of the best F1 = 2 correct / (given + present), and t0 of `pooled`:

        log odds = (k * log odds of t + m * log odds of t0) / (k + m)

    with k positives of the label and m = `POOLED_POSITIVES`. A label without positives has t0.

    Args:
        probabilities: (N, C), calibrated, in 0..1.
        targets: (N, C) of 1 present, 0 absent, -1 unknown; unknown entries are left out.
        pooled: (C,) in 0..1.

    Raises:
        ModelError: a probability is not finite.
        ValueError: the shapes differ.
    """
    check_scores(probabilities, targets)
    best = pooled.copy()
    if len(targets):
        for block in blocks(targets.shape[1], len(targets)):
            ranking = _Ranking.of(probabilities[:, block], targets[:, block])
            best[block] = ranking.best(pooled[block])
    return best.astype(np.float32)


def f_score(
    correct: NDArray[np.int64], given: NDArray[np.int64], present: NDArray[np.int64], beta: float
) -> NDArray[np.float64]:
    """F-beta = (1 + beta²) correct / (given + beta² present); 0 where nothing is either.

    Recall counts beta times as much as precision (van Rijsbergen, "Information Retrieval", 1979).

    Example:
        >>> f_score(np.array([2]), np.array([2]), np.array([4]), 2.0).round(3).tolist()
        [0.556]
    """
    weight = beta * beta
    result: NDArray[np.float64] = (1 + weight) * correct / np.maximum(1, given + weight * present)
    return result


@lru_cache(maxsize=32)
def least_correct(target: float, most: int) -> NDArray[np.int64]:
    """How many of n must be correct for a precision of at least `target`, for n = 0..most.

    The least k with P(X >= k) <= 1 - `CONFIDENCE` for X binomial with n draws at the target: k of
    n correct have then a lower bound of Clopper and Pearson that is no less. n + 1 where even n of
    n are too few.

    Example:
        >>> least_correct(0.9, 100)[[15, 16, 28, 29, 100]].tolist()  # 16 of 16, or 28 of 29
        [16, 16, 28, 28, 94]
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

    def best(self, pooled: NDArray[np.float64], beta: float = 1.0) -> NDArray[np.float64]:
        """Thresholds with the best F-beta, the highest of equals, shrunk toward the pooled ones."""
        scores = f_score(self.correct, self.given, self.present[:, None], beta)
        own = self._threshold_after(np.where(self.is_cut, scores, -1.0).argmax(axis=1))
        weight = self.present / (self.present + POOLED_POSITIVES)
        shrunk = weight * log_odds(own) + (1 - weight) * log_odds(pooled)
        return self._clear_of_data(1 / (1 + np.exp(-shrunk)))

    def precise(self, needed: NDArray[np.int64]) -> NDArray[np.float64]:
        """The lowest thresholds at which enough are correct; see `least_correct`."""
        reached = self.is_cut & (self.correct >= needed[self.given])
        last = reached.shape[1] - 1 - reached[:, ::-1].argmax(axis=1)
        return np.where(reached.any(axis=1), self._threshold_after(last), NEVER)

    def complete(self, needed: NDArray[np.int64]) -> NDArray[np.float64]:
        """The highest thresholds at which enough of those present are given; as `precise`."""
        reached = self.is_cut & (self.correct >= needed[self.present][:, None])
        return np.where(reached.any(axis=1), self._threshold_after(reached.argmax(axis=1)), NEVER)

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


def log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(p / (1 - p)), of probabilities no nearer to 0 and 1 than a millionth."""
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    odds: NDArray[np.float64] = np.log(clipped / (1 - clipped))
    return odds


def _float32(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest values that float32 holds."""
    return values.astype(np.float32).astype(np.float64)


def _by_target(targets: Sequence[float], rows: NDArray[np.float64]) -> dict[str, tuple[float, ...]]:
    return {f"{target:g}": _float32_values(row) for target, row in zip(targets, rows, strict=True)}


def _float32_values(values: NDArray[np.floating]) -> tuple[float, ...]:
    return tuple(values.astype(np.float32).tolist())
