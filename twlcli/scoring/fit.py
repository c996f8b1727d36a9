"""Calibration and thresholds of a model, fitted together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from twlcli.model.decisions import probabilities
from twlcli.model.spec import ModelSpec
from twlcli.scoring.calibration import fit_calibration
from twlcli.scoring.pooled import pooled_by_beta
from twlcli.scoring.thresholds import BETAS, fit_thresholds


def fit(logits: NDArray[np.floating], targets: NDArray[np.int8], spec: ModelSpec) -> ModelSpec:
    """The spec with calibration, and thresholds on the calibrated probabilities, of held-out data.

    Args:
        logits: (N, C) of images that the model was not trained on.
        targets: (N, C) of 1 present, 0 absent, -1 unknown.
        spec: the model's, with C labels.

    Raises:
        ModelError: a logit is not finite, or there is no image.
        ValueError: the shapes differ.
    """
    if targets.shape[1:] != (len(spec.vocabulary),):
        raise ValueError(f"targets {targets.shape} are not (N, {len(spec.vocabulary)})")
    calibration = fit_calibration(logits, targets)
    pooled = pooled_by_beta(logits, targets, calibration, (1.0, *BETAS))
    thresholds = fit_thresholds(
        probabilities(logits, calibration), targets, pooled.pop(1.0), by_beta=pooled
    )
    return replace(spec, calibration=calibration, thresholds=thresholds)
