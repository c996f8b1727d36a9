"""What a report is made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.inference.scored import ScoredImages
from twlcli.labels import PRESENT, UNKNOWN
from twlcli.model.decisions import calibration_of, decide, probabilities, thresholds_of
from twlcli.model.spec import ModelSpec
from twlcli.scoring.evaluation import Evaluation


@dataclass(frozen=True)
class Evaluated:
    """An evaluation, and what it was made of.

    Attributes:
        model: as it was named.
        evaluation: its scores of `scored` by `spec`.
        scored: what the model said of the n images that could be read.
        spec: the model's labels, calibration and thresholds.
        annotations: the images that were to be scored, where they lie.
    """

    model: str
    evaluation: Evaluation
    scored: ScoredImages
    spec: ModelSpec
    annotations: Annotations

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """Calibrated, (n, C)."""
        return probabilities(self.scored.logits, calibration_of(self.spec))

    @cached_property
    def thresholds(self) -> NDArray[np.float32]:
        """Those of the evaluation's decisions, (C,)."""
        return thresholds_of(self.spec, self.evaluation.threshold)

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """Which labels the images have, (n, C)."""
        return np.equal(self.scored.targets, PRESENT)

    @cached_property
    def given(self) -> NDArray[np.bool_]:
        """Which labels the images are given, of those that are known to be right or wrong."""
        known = np.not_equal(self.scored.targets, UNKNOWN)
        return np.logical_and(decide(self.probabilities, self.thresholds), known)

    @cached_property
    def wrong(self) -> NDArray[np.bool_]:
        """Which labels the images are given and lack."""
        return np.logical_and(self.given, ~self.present)
