"""What the threshold of a label with few positives leans on: what is best for all labels together.

That is one probability, or one logit: where the labels' logits share a scale, as those of a network
that was trained whole, the logit is the better by up to two points of F1; where they do not, it is
useless. Which of the two counts, and how much, is cross-validated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from twlcli.labels import PRESENT, UNKNOWN
from twlcli.model.decisions import probabilities
from twlcli.model.spec import Calibration
from twlcli.scoring.average_precision import blocks
from twlcli.scoring.calibration import fit_calibration
from twlcli.scoring.metrics import Counts, count_decisions
from twlcli.scoring.thresholds import best_f1_thresholds, f_score, log_odds

STEPS = 100  # thresholds tried
_FOLDS = 5
_MOST_IMAGES = 4000  # cross-validated; with more, labels hardly lean on anything
_POOLED_ENTRIES = 1 << 20  # whose quantiles are the logits to try


def pooled_thresholds(
    logits: NDArray[np.floating], targets: NDArray[np.int8], calibration: Calibration
) -> NDArray[np.float64]:
    """The probability that each label's threshold leans on, (C,).

    With the log odds p of the best probability for all labels and z of the best logit for all, seen
    through the label's calibration:

        log odds = w z + (1 - w) p        w = 1 / (1 + exp(s_p - s_z))

    where s is what the labels' thresholds reach on images that they were not fitted to, leaning on
    either: the mean of the labels' F1 plus OF1, in points of 0..100, over 5 folds.

    Args:
        logits: (N, C), any finite real.
        targets: (N, C) of 1 present, 0 absent, -1 unknown.
        calibration: fitted to them.
    """
    return pooled_by_beta(logits, targets, calibration, (1.0,))[1.0]


def pooled_by_beta(
    logits: NDArray[np.floating],
    targets: NDArray[np.int8],
    calibration: Calibration,
    betas: Sequence[float],
) -> dict[float, NDArray[np.float64]]:
    """As `pooled_thresholds`, with p and z best in the mean F-beta, for each of several betas.

    Which of the two counts is cross-validated for F1 alone: it is a matter of the logits' scale.
    """
    weight = _weight_of_logits(logits, targets)
    pooled = {}
    for beta in betas:
        by_probability, by_logit = _anchors(logits, targets, calibration, beta)
        pooled[beta] = _probability(weight * by_logit + (1 - weight) * by_probability)
    return pooled


def pooled_probability(
    certain: NDArray[np.float32], targets: NDArray[np.int8], beta: float = 1.0
) -> float:
    """The multiple of 1 / `STEPS` with the labels' best mean F-beta; 0.5 without positives."""

    def steps(block: slice) -> NDArray[np.int64]:
        return np.minimum(certain[:, block] * STEPS, STEPS - 1).astype(np.int64)

    best = _best_step(steps, targets, beta)
    return 0.5 if best is None else best / STEPS


def pooled_logit(
    logits: NDArray[np.floating], targets: NDArray[np.int8], beta: float = 1.0
) -> float | None:
    """The logit with the best mean F-beta of all labels; None where none is present."""
    every = -(-logits.size // _POOLED_ENTRIES)
    levels = 1 - np.geomspace(0.7, 0.001, STEPS - 1)
    edges = np.quantile(logits[::every].astype(np.float64), levels)

    def steps(block: slice) -> NDArray[np.int64]:
        return np.searchsorted(edges, logits[:, block], side="right")

    best = _best_step(steps, targets, beta)
    return None if best is None else float(edges[best - 1])


def _anchors(
    logits: NDArray[np.floating],
    targets: NDArray[np.int8],
    calibration: Calibration,
    beta: float = 1.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The log odds (C,) of each label at the best probability and at the best logit for all."""
    best = pooled_probability(probabilities(logits, calibration), targets, beta)
    by_probability = np.full(logits.shape[1], float(log_odds(np.array(best))))
    logit = pooled_logit(logits, targets, beta)
    if logit is None:
        return by_probability, by_probability
    return by_probability, np.array(calibration.slope) * logit + np.array(calibration.offset)


def _weight_of_logits(logits: NDArray[np.floating], targets: NDArray[np.int8]) -> float:
    """How much the best logit counts, in 0..1."""
    order = np.random.default_rng(0).permutation(len(logits))[:_MOST_IMAGES]
    if len(order) < 2 * _FOLDS or not (targets == PRESENT).any():
        return 0.0
    counts: list[list[Counts]] = [[], []]
    for fold in range(_FOLDS):
        own, rest = order[fold::_FOLDS], np.delete(order, slice(fold, None, _FOLDS))
        calibration = fit_calibration(logits[rest], targets[rest])
        fitted = probabilities(logits[rest], calibration)
        certain = probabilities(logits[own], calibration)
        for found, anchor in zip(
            counts, _anchors(logits[rest], targets[rest], calibration), strict=True
        ):
            thresholds = best_f1_thresholds(fitted, targets[rest], _probability(anchor))
            found.append(count_decisions(certain >= thresholds, targets[own]))
    by_probability, by_logit = map(_reached, counts)
    return float(_probability(np.array(np.clip(by_logit - by_probability, -50, 50))))


def _reached(counts: list[Counts]) -> float:
    """The mean of the labels' F1 plus OF1, in points, of decisions on several folds."""
    total = Counts(*(sum(getattr(each, name) for each in counts) for name in _COUNTED))
    present = total.present > 0
    overall = 2 * total.correct.sum() / max(1, total.given.sum() + total.present.sum())
    return 100 * float(total.f1[present].mean() + overall) if present.any() else 0.0


_COUNTED = ("correct", "given", "present", "unknown")


def _best_step(
    steps: Callable[[slice], NDArray[np.int64]], targets: NDArray[np.int8], beta: float
) -> int | None:
    """From which step in 1..STEPS - 1 on giving a label has the best mean F-beta of all labels.

    Args:
        steps: the step (N, c) of each entry of some labels.
        targets: (N, C) of all.
        beta: of F-beta.
    """
    f_beta = np.zeros(STEPS)
    for block in blocks(targets.shape[1], len(targets)):
        part, known = targets[:, block], targets[:, block] != UNKNOWN
        placed = steps(block) + STEPS * np.arange(part.shape[1])  # a bin for each label and step
        given = _at_least(placed[known], part.shape[1])
        correct = _at_least(placed[part == PRESENT], part.shape[1])
        has_positive = correct[:, 0] > 0
        scores = f_score(correct, given, correct[:, :1], beta)
        f_beta += scores[has_positive].sum(axis=0)
    return int(np.argmax(f_beta[1:])) + 1 if f_beta.any() else None


def _at_least(steps: NDArray[np.int64], label_count: int) -> NDArray[np.int64]:
    """How many entries of each label are at each step or above it, (labels, steps)."""
    counts = np.bincount(steps, minlength=label_count * STEPS).reshape(-1, STEPS)
    return np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]


def _probability(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(log_odds, -50, 50)))
    return result
