import numpy as np
import pytest

from tests.scoring.drawn import draw_logits
from twlcli.labels import Vocabulary
from twlcli.model.decisions import decide, probabilities, thresholds_of
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.scoring.calibration import fit_calibration
from twlcli.scoring.fit import fit
from twlcli.scoring.metrics import count_decisions
from twlcli.scoring.pooled import pooled_by_beta
from twlcli.scoring.thresholds import BETAS, fit_thresholds

SPEC = ModelSpec(Vocabulary(tuple("abcdef")), "drawn", Preprocessing(), provenance={"twl": "test"})


def test_fit_gives_the_spec_with_calibration_and_thresholds():
    logits, targets = draw_logits(images=100)
    spec = fit(logits, targets, SPEC)
    assert spec.calibration == fit_calibration(logits, targets)
    assert spec.thresholds is not None
    pooled = pooled_by_beta(logits, targets, spec.calibration, (1.0, *BETAS))
    certain = probabilities(logits, spec.calibration)
    assert spec.thresholds == fit_thresholds(certain, targets, pooled.pop(1.0), by_beta=pooled)
    assert list(spec.thresholds.recall) == ["0.5", "0.6", "0.7", "0.8", "0.9", "0.95"]
    assert list(spec.thresholds.f_beta) == ["0.5", "2"]
    assert (spec.vocabulary, spec.provenance) == (SPEC.vocabulary, SPEC.provenance)
    assert SPEC.calibration is None
    assert ModelSpec.from_json(spec.to_json(), source="test") == spec


def test_fit_decides_better_than_one_half_of_the_sigmoid():
    # The logits' own constants make sigmoid(logit) > 0.5 mean nothing.
    logits, targets = draw_logits(images=2_000)
    spec = fit(logits[:1_000], targets[:1_000], SPEC)
    assert spec.calibration is not None
    certain = probabilities(logits[1_000:], spec.calibration)
    fitted = count_decisions(decide(certain, thresholds_of(spec, None)), targets[1_000:])
    raw = count_decisions(logits[1_000:] > 0, targets[1_000:])
    assert fitted.f1.mean() > raw.f1.mean() + 0.2


def test_fit_refuses_another_number_of_labels():
    logits, targets = draw_logits(images=10, labels=5)
    with pytest.raises(ValueError, match=r"not \(N, 6\)"):
        fit(logits, targets, SPEC)


def test_fit_is_the_same_in_every_floating_type():
    logits, targets = draw_logits(images=100)
    assert fit(logits, targets, SPEC) == fit(logits.astype(np.float64), targets, SPEC)
