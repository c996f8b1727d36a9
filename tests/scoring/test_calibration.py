import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from tests import reference
from tests.scoring.drawn import draw_logits
from twlcli.errors import ModelError
from twlcli.model.decisions import probabilities
from twlcli.model.spec import Calibration
from twlcli.scoring import average_precision
from twlcli.scoring import calibration as module
from twlcli.scoring.calibration import (
    OFFSET_PRECISION,
    POOLED_CENTRE,
    POOLED_PRECISION,
    SLOPE_PRECISION,
    fit_calibration,
)
from twlcli.scoring.metrics import calibration_error

quick = settings(deadline=None, max_examples=30)


def fitted(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return probabilities(logits, fit_calibration(logits, targets))


def standardise(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, ...]:
    known = np.where(targets == -1, np.nan, logits.astype(float))
    mean, deviation = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    return (logits - mean) / deviation, mean, deviation


def minimum(objective: Callable[[tuple[float, float]], float]) -> tuple[float, float]:
    """Where a function of two numbers is lowest: steps in eight directions, ever shorter."""
    at, step = (0.0, 0.0), 1.0
    moves = [(b, s) for b in (-1, 0, 1) for s in (-1, 0, 1)]
    while step > 1e-6:
        best = min(((at[0] + b * step, at[1] + s * step) for b, s in moves), key=objective)
        if best == at:
            step /= 2
        at = best
    return at


def test_fit_calibration_minimises_the_documented_objective():
    logits, targets = draw_logits(images=80, labels=3)
    z, mean, deviation = standardise(logits, targets)
    columns = [(z[:, c].tolist(), targets[:, c].tolist()) for c in range(3)]

    def pooled_objective(parameters):
        prior = reference.platt_objective(
            [], [], parameters=parameters, centre=POOLED_CENTRE, precision=POOLED_PRECISION
        )
        data = [
            reference.platt_objective(
                values, true, parameters=parameters, centre=(0.0, 0.0), precision=(0.0, 0.0)
            )
            for values, true in columns
        ]
        return prior + sum(data)

    centre = minimum(pooled_objective)
    calibration = fit_calibration(logits, targets)
    for label, (values, true) in enumerate(columns):

        def label_objective(parameters, values=values, true=true):
            strength = (OFFSET_PRECISION, SLOPE_PRECISION)
            return reference.platt_objective(
                values, true, parameters=parameters, centre=centre, precision=strength
            )

        offset, log_slope = minimum(label_objective)
        slope = np.exp(log_slope) / deviation[label]
        assert calibration.slope[label] == pytest.approx(slope, rel=1e-4)
        expected = offset - slope * mean[label]
        assert calibration.offset[label] == pytest.approx(expected, rel=1e-4)


def test_fit_calibration_with_many_positives_is_logistic_regression():
    logits, targets = draw_logits(images=20_000, labels=2, unknown=0)
    calibration = fit_calibration(logits, targets)
    for label in range(2):
        plain = LogisticRegression(C=1e9, tol=1e-8).fit(logits[:, [label]], targets[:, label])
        assert calibration.slope[label] == pytest.approx(plain.coef_[0, 0], rel=0.01)
        assert calibration.offset[label] == pytest.approx(plain.intercept_[0], rel=0.02)


def test_fit_calibration_finds_the_truth():
    generator = np.random.default_rng(1)
    slope, offset = np.array([0.5, 1.0, 3.0]), np.array([-2.0, 1.0, 4.0])
    logits = generator.normal(scale=2, size=(20_000, 3)).astype(np.float32)
    truth = 1 / (1 + np.exp(-(slope * logits + offset)))
    targets = (generator.random(truth.shape) < truth).astype(np.int8)
    assert fit_calibration(logits, targets).slope == pytest.approx(slope, rel=0.05)
    assert fit_calibration(logits, targets).offset == pytest.approx(offset, rel=0.08, abs=0.08)


def test_fit_calibration_is_calibrated_on_other_images():
    logits, targets = draw_logits(images=4_000, labels=6)
    calibration = fit_calibration(logits[:2_000], targets[:2_000])
    held_out = probabilities(logits[2_000:], calibration)
    assert calibration_error(held_out, targets[2_000:]) < 0.02
    raw = 1 / (1 + np.exp(-logits[2_000:]))
    assert calibration_error(raw, targets[2_000:]) > 0.2


@pytest.mark.parametrize(("positives", "low", "high"), [(3, 0.4, 1.0), (300, 0.0, 0.2)])
def test_fit_calibration_shrinks_few_positives_toward_the_pooled_slope(positives, low, high):
    # The logits of the first label say nothing; three positives cannot show that, 300 can.
    logits, targets = draw_logits(images=2_000, labels=8, unknown=0)
    logits[:, 0] = np.random.default_rng(2).permutation(np.linspace(-2, 2, 2_000))
    targets[:, 0] = np.arange(2_000) < positives
    _, _, deviation = standardise(logits, targets)
    slopes = np.array(fit_calibration(logits, targets).slope) * deviation
    assert low < slopes[0] / np.median(slopes[1:]) < high


@quick
@given(st.integers(0, 1_000), st.sampled_from([-1_000.0, -3.0, 10.0, 512.0]))
def test_fit_calibration_ignores_a_constant_in_the_logits(seed, constant):
    logits, targets = draw_logits(seed, images=60, labels=3)
    logits = (np.round(logits * 64) / 64).astype(np.float32)  # so that adding is exact
    shifted = logits + np.float32(constant)
    assert fitted(shifted, targets) == pytest.approx(fitted(logits, targets), abs=5e-4)


@quick
@given(st.integers(0, 1_000), st.sampled_from([2.0**-10, 0.5, 2.0**14]))
def test_fit_calibration_ignores_the_scale_of_the_logits(seed, scale):
    logits, targets = draw_logits(seed, images=60, labels=3)
    scaled = logits * np.float32(scale)
    assert fitted(scaled, targets) == pytest.approx(fitted(logits, targets), abs=1e-5)


@quick
@given(st.integers(0, 1_000))
def test_fit_calibration_ignores_unknown_entries(seed):
    logits, targets = draw_logits(seed, images=60, labels=3, unknown=0.3)
    other = np.where(targets == -1, 77, logits).astype(np.float32)
    assert fit_calibration(other, targets) == fit_calibration(logits, targets)


@quick
@given(st.integers(0, 1_000), st.randoms(use_true_random=False))
def test_fit_calibration_does_not_depend_on_the_order(seed, random):
    logits, targets = draw_logits(seed, images=60, labels=4)
    rows, columns = random.sample(range(60), 60), random.sample(range(4), 4)
    shuffled = fit_calibration(logits[rows][:, columns], targets[rows][:, columns])
    calibration = fit_calibration(logits, targets)
    assert shuffled.slope == pytest.approx([calibration.slope[c] for c in columns], rel=1e-5)
    assert shuffled.offset == pytest.approx(
        [calibration.offset[c] for c in columns], rel=1e-5, abs=1e-5
    )


@quick
@given(st.integers(0, 1_000), st.sampled_from([0.02, 0.3]))
def test_probabilities_rise_with_the_logits(seed, rate):
    logits, targets = draw_logits(seed, images=60, labels=3, rate=rate)
    calibration = fit_calibration(logits, targets)
    assert min(calibration.slope) > 0
    ramp = np.linspace(-50, 50, 1_001, dtype=np.float32)[:, None].repeat(3, axis=1)
    certain = probabilities(ramp, calibration)
    assert (np.diff(certain, axis=0) >= 0).all()
    assert ((certain >= 0) & (certain <= 1)).all()


def test_fit_calibration_of_separable_labels_stays_finite():
    targets = np.repeat([0, 1], 50).astype(np.int8)[:, None]
    logits = np.where(targets == 1, 1e4, -1e4).astype(np.float32)
    certain = fitted(logits, targets)
    assert 0 < certain[:50].max() < 0.05
    assert 0.95 < certain[50:].min() < 1


def test_fit_calibration_of_the_worst_model_gives_the_rate():
    targets = np.repeat([0, 1], 50).astype(np.int8)[:, None]
    logits = np.where(targets == 1, -1e4, 1e4).astype(np.float32)
    assert min(fit_calibration(logits, targets).slope) > 0
    assert fitted(logits, targets) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("value", [0.0, 7.0, -1e4, 1e-30])
def test_fit_calibration_of_constant_logits_gives_the_rate(value):
    logits = np.full((100, 1), value, dtype=np.float32)
    targets = (np.arange(100) < 30).astype(np.int8)[:, None]
    assert fitted(logits, targets) == pytest.approx(0.3, abs=0.01)


def test_fit_calibration_of_a_label_without_positives_falls_with_the_images():
    highest = []
    for images in (20, 200, 2_000):
        logits, targets = draw_logits(images=images, labels=5, unknown=0)
        targets[:, 0] = 0
        certain = fitted(logits, targets)[:, 0]
        assert images * certain.mean() < 2  # of so many, two would have shown
        highest.append(certain.max())
    assert highest[0] > highest[1] > highest[2] > 0


def test_fit_calibration_of_a_label_without_known_entries_is_the_pooled_fit():
    logits, targets = draw_logits(images=500, labels=4, unknown=0)
    logits = (logits - logits.mean(axis=0)) / logits.std(axis=0)
    targets[:, 3] = -1
    calibration = fit_calibration(logits, targets)
    assert min(calibration.slope[:3]) < calibration.slope[3] < max(calibration.slope[:3])
    assert min(calibration.offset[:3]) < calibration.offset[3] < max(calibration.offset[:3])


@pytest.mark.parametrize(("value", "low", "high"), [(0, 0.0, 0.001), (1, 0.999, 1.0), (-1, 0, 1)])
def test_fit_calibration_where_all_targets_are_alike(value, low, high):
    logits, targets = draw_logits(images=500)
    certain = fitted(logits, np.full_like(targets, value))
    assert np.isfinite(certain).all()
    assert low <= certain.mean() <= high


@pytest.mark.parametrize("images", [1, 2, 3])
def test_fit_calibration_of_very_few_images(images):
    for entries in itertools.product((-1, 0, 1), repeat=images):
        targets = np.array(entries, dtype=np.int8)[:, None]
        logits = np.arange(images, dtype=np.float32)[:, None]
        assert np.isfinite(fitted(logits, targets)).all()


def test_fit_calibration_in_blocks_is_that_of_the_whole(monkeypatch):
    logits, targets = draw_logits(images=100, labels=7)
    whole = fit_calibration(logits, targets)
    monkeypatch.setattr(average_precision, "BLOCK_ENTRIES", 250)
    parts = fit_calibration(logits, targets)
    assert parts.slope == pytest.approx(whole.slope, rel=1e-6)
    assert parts.offset == pytest.approx(whole.offset, rel=1e-6, abs=1e-6)


def test_fit_calibration_pools_every_nth_image_of_many(monkeypatch):
    logits, targets = draw_logits(images=3_000)
    whole = fitted(logits, targets)
    monkeypatch.setattr(module, "POOLED_ENTRIES", 3_000)
    assert fitted(logits, targets) == pytest.approx(whole, abs=0.01)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_fit_calibration_refuses_logits_that_are_not_finite(value):
    logits, targets = draw_logits(images=10)
    logits[4, 2] = value
    with pytest.raises(ModelError, match="image 4, label 2"):
        fit_calibration(logits, targets)


def test_fit_calibration_refuses_no_images():
    with pytest.raises(ModelError, match="no image"):
        fit_calibration(np.zeros((0, 3), dtype=np.float32), np.zeros((0, 3), dtype=np.int8))


def test_probabilities_of_known_logits():
    calibration = Calibration(slope=(1.0, 2.0), offset=(0.0, -1.0))
    certain = probabilities(np.array([[0.0, 0.5], [np.log(3), 0.5]]), calibration)
    assert certain.dtype == np.float32
    assert certain == pytest.approx(np.array([[0.5, 0.5], [0.75, 0.5]]), abs=1e-7)


def test_probabilities_do_not_overflow():
    extreme = np.array([[-1e30], [-1e4], [0.0], [1e4], [1e30]], dtype=np.float32)
    certain = probabilities(extreme, Calibration((1.0,), (0.0,)))[:, 0]
    assert certain[2:].tolist() == [0.5, 1.0, 1.0]
    assert (certain[:2] >= 0).all()
    assert (certain[:2] < 1e-37).all()


def test_probabilities_are_accurate_where_they_are_small():
    logits = np.linspace(-80, 10, 200, dtype=np.float32)[:, None]
    expected = 1 / (1 + np.exp(-logits.astype(np.float64)))
    certain = probabilities(logits, Calibration((1.0,), (0.0,)))
    np.testing.assert_allclose(certain, expected, rtol=1e-6)


def test_probabilities_leave_the_logits_alone():
    logits = np.ones((2, 1), dtype=np.float32)
    probabilities(logits, Calibration((2.0,), (3.0,)))
    assert logits.tolist() == [[1.0], [1.0]]
