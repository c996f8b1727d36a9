"""What thresholds are worth on images that they were not fitted to.

    twl eval RUN --scores val.npz
    python benchmarks/thresholds.py val.npz ...

Draws 100, 250 and half of the images many times, fits calibration and thresholds to them, and
counts on the others: the mean of the labels' F1, CF1 and OF1, in points.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from twlcli.model.decisions import probabilities
from twlcli.model.spec import Calibration
from twlcli.scoring import thresholds
from twlcli.scoring.calibration import fit_calibration
from twlcli.scoring.metrics import count_decisions, score_decisions
from twlcli.scoring.pooled import pooled_logit, pooled_probability, pooled_thresholds

DRAWS = 40
Fitted = Callable[
    [NDArray[np.float32], NDArray[np.int8], Calibration], NDArray[np.float64] | NDArray[np.float32]
]


def shrunk(positives: float, pooled: Fitted) -> Fitted:
    """Thresholds that lean on pooled ones with the weight of so many positives."""

    def fitted(
        logits: NDArray[np.float32], targets: NDArray[np.int8], calibration: Calibration
    ) -> NDArray[np.float32]:
        before = thresholds.POOLED_POSITIVES
        thresholds.POOLED_POSITIVES = positives
        try:
            certain = probabilities(logits, calibration)
            return thresholds.best_f1_thresholds(
                certain, targets, np.asarray(pooled(logits, targets, calibration), np.float64)
            )
        finally:
            thresholds.POOLED_POSITIVES = before

    return fitted


def one_probability(
    logits: NDArray[np.float32], targets: NDArray[np.int8], calibration: Calibration
) -> NDArray[np.float64]:
    """The best probability for all labels."""
    best = pooled_probability(probabilities(logits, calibration), targets)
    return np.full(targets.shape[1], best)


def one_logit(
    logits: NDArray[np.float32], targets: NDArray[np.int8], calibration: Calibration
) -> NDArray[np.float64]:
    """The best logit for all labels, as probabilities."""
    best = pooled_logit(logits, targets) or 0.0
    log_odds = np.array(calibration.slope) * best + np.array(calibration.offset)
    return np.asarray(1 / (1 + np.exp(-log_odds)), dtype=np.float64)


RULES: Mapping[str, Fitted] = {
    "each label's own": shrunk(1e-9, one_probability),
    "one probability for all": one_probability,
    "one logit for all": one_logit,
    "shrunk toward one probability, m = 5": shrunk(5, one_probability),
    "as twl does, m = 20": shrunk(20, pooled_thresholds),
    "as twl does, m = 50": shrunk(50, pooled_thresholds),
    "as twl does, m = 100": shrunk(100, pooled_thresholds),
    "as twl does, m = 200": shrunk(200, pooled_thresholds),
}


def scores_of(
    logits: NDArray[np.float32], targets: NDArray[np.int8], count: int
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Each rule's scores on the others, of one draw after another."""
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(logits))
        own, others = order[:count], order[count:]
        calibration = fit_calibration(logits[own], targets[own])
        certain = probabilities(logits[others], calibration)
        for name, rule in RULES.items():
            found = rule(logits[own], targets[own], calibration)
            counts = count_decisions(certain >= found.astype(np.float32), targets[others])
            score = score_decisions(counts)
            by_label = counts.f1[counts.present > 0].mean()
            yield name, 100 * np.array([by_label, score.class_f1, score.overall_f1])


def main() -> None:
    """Print a table for each file and number of images."""
    for path in sys.argv[1:]:
        with np.load(path) as file:
            logits, targets = file["logits"], file["targets"]
        for count in (100, 250, len(logits) // 2):
            print(f"{path}, fitted to {count:,} of {len(logits):,} images")
            found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in RULES}
            for name, score in scores_of(logits, targets, count):
                found[name].append(score)
            for name, values in found.items():
                mean = np.mean(values, axis=0)
                print(f"  {name:38}" + "".join(f"{value:8.2f}" for value in mean))


if __name__ == "__main__":
    main()
