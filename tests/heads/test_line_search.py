import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twlcli.heads.line_search import Trial, strong_wolfe


def searched(value, slope, first, **options):
    trials = []

    def evaluate(step):
        trials.append(step)
        return Trial(step, value(step), slope(step), step)

    found = strong_wolfe(evaluate, Trial(0.0, value(0.0), slope(0.0), 0.0), first, **options)
    return found, trials


def assert_wolfe(found, value, slope):
    low = found.value <= value(0.0) + 1e-4 * found.step * slope(0.0) + 1e-12
    assert low or (found.value <= value(0.0) and found.slope <= (2e-4 - 1) * slope(0.0))
    assert abs(found.slope) <= 0.9 * abs(slope(0.0))
    assert found.extra == found.step


@given(
    minimum=st.floats(1e-3, 1e3),
    curvature=st.floats(1e-3, 1e3),
    first=st.floats(1e-6, 1e6),
)
def test_parabolas(minimum, curvature, first):
    def value(t):
        return curvature * (t - minimum) ** 2 / 2

    def slope(t):
        return curvature * (t - minimum)

    found, trials = searched(value, slope, first, rounding=0.0)
    assert found is not None
    assert_wolfe(found, value, slope)
    assert len(trials) <= 30


@given(scale=st.floats(1e-2, 1e2), tilt=st.floats(1e-3, 0.99), first=st.floats(1e-3, 1e3))
def test_logistic_curves(scale, tilt, first):
    """log(1 + exp(-scale t)) + tilt scale t / 2, as losses of logits are along a direction."""

    def value(t):
        z = -scale * t
        return max(z, 0) + math.log1p(math.exp(-abs(z))) + tilt * scale * t / 2

    def slope(t):
        return scale * (tilt / 2 - 1 / (1 + math.exp(min(scale * t, 700))))

    found, _ = searched(value, slope, first, rounding=0.0)
    assert found is not None
    assert_wolfe(found, value, slope)


def test_a_value_that_is_not_finite_is_too_far():
    def value(t):
        return (t - 1) ** 2 if t < 2 else math.inf

    def slope(t):
        return 2 * (t - 1) if t < 2 else math.nan

    found, trials = searched(value, slope, 1000.0, rounding=0.0)
    assert found is not None and 0.05 < found.step < 2
    assert trials[0] == 1000.0


def test_wavy_functions_need_more_than_a_low_value():
    """Low enough at 0.001 already, and too steep there."""

    def value(t):
        return -t + 0.1 * math.sin(10 * t) + t * t / 20

    def slope(t):
        return -1 + math.cos(10 * t) + t / 10

    # The slope at 0 is 0: no direction of descent from there, so the start is moved.
    def moved(function):
        return lambda t: function(t + 0.3)

    found, _ = searched(moved(value), moved(slope), 0.001, rounding=0.0)
    assert found is not None
    assert_wolfe(found, moved(value), moved(slope))


def test_where_values_are_all_rounding_slopes_decide():
    """A minimum whose depth is far below the last place of the values."""

    def value(t):
        return 1e6 + (t > 0) * 1e-9  # 1e6 + 1e-12 (t - 1)^2, and a rounding error

    def slope(t):
        return 2e-12 * (t - 1)

    assert searched(value, slope, 0.01, rounding=0.0)[0] is None
    found, _ = searched(value, slope, 0.01, rounding=1e-8)
    assert found is not None and found.step == pytest.approx(1.0, abs=0.91)


def test_none_where_no_step_is_low():
    found, trials = searched(lambda t: t, lambda t: -1.0, 1.0, rounding=0.0, most=12)
    assert found is None
    assert len(trials) == 12
