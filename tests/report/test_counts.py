import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from twlcli.labels import Vocabulary
from twlcli.model.decisions import decide, thresholds_of
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.report.counts import grid_of, packed, places_on, steps_for

SPEC = ModelSpec(Vocabulary(("cat",)), "none", Preprocessing())


def reaching(values: list[int], steps: int) -> list[int]:
    """How many images reach each threshold: what the page's script does, in plain loops."""
    at = [0] * (steps + 1)
    place = 0
    for distance, count in zip(values[::2], values[1::2], strict=True):
        place += distance
        at[place] += count
    return [sum(at[place:]) for place in range(steps + 1)]


@given(
    st.sampled_from([4, 200, 1000]),
    arrays.arrays(np.float32, st.integers(0, 30), elements=st.floats(0, 1, width=32)),
    st.lists(st.integers(0, 4), max_size=5),
)
def test_counts_are_those_of_decisions_at_every_threshold(steps, probabilities, on_it):
    grid = grid_of(steps)
    probabilities = np.concatenate([probabilities, grid[on_it]])
    counts = reaching(packed(places_on(grid, probabilities)), steps)
    for place in range(steps + 1):
        threshold = thresholds_of(SPEC, place / steps)
        assert counts[place] == decide(probabilities, threshold).sum()


def test_no_image_takes_no_room():
    assert packed(np.array([], dtype=np.int64)) == []


@pytest.mark.parametrize(("labels", "steps"), [(1, 1000), (1000, 1000), (1001, 200), (5000, 200)])
def test_many_labels_have_a_coarser_grid(labels, steps):
    assert steps_for(labels) == steps
