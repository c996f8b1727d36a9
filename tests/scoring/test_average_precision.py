import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from tests import reference
from tests.scoring.drawn import draw_logits, scores_and_targets
from twlcli.errors import ModelError
from twlcli.scoring import average_precision as module
from twlcli.scoring.average_precision import (
    average_precision_per_image,
    average_precision_per_label,
    mean_over_lines,
    of_labels_with_both,
)

quick = settings(deadline=None, max_examples=100)


def by_loops(scores: np.ndarray, targets: np.ndarray) -> list[float]:
    """The reference for each row."""
    values = (
        reference.average_precision(s, t)
        for s, t in zip(scores.tolist(), targets.tolist(), strict=True)
    )
    return [np.nan if value is None else value for value in values]


def test_average_precision_of_a_known_ranking():
    # Ranked: present, absent, present, absent, present: (1/1 + 2/3 + 3/5) / 3.
    scores = np.array([[5.0], [4.0], [3.0], [2.0], [1.0]])
    targets = np.array([[1], [0], [1], [0], [1]], dtype=np.int8)
    assert average_precision_per_label(scores, targets)[0] == pytest.approx(34 / 45, abs=1e-15)


def test_average_precision_takes_ties_together():
    # One threshold gives both: precision 1/2, whichever stands first.
    scores = np.array([[0.5, 0.5], [0.5, 0.5]])
    targets = np.array([[1, 0], [0, 1]], dtype=np.int8)
    assert average_precision_per_label(scores, targets).tolist() == [0.5, 0.5]
    assert average_precision_per_image(scores, targets).tolist() == [0.5, 0.5]


def test_average_precision_leaves_unknowns_out():
    scores = np.array([[0.9], [0.8], [0.7]])
    targets = np.array([[-1], [1], [0]], dtype=np.int8)
    assert average_precision_per_label(scores, targets).tolist() == [1.0]


@quick
@given(scores_and_targets())
def test_average_precision_is_that_of_plain_loops(drawn):
    scores, targets = drawn
    np.testing.assert_allclose(
        average_precision_per_image(scores, targets), by_loops(scores, targets), rtol=1e-13
    )
    np.testing.assert_allclose(
        average_precision_per_label(scores, targets), by_loops(scores.T, targets.T), rtol=1e-13
    )


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_average_precision_is_scikit_learns(decimals):
    logits, targets = draw_logits(images=500, labels=9)
    logits = logits.round(decimals)
    expected = [
        average_precision_score(column[known], score[known])
        for column, score in zip(targets.T, logits.T, strict=True)
        for known in [column != -1]
    ]
    np.testing.assert_allclose(average_precision_per_label(logits, targets), expected, rtol=1e-13)


@quick
@given(scores_and_targets(), st.randoms(use_true_random=False))
def test_average_precision_does_not_depend_on_the_order(drawn, random):
    scores, targets = drawn
    rows = random.sample(range(len(scores)), len(scores))
    columns = random.sample(range(scores.shape[1]), scores.shape[1])
    shuffled = scores[rows][:, columns], targets[rows][:, columns]
    np.testing.assert_array_equal(
        average_precision_per_label(*shuffled),
        average_precision_per_label(scores, targets)[columns],
    )
    np.testing.assert_array_equal(
        average_precision_per_image(*shuffled),
        average_precision_per_image(scores, targets)[rows],
    )


@quick
@given(scores_and_targets())
def test_average_precision_sees_only_the_order_of_scores(drawn):
    scores, targets = drawn
    expected = average_precision_per_label(scores, targets)
    for transformed in (scores**3, np.exp(scores), 1e6 * scores - 7, scores.astype(np.float16)):
        result = average_precision_per_label(transformed, targets)
        np.testing.assert_array_equal(result, expected)


@quick
@given(scores_and_targets())
def test_average_precision_lies_in_0_to_1(drawn):
    scores, targets = drawn
    result = average_precision_per_label(scores, targets)
    has_positive = (targets == 1).any(axis=0)
    np.testing.assert_array_equal(~np.isnan(result), has_positive)
    result = result[has_positive]
    assert ((result > 0) & (result <= 1)).all()


def test_average_precision_in_blocks_is_that_of_the_whole(monkeypatch):
    logits, targets = draw_logits(images=57, labels=13)
    whole = (
        average_precision_per_label(logits, targets),
        average_precision_per_image(logits, targets),
    )
    monkeypatch.setattr(module, "BLOCK_ENTRIES", 60)
    np.testing.assert_array_equal(average_precision_per_label(logits, targets), whole[0])
    np.testing.assert_array_equal(average_precision_per_image(logits, targets), whole[1])


def test_average_precision_tells_float64_scores_apart_that_float32_cannot():
    scores = np.array([[1.0], [1.0 + 1e-12]])
    targets = np.array([[0], [1]], dtype=np.int8)
    assert average_precision_per_label(scores, targets).tolist() == [1.0]


def test_average_precision_leaves_its_arguments_alone():
    logits, targets = draw_logits(images=20)
    before = logits.copy(), targets.copy()
    average_precision_per_label(logits, targets)
    average_precision_per_image(logits, targets)
    np.testing.assert_array_equal(logits, before[0])
    np.testing.assert_array_equal(targets, before[1])


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_average_precision_of_nothing(shape):
    scores, targets = np.zeros(shape), np.zeros(shape, dtype=np.int8)
    assert len(average_precision_per_label(scores, targets)) == shape[1]
    assert len(average_precision_per_image(scores, targets)) == shape[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_average_precision_refuses_scores_that_are_not_finite(value):
    scores, targets = np.zeros((3, 2)), np.ones((3, 2), dtype=np.int8)
    scores[1, 0] = value
    with pytest.raises(ModelError, match=r"1 of 6 scores are not finite.*image 1, label 0"):
        average_precision_per_label(scores, targets)
    with pytest.raises(ModelError, match="not finite"):
        average_precision_per_image(scores, targets)


def test_average_precision_refuses_shapes_that_differ():
    with pytest.raises(ValueError, match=r"\(3, 2\) and targets \(2, 3\)"):
        average_precision_per_label(np.zeros((3, 2)), np.zeros((2, 3), dtype=np.int8))


def test_mean_over_lines_counts_what_it_leaves_out():
    mean = mean_over_lines(np.array([0.5, np.nan, 1.0]))
    assert (mean.value, mean.lines, mean.left_out) == (0.75, 2, 1)


def test_mean_over_lines_of_none_is_nan():
    mean = mean_over_lines(np.array([np.nan, np.nan]))
    assert np.isnan(mean.value)
    assert (mean.lines, mean.left_out) == (0, 2)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_labels_without_a_known_negative_are_in_no_mean(images, labels, seed):
    generator = np.random.default_rng(seed)
    targets = generator.integers(-1, 2, (images, labels)).astype(np.int8)
    scores = generator.normal(size=targets.shape)
    every = average_precision_per_label(scores, targets)
    kept = of_labels_with_both(every, targets)
    for label in range(labels):
        column = targets[:, label].tolist()
        if 1 in column and 0 in column:
            assert kept[label] == every[label]
        else:
            assert np.isnan(kept[label])
