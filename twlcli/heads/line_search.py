"""A step length along a direction that fulfils the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Extra = TypeVar("Extra")

_DECREASE = 1e-4  # c1 and c2 of Nocedal & Wright, as they advise for quasi-Newton methods
_CURVATURE = 0.9
_LARGEST_GROWTH = 10.0
_MARGIN = 0.1  # of a bracket; a trial nearer to its ends would hardly make it smaller


@dataclass(frozen=True)
class Trial(Generic[Extra]):
    """The objective at one step length.

    Attributes:
        step: the length.
        value: of the objective.
        slope: its derivative by the length.
        extra: what else the caller wants to keep of it, such as the gradient.
    """

    step: float
    value: float
    slope: float
    extra: Extra


def strong_wolfe(
    evaluate: Callable[[float], Trial[Extra]],
    start: Trial[Extra],
    first: float,
    *,
    rounding: float,
    most: int = 30,
) -> Trial[Extra] | None:
    """A step t that decreases the objective enough and flattens it.

    Nocedal & Wright, *Numerical Optimization*, 2nd ed., algorithms 3.5 and 3.6:

        f(t) <= f(0) + c1 t f'(0)    and    |f'(t)| <= c2 |f'(0)|

    with cubic interpolation, c1 = 1e-4 and c2 = 0.9. Close to a minimum f(t) and f(0) differ by
    less than they are rounded by. So where f(t) is not above f(0), the first condition may also be
    the approximate one of Hager and Zhang, "A New Conjugate Gradient Method with Guaranteed Descent
    and an Efficient Line Search", 2005: f'(t) <= (2 c1 - 1) f'(0).

    Args:
        evaluate: the objective at a step length.
        start: at 0; its slope is negative.
        first: the length to try first.
        rounding: by how much values may be wrong.
        most: trials at most.

    Returns:
        The trial that fulfils both; or None where none was found in so many trials.
    """

    def is_low(trial: Trial[Extra]) -> bool:
        if trial.value <= start.value + _DECREASE * trial.step * start.slope:
            return True
        close = trial.value <= start.value + rounding
        return close and trial.slope <= (2 * _DECREASE - 1) * start.slope

    def is_flat(trial: Trial[Extra]) -> bool:
        return abs(trial.slope) <= -_CURVATURE * start.slope

    low: Trial[Extra] = start  # the lowest so far that is low enough
    high: Trial[Extra] | None = None  # a step that fulfils both lies between the two
    step = first
    for _ in range(most):
        trial = evaluate(step)
        if not is_low(trial) or trial.value > low.value + rounding:  # NaN is not low either
            high = trial
        elif is_flat(trial):
            return trial
        else:
            ahead = 1.0 if high is None else high.step - low.step
            if trial.slope * ahead >= 0:
                high = low
            low = trial
        step = _LARGEST_GROWTH * step if high is None else _between(low, high)
    return None


def _between(low: Trial[Extra], high: Trial[Extra]) -> float:
    """Where the cubic through both ends is least, not too near to either of them."""
    width = high.step - low.step
    share = 0.5
    if math.isfinite(high.value) and math.isfinite(high.slope):
        mean = low.slope + high.slope - 3 * (high.value - low.value) / width
        square = mean * mean - low.slope * high.slope
        if square >= 0:
            root = math.copysign(math.sqrt(square), width)
            divisor = high.slope - low.slope + 2 * root
            share = 1 - (high.slope + root - mean) / divisor if divisor else share
    return low.step + min(max(share, _MARGIN), 1 - _MARGIN) * width
