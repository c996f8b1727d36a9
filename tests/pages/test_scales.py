import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twlcli.pages.scales import Axis, Tick, linear_axis, log_axis, ticks

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def value_of(label: str) -> float:
    return float(label.replace("−", "-"))


@given(st.lists(NUMBERS, max_size=6))
def test_ticks_are_few_round_and_read_as_what_they_are(values):
    axis = linear_axis(values)
    assert axis.low < axis.high
    assert 2 <= len(axis.ticks) <= 8
    labels = [tick.label for tick in axis.ticks]
    assert len(set(labels)) == len(labels)
    step = axis.ticks[1].value - axis.ticks[0].value
    for number, tick in enumerate(axis.ticks):
        assert axis.low - 1e-9 * step <= tick.value <= axis.high + 1e-9 * step
        assert tick.value == pytest.approx(axis.ticks[0].value + number * step, abs=1e-6 * step)
        assert value_of(tick.label) == pytest.approx(tick.value, rel=1e-6, abs=1e-6 * step)
        assert len(tick.label) <= 14
    assert f"{step:.6e}"[0] in "125"


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=6))
def test_values_lie_inside(values):
    axis = linear_axis(values)
    places = [axis.place(value) for value in values]
    assert all(0 < place < 1 for place in places)
    assert sorted(places) == [axis.place(value) for value in sorted(values)]


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
def test_ticks_of_whole_numbers_are_whole_and_not_before_the_first(epochs):
    axis = linear_axis(epochs, whole=True)
    for tick in axis.ticks:
        assert tick.value == int(tick.value)
        assert min(epochs) <= tick.value <= max(epochs)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.31, 0.72], ["0.3", "0.4", "0.5", "0.6", "0.7"]),
        ([-3, 100], ["0", "20", "40", "60", "80", "100"]),
        ([5], ["4.8", "4.9", "5.0", "5.1", "5.2"]),
        ([0], ["−0.4", "−0.2", "0.0", "0.2", "0.4"]),
        ([], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([1e9, 3e9], ["1.0e9", "1.5e9", "2.0e9", "2.5e9", "3.0e9"]),
        ([0, 3e-7], ["0", "5.0e−8", "1.0e−7", "1.5e−7", "2.0e−7", "2.5e−7", "3.0e−7"]),
    ],
)
def test_labels_have_the_digits_that_they_need(values, labels):
    assert [tick.label for tick in linear_axis(values).ticks] == labels


def test_narrow_values_do_not_fill_a_wide_axis():
    axis = linear_axis([63.2, 63.3], narrowest=1.0)
    assert axis.high - axis.low >= 1
    assert axis.place(63.25) == pytest.approx(0.5)


def test_an_axis_stays_within_its_limits_unless_a_value_does_not():
    assert linear_axis([98, 100], within=(0, 100)).high == 100
    assert linear_axis([1, 50], within=(0, 100)).low == 0
    assert linear_axis([98, 101], within=(0, 100)).high == 101
    assert linear_axis([100, 100], narrowest=1.0, within=(0, 100)).low < 100


def test_equal_ratios_are_equally_far_apart():
    rates = (0.001, 0.003, 0.009)
    axis = log_axis([Tick(rate, str(rate)) for rate in rates])
    places = [axis.place(rate) for rate in rates]
    assert places[0] > 0 and places[2] < 1
    assert places[1] - places[0] == pytest.approx(places[2] - places[1])
    assert math.isnan(axis.place(0))
    assert math.isnan(axis.place(-1))
    alone = log_axis([Tick(0.01, "0.01")])
    assert alone.place(0.01) == pytest.approx(0.5)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e200])
def test_what_is_no_number_has_no_place(value):
    assert math.isnan(Axis(0, 1).place(value))


def test_more_parts_give_finer_ticks():
    assert [len(ticks(0, 1, most=most)) for most in (1, 2, 5, 10)] == [2, 3, 6, 11]
