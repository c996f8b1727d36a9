"""What decisions are worth on images that calibration and thresholds were not fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twlcli.model.decisions import calibration_of, decide, probabilities, thresholds_of
from twlcli.model.spec import ModelSpec
from twlcli.scoring.fit import fit
from twlcli.scoring.metrics import (
    DecisionScore,
    brier_score,
    calibration_error,
    count_decisions,
    score_decisions,
)

FOLDS = 10
_FEW_FOLDS, _MANY_ENTRIES = 5, 1 << 20  # of large data: a fold leaves enough there


@dataclass(frozen=True)
class CrossFitted:
    """Scores of decisions on each fold, by what was fitted to the others.

    Attributes:
        folds: how many there are.
        at_threshold: of the decisions at the thresholds.
        brier: Brier score of the calibrated probabilities.
        calibration_error: their expected calibration error.
    """

    folds: int
    at_threshold: DecisionScore
    brier: float
    calibration_error: float


def cross_fit(
    logits: NDArray[np.floating],
    targets: NDArray[np.int8],
    spec: ModelSpec,
    threshold: str | float | None = None,
) -> tuple[CrossFitted, NDArray[np.bool_]] | None:
    """Fit calibration and thresholds on all folds but one and decide on that one, in turn.

    Args:
        logits: (N, C).
        targets: (N, C) of 1 present, 0 absent, -1 unknown.
        spec: the model's labels.
        threshold: see `decisions.thresholds_of`.

    Returns:
        The scores of all decisions together, and the decisions (N, C); None of fewer than two
        images.
    """
    count = len(logits)
    folds = min(count, _FEW_FOLDS if logits.size > _MANY_ENTRIES else FOLDS)
    if folds < 2:
        return None
    fold_of = np.random.default_rng(0).permutation(count) % folds
    certain = np.empty(logits.shape, dtype=np.float32)
    decisions = np.empty(logits.shape, dtype=np.bool_)
    for fold in range(folds):
        own = fold_of == fold
        fitted = fit(logits[~own], targets[~own], spec)
        certain[own] = probabilities(logits[own], calibration_of(fitted))
        decisions[own] = decide(certain[own], thresholds_of(fitted, threshold))
    scores = CrossFitted(
        folds,
        score_decisions(count_decisions(decisions, targets)),
        brier_score(certain, targets),
        calibration_error(certain, targets),
    )
    return scores, decisions
