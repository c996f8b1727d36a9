import numpy as np
import pytest

from tests.scoring.drawn import draw_logits
from twlcli.model.decisions import decide, probabilities
from twlcli.scoring import average_precision
from twlcli.scoring.calibration import fit_calibration
from twlcli.scoring.metrics import count_decisions, score_decisions
from twlcli.scoring.pooled import STEPS, pooled_logit, pooled_probability, pooled_thresholds
from twlcli.scoring.thresholds import fit_thresholds


def on_one_scale(
    images: int, *, seed: int, labels: int = 30, spread: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Logits that mean the same for all labels, or less so, and targets; few are present."""
    generator = np.random.default_rng(seed)
    rates = np.geomspace(0.01, 0.2, labels)
    targets = (generator.random((images, labels)) < rates).astype(np.int8)
    logits = np.log(rates) + generator.normal(size=targets.shape) + 2.5 * targets
    own = np.random.default_rng(1).normal(scale=spread, size=labels)
    return (logits + own).astype(np.float32), targets


def mean_f1(decisions: np.ndarray, targets: np.ndarray) -> float:
    return float(count_decisions(decisions, targets).f1.mean())


def test_pooled_probability_has_the_best_mean_f1():
    logits, targets = draw_logits(images=300, labels=5)
    certain = probabilities(logits, fit_calibration(logits, targets))
    known = np.where(targets == -1, -1, certain)
    of_steps = [mean_f1(known >= step / STEPS, targets) for step in range(1, STEPS)]
    assert pooled_probability(certain, targets) == (int(np.argmax(of_steps)) + 1) / STEPS


def test_pooled_logit_is_as_good_as_any_other():
    logits, targets = on_one_scale(400, seed=0)
    found = pooled_logit(logits, targets)
    assert found is not None
    tried = np.quantile(logits, np.linspace(0.3, 1, 400))
    of_all = max(mean_f1(logits >= value, targets) for value in tried)
    assert mean_f1(logits >= found, targets) >= of_all - 0.02


def test_without_positives_there_is_nothing_to_lean_on():
    logits, targets = on_one_scale(50, seed=0)
    none = np.zeros_like(targets)
    assert pooled_logit(logits, none) is None
    assert pooled_probability(np.full(logits.shape, 0.3, np.float32), none) == 0.5
    pooled = pooled_thresholds(logits, none, fit_calibration(logits, none))
    np.testing.assert_allclose(pooled, 0.5)


def test_blocks_give_the_same(monkeypatch):
    logits, targets = on_one_scale(60, seed=3, labels=7)
    calibration = fit_calibration(logits, targets)
    whole = pooled_thresholds(logits, targets, calibration)
    monkeypatch.setattr(average_precision, "BLOCK_ENTRIES", 150)
    np.testing.assert_allclose(pooled_thresholds(logits, targets, calibration), whole, rtol=1e-6)


@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_labels_lean_on_what_serves_them_on_other_images(spread):
    """On one scale as well as on scales of their own, where one logit for all is useless."""
    gained, useless = [], []
    for seed in range(4):
        logits, targets = on_one_scale(1700, seed=seed, spread=spread)
        own, others = slice(0, 200), slice(200, None)
        calibration = fit_calibration(logits[own], targets[own])
        fitted = probabilities(logits[own], calibration)
        certain = probabilities(logits[others], calibration)
        pooled = pooled_thresholds(logits[own], targets[own], calibration)
        best = np.full(pooled.shape, pooled_probability(fitted, targets[own]))
        logit = pooled_logit(logits[own], targets[own])
        assert logit is not None
        log_odds = np.array(calibration.slope) * logit + np.array(calibration.offset)
        scores = []
        for anchor in (pooled, best, 1 / (1 + np.exp(-log_odds))):
            thresholds = fit_thresholds(fitted, targets[own], anchor).best_f1
            decisions = decide(certain, np.array(thresholds, dtype=np.float32))
            scores.append(score_decisions(count_decisions(decisions, targets[others])).overall_f1)
        gained.append(scores[0] - scores[1])
        useless.append(scores[0] - scores[2])
    assert np.mean(gained) > -0.003
    assert np.mean(useless) > (0.1 if spread else -0.003)
