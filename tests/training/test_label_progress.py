import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twlcli.training.label_progress import LabelProgress

EPOCHS = st.lists(
    st.tuples(st.lists(st.floats(0, 1), min_size=2, max_size=2), st.booleans()), max_size=5
)


def after(epochs):
    progress = LabelProgress()
    for epoch, (values, best) in enumerate(epochs, start=1):
        progress = progress.after(epoch, np.array(values), best=best)
    return progress


@given(EPOCHS)
def test_three_epochs_are_kept(epochs):
    progress = after(epochs)
    count = len(epochs)
    best = max((n for n, (_, best) in enumerate(epochs, 1) if best), default=0)
    assert (progress.last.epoch, progress.before.epoch) == (count, max(count - 1, 0))
    assert progress.best.epoch == best
    for scores in (progress.last, progress.before, progress.best):
        expected = epochs[scores.epoch - 1][0] if scores.epoch else [math.nan] * 2
        np.testing.assert_array_equal([scores.of(0), scores.of(1)], expected)
    if count > 1:
        assert progress.change(1) == epochs[-1][0][1] - epochs[-2][0][1]
    else:
        assert math.isnan(progress.change(1))


@given(EPOCHS)
def test_it_is_read_as_it_was_written(epochs):
    progress = after(epochs)
    assert LabelProgress.read(progress.state(), labels=2) == progress


def test_scores_without_a_value_stay_without():
    progress = LabelProgress().after(1, np.array([math.nan, 0.5]), best=True)
    again = LabelProgress.read(progress.state(), labels=2)
    assert math.isnan(again.last.of(0)) and again.last.of(1) == 0.5


@pytest.mark.parametrize(
    "state", [{}, {"last": 1, "before": 1, "best": 1}, after([([0.1, 0.2], True)]).state()]
)
def test_what_is_not_of_these_labels_is_refused(state):
    with pytest.raises((KeyError, TypeError, ValueError)):
        LabelProgress.read(state, labels=3)
