"""The public metrics: batches against all at once, tensors against arrays, and what is refused."""

import copy
import pickle
import subprocess
import sys
from dataclasses import astuple
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scoring.drawn import draw_logits, scores_and_targets
from twlcli import metrics
from twlcli.errors import ModelError
from twlcli.metrics import (
    BrierScore,
    CalibrationError,
    MeanAveragePrecision,
    PrecisionRecallF1,
    average_precision_per_image,
    average_precision_per_label,
    brier_score,
    calibration_error,
    count_decisions,
    decide_top,
    mean_over_lines,
    score_decisions,
)

# Each metric with what it is of a whole matrix of probabilities.
WHOLE: dict[str, tuple[Any, Any]] = {
    "mAP@class": (
        MeanAveragePrecision,
        lambda p, t: mean_over_lines(average_precision_per_label(p, t)).value,
    ),
    "mAP@sample": (
        lambda: MeanAveragePrecision("sample"),
        lambda p, t: mean_over_lines(average_precision_per_image(p, t)).value,
    ),
    "thresholds": (
        lambda: PrecisionRecallF1(0.5),
        lambda p, t: score_decisions(count_decisions(p >= 0.5, t)),
    ),
    "top": (
        lambda: PrecisionRecallF1(top=2),
        lambda p, t: score_decisions(count_decisions(decide_top(p, 2), t)),
    ),
    "Brier": (BrierScore, brier_score),
    "calibration": (
        lambda: CalibrationError(bins=4),
        lambda p, t: calibration_error(p, t, bins=4),
    ),
}
every_metric = pytest.mark.parametrize("name", WHOLE)
quick = settings(deadline=None, max_examples=50)


def probabilities_and_targets(seed: int = 0, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    logits, targets = draw_logits(seed, images=60, labels=5, **options)
    return 1 / (1 + np.exp(-logits)), targets


def cut(count: int, places: list[int]) -> list[slice]:
    """Batches between the places, some of which may be empty."""
    ends = sorted(place % (count + 1) for place in places)
    return [slice(a, b) for a, b in zip([0, *ends], [*ends, count], strict=True)]


def numbers(result: Any) -> list[float]:
    return [result] if isinstance(result, float) else list(astuple(result))


@every_metric
@quick
@given(
    drawn=scores_and_targets(),
    places=st.lists(st.integers(0, 100), max_size=4),
    merged=st.booleans(),
)
def test_batches_and_merged_parts_are_the_whole(name, drawn, places, merged):
    scores, targets = drawn
    probabilities = (scores + 1) / 2  # ties on a grid, from 0 to 1
    metric, of_the_whole = WHOLE[name]
    total = metric()
    for batch in cut(len(targets), places):
        if merged:
            part = metric()
            part.update(probabilities[batch], targets[batch])
            total.merge_state(part)
        else:
            total.update(probabilities[batch], targets[batch])
    expected = numbers(of_the_whole(probabilities, targets))
    exact = name not in ("Brier", "calibration")  # their sums are rounded in another order
    assert numbers(total.compute()) == pytest.approx(
        expected, nan_ok=True, rel=0 if exact else 1e-12, abs=0 if exact else 1e-12
    )


@every_metric
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_tensors_count_as_arrays_do(name, dtype):
    probabilities, targets = probabilities_and_targets()
    tensor = torch.from_numpy(probabilities).to(dtype).requires_grad_()
    of_tensors, of_arrays = (WHOLE[name][0]() for _ in range(2))
    of_tensors.update(tensor, torch.from_numpy(targets).double())
    of_arrays.update(tensor.detach().to(torch.float64).numpy(), targets)
    assert numbers(of_tensors.compute()) == pytest.approx(numbers(of_arrays.compute()))
    whole = WHOLE[name][1]
    if name != "thresholds":  # whose comparison is the caller's
        found = whole(tensor, torch.from_numpy(targets))
        assert numbers(found) == pytest.approx(numbers(of_arrays.compute()))


@every_metric
def test_reset_forgets(name):
    metric, of_the_whole = WHOLE[name]
    probabilities, targets = probabilities_and_targets()
    total = metric()
    total.update(probabilities, targets)
    total.reset()
    total.update(probabilities[:30, :4], targets[:30, :4])  # another C
    expected = of_the_whole(probabilities[:30, :4], targets[:30, :4])
    assert numbers(total.compute()) == pytest.approx(numbers(expected))


@every_metric
def test_pickles_and_copies_go_on_alone(name):
    probabilities, targets = probabilities_and_targets()
    metric = WHOLE[name][0]()
    metric.update(probabilities[:20], targets[:20])
    before = numbers(metric.compute())
    for other in (pickle.loads(pickle.dumps(metric)), copy.deepcopy(metric)):
        assert numbers(other.compute()) == before
        other.update(probabilities[20:], targets[20:])
        expected = WHOLE[name][1](probabilities, targets)
        assert numbers(other.compute()) == pytest.approx(numbers(expected))
    assert numbers(metric.compute()) == before


@every_metric
def test_merging_leaves_the_other_as_it_was(name):
    probabilities, targets = probabilities_and_targets()
    first, second = (WHOLE[name][0]() for _ in range(2))
    second.update(probabilities[20:], targets[20:])
    before = numbers(second.compute())
    first.merge_state(second)  # into one that has nothing, then more on top
    first.update(probabilities[:20], targets[:20])
    assert numbers(second.compute()) == before
    expected = WHOLE[name][1](probabilities, targets)
    assert numbers(first.compute()) == pytest.approx(numbers(expected))
    second.merge_state(WHOLE[name][0]())  # of nothing
    assert numbers(second.compute()) == before


@every_metric
def test_arrays_can_be_filled_again(name):
    """A loader that writes each batch into the same memory."""
    probabilities, targets = probabilities_and_targets()
    expected = numbers(WHOLE[name][1](probabilities, targets))
    metric = WHOLE[name][0]()
    buffers = np.empty((20, 5)), torch.empty(20, 5, dtype=torch.int8)
    for start in range(0, 60, 20):
        buffers[0][:] = probabilities[start : start + 20]
        buffers[1][:] = torch.from_numpy(targets[start : start + 20])
        metric.update(*buffers)
    assert numbers(metric.compute()) == pytest.approx(expected)


@every_metric
def test_what_cannot_be_counted_is_refused_and_not_added(name):
    metric = WHOLE[name][0]()
    with pytest.raises(RuntimeError, match="has seen no batch"):
        metric.compute()
    probabilities, targets = probabilities_and_targets()
    metric.update(probabilities, targets)
    before = numbers(metric.compute())
    with pytest.raises(ValueError, match=r"scores \(60, 5\) and targets \(60, 4\)"):
        metric.update(probabilities, targets[:, :4])
    with pytest.raises(ValueError, match=r"scores \(5,\) and targets \(5,\)"):
        metric.update(probabilities[0], targets[0])
    with pytest.raises(ValueError, match="expected 5 labels as in the batches before, got 4"):
        metric.update(probabilities[:, :4], targets[:, :4])
    with pytest.raises(ValueError, match=r"got 0.5 at \(0, 0\)"):
        metric.update(probabilities, np.full((60, 5), 0.5))
    damaged = np.where(targets == 1, np.nan, probabilities)
    with pytest.raises(ModelError, match="not finite numbers"):
        metric.update(damaged, targets)
    assert numbers(metric.compute()) == before


@pytest.mark.parametrize("metric", [BrierScore, CalibrationError])
def test_logits_are_no_probabilities(metric):
    with pytest.raises(ValueError, match=r"probabilities in 0\.\.1, got 1.5 at \(0, 1\)"):
        metric().update([[0.5, 1.5]], [[1, 0]])


def test_average_precision_of_each_line():
    probabilities, targets = probabilities_and_targets()
    targets[:, 2], targets[3] = 0, 0
    by_class, by_sample = MeanAveragePrecision(), MeanAveragePrecision("sample")
    for batch in cut(60, [7, 30]):
        by_class.update(probabilities[batch], targets[batch])
        by_sample.update(probabilities[batch], targets[batch])
    for metric, function in (
        (by_class, average_precision_per_label),
        (by_sample, average_precision_per_image),
    ):
        lines = metric.compute_lines()
        np.testing.assert_array_equal(lines, function(probabilities, targets))
        assert mean_over_lines(lines).left_out == np.isnan(lines).sum() > 0
    with pytest.raises(RuntimeError, match="has seen no batch"):
        MeanAveragePrecision().compute_lines()


def test_thresholds_of_each_label_decide_in_the_dtype_of_the_scores():
    scores = np.array([[0.7, 0.7]], dtype=np.float32)
    metric = PrecisionRecallF1(np.array([0.7, 0.8]))  # in float64 the score is below 0.7
    metric.update(scores, [[1, 1]])
    assert metric.counts.correct.tolist() == [1, 0]
    assert metric.counts.recall.tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match=r"one number or \(3,\), got \(2,\)"):
        metric.update(np.ones((1, 3)), np.ones((1, 3)))


def test_counts_do_not_change_afterwards():
    metric = PrecisionRecallF1(0.5)
    metric.update([[0.9]], [[1]])
    counts = metric.counts
    metric.update([[0.9]], [[1]])
    assert (counts.correct.tolist(), metric.counts.correct.tolist()) == ([1], [2])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MeanAveragePrecision(cast(Any, "macro")), "class or sample, got 'macro'"),
        (lambda: PrecisionRecallF1(), "either thresholds or top"),
        (lambda: PrecisionRecallF1(0.5, top=3), "either thresholds or top"),
        (lambda: PrecisionRecallF1(top=0), "top of at least 1, got 0"),
        (lambda: PrecisionRecallF1([0.5, np.nan]), "numbers, got NaN"),
        (lambda: CalibrationError(bins=0), "at least 1 bin, got 0"),
    ],
)
def test_options_are_checked(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (BrierScore(), CalibrationError(), "another BrierScore"),
        (CalibrationError(10), CalibrationError(15), "CalibrationError of the same bins"),
        (MeanAveragePrecision(), MeanAveragePrecision("sample"), "of the same average"),
        (PrecisionRecallF1(0.5), PrecisionRecallF1(0.6), "of the same thresholds and top"),
        (PrecisionRecallF1([0.5]), PrecisionRecallF1(top=1), "of the same thresholds and top"),
    ],
)
def test_only_alike_metrics_merge(one, other, message):
    with pytest.raises(ValueError, match=message):
        one.merge_state(other)


def test_decisions_have_to_be_decided():
    with pytest.raises(ValueError, match="decisions of bool, got float64"):
        count_decisions([[0.7]], [[1]])


def test_names_are_public_and_documented():
    assert metrics.__all__ == sorted(metrics.__all__)
    assert all(getattr(metrics, name).__doc__ for name in metrics.__all__)


def test_torch_is_not_loaded():
    code = "import sys, twlcli.metrics; assert not {'torch', 'PIL', 'onnxruntime'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
