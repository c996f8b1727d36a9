import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    top_k_accuracy_score,
)

from tests import reference
from tests.scoring.drawn import draw_logits, scores_and_targets
from twlcli.scoring import average_precision
from twlcli.scoring.metrics import (
    CALIBRATION_BINS,
    brier_score,
    calibration_error,
    count_decisions,
    decide_top,
    has_one_label_each,
    score_decisions,
    top_accuracy,
)

quick = settings(deadline=None, max_examples=100)


def values_of(score) -> list[float]:
    return [
        score.class_precision,
        score.class_recall,
        score.class_f1,
        score.overall_precision,
        score.overall_recall,
        score.overall_f1,
    ]


def test_score_decisions_of_a_known_table():
    # label 0: 1 correct of 2 given, 1 present; label 1: 1 of 1, 2 present; label 2: never present.
    decisions = np.array([[1, 1, 0], [1, 0, 1]], dtype=bool)
    targets = np.array([[1, 1, 0], [0, 1, 0]], dtype=np.int8)
    score = score_decisions(count_decisions(decisions, targets))
    assert values_of(score) == pytest.approx([0.75, 0.75, 0.75, 1 / 2, 2 / 3, 4 / 7])


@quick
@given(scores_and_targets())
def test_score_decisions_is_that_of_plain_loops(drawn):
    scores, targets = drawn
    decisions = scores > 0
    counts = count_decisions(decisions, targets)
    expected = reference.counts(decisions.tolist(), targets.tolist())
    found = zip(counts.correct, counts.given, counts.present, strict=True)
    assert [tuple(map(int, each)) for each in found] == expected
    assert counts.unknown.tolist() == (targets == -1).sum(axis=0).tolist()
    assert values_of(score_decisions(counts)) == pytest.approx(
        reference.decision_scores(decisions.tolist(), targets.tolist())
    )


def test_count_decisions_agrees_with_scikit_learn():
    logits, targets = draw_logits(unknown=0)
    decisions = logits > logits.mean(axis=0) + 1
    counts = count_decisions(decisions, targets)
    options = {"average": None, "zero_division": 0}
    assert counts.precision == pytest.approx(precision_score(targets, decisions, **options))
    assert counts.recall == pytest.approx(recall_score(targets, decisions, **options))
    assert counts.f1 == pytest.approx(f1_score(targets, decisions, **options))


def test_count_decisions_in_blocks_is_that_of_the_whole(monkeypatch):
    logits, targets = draw_logits(images=50)
    whole = count_decisions(logits > 0, targets)
    monkeypatch.setattr(average_precision, "BLOCK_ENTRIES", 40)
    parts = count_decisions(logits > 0, targets)
    for name in ("correct", "given", "present", "unknown"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_score_decisions_without_positives_or_decisions_is_zero():
    counts = count_decisions(np.zeros((2, 2), dtype=bool), np.zeros((2, 2), dtype=np.int8))
    assert values_of(score_decisions(counts)) == [0.0] * 6
    assert counts.f1.tolist() == [0.0, 0.0]


@quick
@given(scores_and_targets(), st.integers(1, 4))
def test_decide_top_gives_the_highest_and_of_equals_the_first(drawn, count):
    scores, _ = drawn
    expected = [reference.top(row, count) for row in scores.tolist()]
    assert decide_top(scores, count).tolist() == expected


@quick
@given(scores_and_targets(), st.integers(1, 6), st.randoms())
def test_top_accuracy_is_that_of_a_plain_loop(drawn, count, random):
    scores, _ = drawn
    classes = [random.randrange(scores.shape[1]) for _ in scores]
    targets = np.eye(scores.shape[1], dtype=np.int8)[classes]
    hits = [reference.top(row, count)[at] for row, at in zip(scores.tolist(), classes, strict=True)]
    assert top_accuracy(scores, targets, count) == pytest.approx(sum(hits) / len(hits))


def test_top_accuracy_is_scikit_learns():
    logits, _ = draw_logits(images=300, labels=12)
    logits = logits + np.linspace(0, 1e-3, logits.size).reshape(logits.shape)  # without ties
    classes = np.arange(300) % 12
    for count in (1, 5):
        expected = top_k_accuracy_score(classes, logits, k=count)
        assert top_accuracy(logits, np.eye(12)[classes], count) == pytest.approx(expected)


@pytest.mark.parametrize("row", [[0, 0, 0], [1, 1, 0], [1, 0, -1]])
def test_top_accuracy_needs_one_label_for_each_image(row):
    targets = np.array([[1, 0, 0], row])
    assert not has_one_label_each(targets)
    with pytest.raises(ValueError, match="one 1 in each row"):
        top_accuracy(np.zeros((2, 3)), targets, 1)


@quick
@given(scores_and_targets(tied=False))
def test_brier_score_and_calibration_error_are_those_of_plain_loops(drawn):
    scores, targets = drawn
    certain = scores / max(1.0, scores.max())  # reaches 1, in the last bin
    if not (targets != -1).any():
        assert np.isnan(brier_score(certain, targets))
        assert np.isnan(calibration_error(certain, targets))
        return
    rows, true = certain.tolist(), targets.tolist()
    assert brier_score(certain, targets) == pytest.approx(reference.brier(rows, true))
    assert calibration_error(certain, targets) == pytest.approx(
        reference.calibration_error(rows, true, CALIBRATION_BINS)
    )


def test_brier_score_is_scikit_learns():
    logits, targets = draw_logits(unknown=0)
    certain = 1 / (1 + np.exp(-logits.astype(float)))
    expected = brier_score_loss(targets.ravel(), certain.ravel())
    assert brier_score(certain, targets) == pytest.approx(expected)


def test_calibration_error_of_known_bins():
    # Bin of 0.9: 2 of 4 present, off by 0.4; bin of 0.1: 0 of 1 present, off by 0.1.
    certain = np.array([[0.9], [0.9], [0.9], [0.9], [0.1]])
    targets = np.array([[1], [1], [0], [0], [0]], dtype=np.int8)
    assert calibration_error(certain, targets) == pytest.approx(0.8 * 0.4 + 0.2 * 0.1)


def test_calibration_error_of_perfect_probabilities_is_zero():
    targets = np.array([[1, 0], [0, 1]], dtype=np.int8)
    assert calibration_error(targets.astype(np.float32), targets) == 0
    assert brier_score(targets.astype(np.float32), targets) == 0


@pytest.mark.parametrize("metric", [brier_score, calibration_error, count_decisions])
def test_metrics_refuse_shapes_that_differ(metric):
    with pytest.raises(ValueError, match="not both"):
        metric(np.zeros((3, 2)), np.zeros((2, 3), dtype=np.int8))
