import numpy as np
import pytest

from twlcli.labels import Vocabulary
from twlcli.model.decisions import calibration_of, decide, probabilities, thresholds_of
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.scoring.cross_fit import FOLDS, cross_fit
from twlcli.scoring.fit import fit
from twlcli.scoring.metrics import count_decisions, score_decisions

LABELS = 6
SPEC = ModelSpec(Vocabulary(tuple("abcdef")), "resnet18", Preprocessing(8, 8))


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    targets = (generator.uniform(size=(count, LABELS)) < 0.1).astype(np.int8)
    logits = generator.normal(size=targets.shape) + 2.0 * targets
    return logits.astype(np.float32), targets


@pytest.mark.parametrize("threshold", [None, "precision=0.8", 0.3])
def test_every_image_is_decided_by_the_others(threshold):
    logits, targets = drawn(57, 0)
    given = cross_fit(logits, targets, SPEC, threshold)
    assert given is not None
    found, decided = given
    assert found.folds == FOLDS
    fold_of = np.random.default_rng(0).permutation(57) % FOLDS
    decisions = np.zeros(targets.shape, dtype=bool)
    for fold in range(FOLDS):
        others = fold_of != fold
        fitted = fit(logits[others], targets[others], SPEC)
        for row in np.flatnonzero(~others):
            certain = probabilities(logits[row : row + 1], calibration_of(fitted))
            decisions[row] = decide(certain, thresholds_of(fitted, threshold))[0]
    assert (decided == decisions).all()
    assert found.at_threshold == score_decisions(count_decisions(decisions, targets))


@pytest.mark.slow
def test_it_tells_what_other_images_will_show():
    """On drawn data the fitted figures are too good, and the cross-fitted ones are not."""
    fitted_gap, cross_gap = [], []
    for seed in range(24):
        logits, targets = drawn(150, seed)
        fitted = fit(logits, targets, SPEC)

        def f1(logits: np.ndarray, targets: np.ndarray, fitted: ModelSpec = fitted) -> float:
            certain = probabilities(logits, calibration_of(fitted))
            decisions = decide(certain, thresholds_of(fitted, None))
            return score_decisions(count_decisions(decisions, targets)).class_f1

        truth = f1(*drawn(4000, 1000 + seed))
        cross = cross_fit(logits, targets, SPEC)
        assert cross is not None
        fitted_gap.append(f1(logits, targets) - truth)
        cross_gap.append(cross[0].at_threshold.class_f1 - truth)
    assert np.mean(fitted_gap) > np.mean(cross_gap) + 0.02
    assert abs(np.mean(cross_gap)) < 0.02


def test_one_image_has_no_others():
    logits, targets = drawn(1, 0)
    assert cross_fit(logits, targets, SPEC) is None
    two = cross_fit(*drawn(2, 0), SPEC)
    assert two is not None and two[0].folds == 2
