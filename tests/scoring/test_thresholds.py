from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from tests.scoring.drawn import draw_logits, scores_and_targets
from twlcli.errors import ModelError, TwlError
from twlcli.labels import Vocabulary
from twlcli.model.decisions import (
    decide,
    given_in_rows,
    given_labels,
    probabilities,
    thresholds_of,
)
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import Calibration, ModelSpec, Thresholds
from twlcli.scoring import average_precision, thresholds
from twlcli.scoring.calibration import fit_calibration
from twlcli.scoring.metrics import count_decisions
from twlcli.scoring.pooled import pooled_probability
from twlcli.scoring.thresholds import (
    NEVER,
    PRECISION_TARGETS,
    f_score,
    fit_thresholds,
    least_correct,
)

quick = settings(deadline=None, max_examples=60)

SPEC = ModelSpec(
    Vocabulary(("cat", "dog")),
    "drawn",
    Preprocessing(),
    thresholds=Thresholds(
        (0.25, 0.5),
        {"0.9": (0.75, 1.01), "0.95": (0.875, 1.01)},
        {"0.8": (0.125, 1.01)},
        {"0.5": (0.5, 0.625), "2": (0.0625, 0.125)},
    ),
)


def as_probabilities(scores: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-scores)), dtype=np.float32)


def fitted_to(certain: np.ndarray, targets: np.ndarray) -> Thresholds:
    """The thresholds, leaning on the best probability for all labels."""
    pooled = pooled_probability(certain, targets)
    return fit_thresholds(certain, targets, np.full(targets.shape[1], pooled))


def draw_probabilities(**options) -> tuple[np.ndarray, np.ndarray]:
    logits, targets = draw_logits(**options)
    return probabilities(logits, fit_calibration(logits, targets)), targets


@quick
@given(scores_and_targets())
def test_precision_thresholds_are_the_lowest_that_reach_it(drawn):
    certain, targets = as_probabilities(drawn[0]), drawn[1]
    precision = fitted_to(certain, targets).precision
    assert list(precision) == ["0.5", "0.6", "0.7", "0.8", "0.9", "0.95", "0.99"]
    for key, values in precision.items():
        for column in range(targets.shape[1]):
            p, t = certain[:, column].tolist(), targets[:, column].tolist()
            cut = reference.lowest_cut_with_precision(p, t, Fraction(key), Fraction("0.8"))
            if cut is None:
                assert values[column] == NEVER
                continue
            lower = max(
                (q for q, true in zip(p, t, strict=True) if q < cut and true != -1), default=0
            )
            assert values[column] == pytest.approx((lower + cut) / 2, rel=1e-6)


@quick
@given(scores_and_targets())
def test_best_f1_thresholds_without_shrinkage_are_the_best(drawn):
    certain, targets = as_probabilities(drawn[0]), drawn[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresholds, "POOLED_POSITIVES", 1e-9)
        fitted = fitted_to(certain, targets).best_f1
    for column in range(targets.shape[1]):
        p, t = certain[:, column].tolist(), targets[:, column].tolist()
        if 1 in t:
            best = max(reference.f1_at(p, t, cut) for cut in p)
            assert reference.f1_at(p, t, fitted[column]) == pytest.approx(best)


@quick
@given(scores_and_targets())
def test_recall_thresholds_are_the_highest_that_reach_it(drawn):
    certain, targets = as_probabilities(drawn[0]), drawn[1]
    recall = fitted_to(certain, targets).recall
    assert list(recall) == ["0.5", "0.6", "0.7", "0.8", "0.9", "0.95"]
    for key, values in recall.items():
        for column, value in enumerate(values):
            known = targets[:, column] != -1
            p, t = certain[known, column].tolist(), targets[known, column].tolist()
            enough = [cut for cut in p if has_recall(p, t, cut, Fraction(key))]
            if not enough:
                assert value == NEVER
                continue
            lower = max((q for q in p if q < max(enough)), default=0)
            assert value == pytest.approx((lower + max(enough)) / 2, rel=1e-6)


def has_recall(p: list[float], t: list[int], cut: float, target: Fraction) -> bool:
    correct = sum(true == 1 and q >= cut for q, true in zip(p, t, strict=True))
    present = t.count(1)
    return present > 0 and reference.at_least(correct, present, target) <= Fraction("0.2")


@pytest.mark.parametrize("beta", [0.5, 2.0])
@quick
@given(drawn=scores_and_targets())
def test_f_beta_thresholds_without_shrinkage_are_the_best(beta, drawn):
    certain, targets = as_probabilities(drawn[0]), drawn[1]
    anchor = {beta: np.full(targets.shape[1], 0.5)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresholds, "POOLED_POSITIVES", 1e-9)
        fitted = fit_thresholds(certain, targets, anchor[beta], by_beta=anchor)
    (values,) = fitted.f_beta.values()
    for column, value in enumerate(values):
        p, t = certain[:, column].tolist(), targets[:, column].tolist()
        if 1 in t:
            best = max(f_beta_at(p, t, cut, beta) for cut in p)
            assert f_beta_at(p, t, value, beta) == pytest.approx(best)


def f_beta_at(p: list[float], t: list[int], cut: float, beta: float) -> float:
    given_ = [true for q, true in zip(p, t, strict=True) if q >= cut and true != -1]
    precision = given_.count(1) / len(given_) if given_ else 0.0
    recall = given_.count(1) / t.count(1)
    if not precision + recall:
        return 0.0
    return float((1 + beta**2) * precision * recall / (beta**2 * precision + recall))


def test_a_label_with_few_positives_is_promised_no_recall():
    certain = np.linspace(0.99, 0.01, 40, dtype=np.float32)[:, None]
    for positives, reached in [(2, []), (3, ["0.5"]), (8, ["0.5", "0.6", "0.7", "0.8"])]:
        targets = (np.arange(40) < positives).astype(np.int8)[:, None]
        recall = fitted_to(certain, targets).recall
        assert [key for key, (value,) in recall.items() if value <= 1] == reached


def test_the_recall_is_kept_on_other_images():
    kept, labels = 0, 0
    for seed in range(6):
        logits, targets = draw_logits(images=2000, labels=40, seed=seed)
        calibration = fit_calibration(logits[:500], targets[:500])
        certain = probabilities(logits, calibration)
        fitted = np.array(fitted_to(certain[:500], targets[:500]).recall["0.8"], np.float32)
        counts = count_decisions(decide(certain[500:], fitted), targets[500:])
        promised = fitted <= 1
        kept += int((counts.recall[promised] >= 0.8).sum())
        labels += int(promised.sum())
    assert labels > 60
    assert kept / labels > 0.65


def test_f_score_of_one_is_f1_and_larger_betas_lean_to_recall():
    correct, given_, present = np.array([2]), np.array([4]), np.array([2])
    assert f_score(correct, given_, present, 1.0) == pytest.approx(2 / 3)
    assert f_score(correct, given_, present, 2.0) == pytest.approx(5 * 0.5 / (4 * 0.5 + 1))
    assert f_score(np.array([0]), np.array([0]), np.array([0]), 2.0) == 0


def test_best_f1_threshold_of_a_known_label(monkeypatch):
    # At 0.6: F1 = 2 * 2 / (2 + 2) = 1; midway to 0.2.
    monkeypatch.setattr(thresholds, "POOLED_POSITIVES", 0.0)
    certain = np.array([[0.9], [0.6], [0.2], [0.1]], dtype=np.float32)
    targets = np.array([[1], [1], [0], [0]], dtype=np.int8)
    assert fitted_to(certain, targets).best_f1 == pytest.approx((0.4,))


def test_best_f1_thresholds_are_shrunk_toward_the_pooled_one():
    # The common label is best cut at 0.31 to 0.59 and the rare one, alone, near 0.9.
    common = np.tile([0.6, 0.3], 100)
    rare = np.full(200, 0.85)
    rare[0] = 0.95
    certain = np.stack([common, rare], axis=1).astype(np.float32)
    targets = np.stack([np.tile([1, 0], 100), np.arange(200) == 0], axis=1).astype(np.int8)
    alone = fitted_to(certain[:, 1:], targets[:, 1:]).best_f1[0]
    beside = fitted_to(certain, targets).best_f1[1]
    assert alone == pytest.approx(0.9, abs=0.05)
    assert beside < 0.85 < alone


def test_best_f1_threshold_without_positives_is_the_pooled_one():
    certain, targets = draw_probabilities(labels=4)
    targets[:, 1] = 0
    targets[:, 2] = -1
    pooled = pooled_probability(certain, targets)
    assert 0.1 < pooled < 0.9
    fitted = fitted_to(certain, targets)
    assert fitted.best_f1[1] == pytest.approx(pooled, abs=0.2)  # clear of the data around it
    assert fitted.best_f1[2] == pytest.approx(pooled)
    assert all(values[1] == values[2] == NEVER for values in fitted.precision.values())


def test_thresholds_stand_clear_of_every_probability():
    certain, targets = draw_probabilities(images=300)
    fitted = fitted_to(certain, targets)
    for values in (fitted.best_f1, *fitted.precision.values()):
        given = decide(certain, np.array(values, dtype=np.float32))
        for wobble in (-1, 1):
            moved = np.nextafter(certain, np.float32(wobble * 2))
            np.testing.assert_array_equal(decide(moved, np.array(values, np.float32)), given)


def test_thresholds_between_neighbours_of_float32_decide_alike():
    upper = np.float32(0.5)
    lower = np.nextafter(upper, np.float32(0))
    certain = np.array([[upper]] * 9 + [[lower]])
    targets = np.array([[1]] * 9 + [[0]], dtype=np.int8)
    fitted = fitted_to(certain, targets).precision["0.8"]
    assert decide(certain, np.array(fitted, dtype=np.float32)).tolist() == [[True]] * 9 + [[False]]


@pytest.mark.parametrize("target", PRECISION_TARGETS)
def test_least_correct_is_that_of_the_binomial_distribution(target):
    found = least_correct(target, 60)
    exact = Fraction(str(target))
    for count in range(61):
        enough = [
            correct
            for correct in range(count + 1)
            if reference.at_least(correct, count, exact) <= Fraction("0.2")
        ]
        assert found[count] == min(enough, default=count + 1)


def test_the_precision_is_kept_on_other_images():
    """Of labels that are given at all, most reach it on other drawn images."""
    kept, labels = 0, 0
    for seed in range(6):
        logits, targets = draw_logits(images=2000, labels=40, seed=seed)
        calibration = fit_calibration(logits[:500], targets[:500])
        certain = probabilities(logits, calibration)
        fitted = fitted_to(certain[:500], targets[:500]).precision["0.8"]
        decisions = decide(certain[500:], np.array(fitted, dtype=np.float32))
        counts = count_decisions(decisions, targets[500:])
        given_any = counts.given > 0
        kept += int((counts.precision[given_any] >= 0.8).sum())
        labels += int(given_any.sum())
    assert labels > 60
    assert kept / labels > 0.65


@quick
@given(scores_and_targets(), st.randoms(use_true_random=False))
def test_fit_thresholds_does_not_depend_on_the_order(drawn, random):
    certain, targets = as_probabilities(drawn[0]), drawn[1]
    rows = random.sample(range(len(certain)), len(certain))
    assert fitted_to(certain[rows], targets[rows]) == fitted_to(certain, targets)


def test_fit_thresholds_in_blocks_is_that_of_the_whole(monkeypatch):
    certain, targets = draw_probabilities(images=100, labels=7)
    whole = fitted_to(certain, targets)
    monkeypatch.setattr(average_precision, "BLOCK_ENTRIES", 250)
    assert fitted_to(certain, targets) == whole


def test_fit_thresholds_of_saturated_probabilities():
    certain = np.array([[1.0, 0.0]] * 3 + [[0.0, 0.0]], dtype=np.float32)
    targets = np.array([[1, 1], [1, 0], [1, 0], [0, 0]], dtype=np.int8)
    fitted = fitted_to(certain, targets)
    assert 0 < fitted.best_f1[0] < 1
    assert fitted.precision["0.5"] == (0.5, NEVER)


def test_fit_thresholds_of_no_images():
    fitted = fitted_to(np.zeros((0, 2), dtype=np.float32), np.zeros((0, 2), dtype=np.int8))
    assert fitted.best_f1 == (0.5, 0.5)


def test_fit_thresholds_reaches_the_precision_on_its_own_data():
    certain, targets = draw_probabilities(images=500)
    fitted = fitted_to(certain, targets)
    for target in PRECISION_TARGETS:
        values = np.array(fitted.precision[f"{target:g}"], dtype=np.float32)
        counts = count_decisions(decide(certain, values), targets)
        assert (counts.precision[values <= 1] >= target).all()
        assert (counts.given[values > 1] == 0).all()


def test_fitted_thresholds_survive_json():
    certain, targets = draw_probabilities(labels=2)
    fitted = fitted_to(certain, targets)
    again = ModelSpec.from_json(replace(SPEC, thresholds=fitted).to_json(), source="test")
    assert again.thresholds == fitted
    np.testing.assert_array_equal(thresholds_of(again, None), np.array(fitted.best_f1, np.float32))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, [0.25, 0.5]),
        ("best-f1", [0.25, 0.5]),
        ("precision=0.9", [0.75, 1.01]),
        ("precision=0.950", [0.875, 1.01]),
        ("precision=.9", [0.75, 1.01]),
        ("recall=0.8", [0.125, 1.01]),
        ("recall=0.80", [0.125, 1.01]),
        ("f1", [0.25, 0.5]),
        ("F1.0", [0.25, 0.5]),
        ("f2", [0.0625, 0.125]),
        ("f2.0", [0.0625, 0.125]),
        ("F0.5", [0.5, 0.625]),
        ("0.3", [0.3, 0.3]),
        (" 0 ", [0.0, 0.0]),
        ("1", [1.0, 1.0]),
    ],
)
def test_resolve_reads(text, expected):
    result = thresholds_of(SPEC, text)
    assert result.dtype == np.float32
    assert result.tolist() == np.float32(expected).tolist()


@pytest.mark.parametrize(
    "text",
    ["", "half", "-0.1", "1.5", "nan", "inf", "precision=", "recall=9", "f", "f-1", "9%"],
)
def test_resolve_says_what_is_accepted(text):
    with pytest.raises(TwlError, match=r"expected a number in 0\.\.1, 'precision=0\.9'"):
        thresholds_of(SPEC, text)


def test_resolve_lists_the_precisions_that_are_stored():
    with pytest.raises(ModelError, match=r"precision=0\.97 \(it has: 0\.9, 0\.95\)"):
        thresholds_of(SPEC, "precision=0.97")


def test_resolve_lists_what_an_older_model_has_instead():
    with pytest.raises(ModelError, match=r"recall=0\.9 \(it has: 0\.8\)"):
        thresholds_of(SPEC, "recall=0.9")
    with pytest.raises(ModelError, match=r"f3 \(it has: 0\.5, 2\)"):
        thresholds_of(SPEC, "f3")
    older = replace(SPEC, thresholds=Thresholds((0.25, 0.5), {"0.9": (0.75, 1.01)}))
    for wish in ("recall=0.8", "f2"):
        with pytest.raises(ModelError, match=rf"{wish} \(it has: best-f1, precision=0\.9\)"):
            thresholds_of(older, wish)


def test_resolve_reads_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("cat = 0.75\ndefault = 0.5\n")
    for wish in (f"@{path}", str(path)):
        assert thresholds_of(replace(SPEC, thresholds=None), wish).tolist() == [0.75, 0.5]


@pytest.mark.parametrize("text", [None, "best-f1", "precision=0.9", "recall=0.8", "f2"])
def test_resolve_needs_fitted_thresholds(text):
    with pytest.raises(ModelError, match="no fitted thresholds"):
        thresholds_of(replace(SPEC, thresholds=None), text)


def test_resolve_a_number_needs_no_fitted_thresholds():
    assert thresholds_of(replace(SPEC, thresholds=None), "0.5").tolist() == [0.5, 0.5]


def test_decide_includes_the_threshold_itself():
    certain = np.array([[0.5, 0.7], [0.4, 0.8]], dtype=np.float32)
    values = np.array([0.5, 0.8], dtype=np.float32)
    assert decide(certain, values).tolist() == [[True, False], [False, True]]


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 6),
    st.integers(1, 40),
    st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.none() | st.integers(1, 5),
    st.integers(0, 2**32 - 1),
)
def test_many_rows_are_given_what_each_would_be(count, labels, threshold, top_k, seed):
    generator = np.random.default_rng(seed)
    logits = generator.choice([-90, -1, 0, 0.5, 3, 90], (count, labels)).astype(np.float32)
    calibration = Calibration((1.5,) * labels, (0.1,) * labels)
    whole = probabilities(logits, calibration)
    thresholds = None if threshold is None else np.full(labels, threshold, np.float32)
    rows = list(given_in_rows(whole, thresholds, top_k))
    assert len(rows) == count
    for row, (columns, values) in zip(logits, rows, strict=True):
        alone = probabilities(row[None], calibration)[0]
        expected = given_labels(alone, thresholds, top_k)
        assert columns == expected.tolist()
        assert values == alone[expected].tolist()
