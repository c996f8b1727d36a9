"""Axes: limits, ticks at round numbers, and where a value lies between the limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_PADDING = 0.06  # of the span, between the outermost values and the frame
_NARROWEST = 1e-6  # share of the values that their span has to be
_LARGEST = 1e150  # what is larger, or smaller than its inverse, is as good as infinite, or zero
_PLAIN = (1e-4, 1e5)  # numbers from here to there are printed without a power of ten


@dataclass(frozen=True)
class Tick:
    """A place on an axis; `label` may have several lines, and bold ones are shown first."""

    value: float
    label: str
    bold: bool = False


@dataclass(frozen=True)
class Axis:
    """One axis of a plot.

    Attributes:
        low: the value at its beginning.
        high: the value at its end, above `low`.
        ticks: from low to high.
        title: what is measured.
        log: whether equal ratios are equally far apart.
        grid: whether lines run across the plot at its ticks.
    """

    low: float
    high: float
    ticks: tuple[Tick, ...] = ()
    title: str = ""
    log: bool = False
    grid: bool = False

    def place(self, value: float) -> float:
        """Where a value lies: 0 at `low`, 1 at `high`; NaN where it has no place.

        Example:
            >>> Axis(0.001, 10, log=True).place(0.1)
            0.5
        """
        if not abs(value) < _LARGEST:
            return math.nan
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        if value <= 0:
            return math.nan
        return math.log(value / self.low) / math.log(self.high / self.low)


def linear_axis(
    values: Iterable[float],
    *,
    title: str = "",
    most: int = 7,
    narrowest: float = 0.0,
    within: tuple[float, float] = (-math.inf, math.inf),
    whole: bool = False,
    grid: bool = False,
) -> Axis:
    """An axis around some values.

    Args:
        values: NaN and what is all but infinite is left out; without others it is 0 to 1.
        title: what is measured.
        most: into how many parts ticks cut it at most.
        narrowest: the least that it spans, so that noise looks small; of equal values a tenth of
            their size by default.
        within: what it does not leave unless a value does, such as 0 and 100 for percentages.
        whole: ticks at whole numbers only.
        grid: whether lines run across the plot.
    """
    finite = [value for value in values if abs(value) < _LARGEST]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    size = max(abs(low), abs(high))
    least = narrowest
    if not least and high - low <= _NARROWEST * size:  # ticks would have long labels
        least = 0.1 * size
    if max(high - low, least) < 1 / _LARGEST:
        least = 1.0
    missing = max(0.0, least - (high - low)) / 2
    margin = missing + _PADDING * (high - low + 2 * missing)
    if whole:
        margin = min(margin, 0.5)  # no tick before the first whole number
    low = max(low - margin, min(low, within[0]))
    high = min(high + margin, max(high, within[1]))
    return Axis(low, high, ticks(low, high, most=most, whole=whole), title, grid=grid)


def log_axis(values: Sequence[Tick], *, title: str = "") -> Axis:
    """An axis of ratios with a tick at each of some positive values, of which there is one."""
    low, high = min(each.value for each in values), max(each.value for each in values)
    padding = max((high / low) ** (1.5 * _PADDING), 1.3)
    return Axis(low / padding, high * padding, tuple(values), title, log=True)


def ticks(low: float, high: float, *, most: int = 7, whole: bool = False) -> tuple[Tick, ...]:
    """Ticks at multiples of 1, 2 or 5 times a power of ten, labelled with as few digits as do.

    Args:
        low: the beginning, which need not be a tick.
        high: the end, above it.
        most: into how many parts they cut the axis at most.
        whole: at whole numbers only.

    Example:
        >>> [tick.label for tick in ticks(-0.13, 0.31)]
        ['−0.1', '0.0', '0.1', '0.2', '0.3']
    """
    step, decimals = _step((high - low) / most)
    if whole and step < 1:
        step, decimals = 1.0, 0
    values = [
        round(number * step, decimals)
        for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]
    largest = max(map(abs, values), default=0.0)
    if values and not _PLAIN[0] <= largest < _PLAIN[1] and largest:
        digits = max(0, decimals + math.floor(math.log10(largest)))
        return tuple(Tick(value, number(f"{value:.{digits}e}")) for value in values)
    return tuple(Tick(value, number(f"{value:.{max(decimals, 0)}f}")) for value in values)


def number(text: str) -> str:
    """A formatted number as it is printed: a minus, and a power of ten without zeros before it.

    Example:
        >>> number("-2.5"), number(f"{0.00003:.2g}"), number("0e+00"), number("-0.0")
        ('−2.5', '3e−5', '0', '0.0')
    """
    mantissa, e, power = text.partition("e")
    if float(mantissa) == 0:
        return "0" if e else mantissa.lstrip("-")
    return f"{mantissa}{e}{int(power) if e else ''}".replace("-", "−")


def _step(least: float) -> tuple[float, int]:
    """The smallest step of 1, 2 or 5 times a power of ten that is at least so large.

    Returns:
        It, and the decimals of its multiples; negative where they end with zeros.
    """
    power = math.floor(math.log10(least))
    for factor in (1, 2, 5):
        if factor * 10.0**power >= least * (1 - 1e-9):
            return factor * 10.0**power, -power
    return 10.0 ** (power + 1), -power - 1
