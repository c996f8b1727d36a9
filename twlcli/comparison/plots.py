"""The plots of a comparison."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from twlcli.comparison.result import Comparison, Result
from twlcli.pages.plot import Crosses, Dots, Line, Mark, Plot, Point, wrapped
from twlcli.pages.scales import Axis, Tick, linear_axis, log_axis, number
from twlcli.scoring.report import percent

_NAME_WIDTH = 130  # of names beside the scores; longer ones stand whole in the tables
_NAME_LINE, _ROW = 13, 9  # height of a name's line, and of what is between two names
_SCORES_MARGIN = 36  # above and below the rows
_NARROWEST = 1.0  # points of mAP that an axis spans at least, so that noise looks small


def scores_plot(comparison: Comparison) -> Plot:
    """mAP@class of each candidate: a dot for each seed, the mean and its 95 % interval."""
    marks: list[Mark] = []
    ticks: list[Tick] = []
    height = 0.0  # of all rows so far, from the foot up
    for result in reversed(comparison.results):
        name = wrapped(result.name, _NAME_WIDTH)
        row_height = _ROW + _NAME_LINE * (1 + name.count("\n"))
        row = height + row_height / 2
        height += row_height
        ticks.append(Tick(row, name))
        score = result.map_class
        marks.append(Line([(100 * score.low, row), (100 * score.high, row)], "bar", width=6))
        mean = 100 * score.mean
        marks.append(Line([(mean, row - 7), (mean, row + 7)], "ink", width=1.8))
        titles = [
            f"{result.name}, seed {seed}: {percent(value)}"
            for seed, value in zip(comparison.seeds, score.values, strict=True)
        ]
        points = [(100 * value, row) for value in score.values]
        marks.append(Dots(points, titles, radius=3.2, opacity=0.8))
    return Plot(
        "mAP@class of each loss",
        _map_axis([x for mark in marks for x, _ in mark.points]),
        Axis(0, height, tuple(ticks)),
        tuple(marks),
        width=360,
        height=height + _SCORES_MARGIN,
    )


def rate_plots(comparison: Comparison) -> list[Plot]:
    """One plot for each candidate with rates or penalties tried: mAP@class over them."""
    tried = [result for result in comparison.results if result.tried]
    scores = [100 * score for result in tried for _, score in result.tried]
    heights = _map_axis(scores)
    return [_rate_plot(result, heights, comparison.tuned) for result in tried]


def _rate_plot(result: Result, heights: Axis, tuned: str) -> Plot:
    def titled(points: Iterable[Point]) -> list[str]:
        return [f"{rate:.3g}: {score:.2f}" for rate, score in points]

    reached = [(rate, 100 * score) for rate, score in result.tried if not math.isnan(score)]
    chosen = [point for point in reached if point[0] == result.chosen]
    diverged = [(rate, heights.low) for rate, score in result.tried if math.isnan(score)]
    ticks = [
        Tick(rate, number(f"{rate:.2g}"), bold=rate == result.chosen) for rate, _ in result.tried
    ]
    return Plot(
        f"mAP@class of {result.name} by {tuned}",
        log_axis(ticks, title=tuned),
        heights,
        (
            Line(reached),
            Dots(reached, titled(reached), hollow=True),
            Dots(chosen, titled(chosen), radius=4.5),
            Crosses(diverged, [f"{rate:.3g}: diverged" for rate, _ in diverged]),
        ),
        heading=result.name,
    )


def loss_plots(comparison: Comparison) -> list[Plot]:
    """One plot for each candidate with a history: its training loss by epoch, a line a seed."""
    curves = [(result, _curves(result, "loss")) for result in comparison.results]
    return [
        _epoch_plot(
            f"training loss of {result.name} by epoch",
            result,
            linear_axis(_heights(each), title="training loss", grid=True),
            _curve_marks(comparison.seeds, each, "{:.4f}"),
        )
        for result, each in curves
        if any(each)
    ]


def validation_plots(comparison: Comparison) -> list[Plot]:
    """One plot for each candidate: its mAP@class by epoch, a line a seed; all have the same scale.

    A dashed line is the mean of the best in the plots of the others. There are none where no run
    was validated more than once.
    """
    curves = [_curves(result, "map_class", percent=True) for result in comparison.results]
    everything = [curve for each in curves for curve in each]
    if max(map(len, everything)) < 2:
        return []
    heights = _map_axis(_heights(everything))
    best = Line(_mean(curves[0]), "soft", dashed=True)
    return [
        _epoch_plot(
            f"mAP@class of {result.name} by epoch",
            result,
            heights,
            ((best,) if place else ()) + _curve_marks(comparison.seeds, each, "{:.2f}"),
        )
        for place, (result, each) in enumerate(zip(comparison.results, curves, strict=True))
        if any(each)
    ]


def _map_axis(scores: Sequence[float]) -> Axis:
    return linear_axis(scores, title="mAP@class", narrowest=_NARROWEST, within=(0, 100), grid=True)


def _epoch_plot(description: str, result: Result, heights: Axis, marks: tuple[Mark, ...]) -> Plot:
    epochs = [x for mark in marks for x, _ in mark.points]
    widths = linear_axis(epochs, title="epoch", whole=True)
    return Plot(description, widths, heights, marks, heading=result.name)


def _curves(result: Result, key: str, *, percent: bool = False) -> list[list[Point]]:
    """What was recorded by epoch, for each seed; empty where nothing was."""
    factor = 100 if percent else 1
    return [
        [
            (record["epoch"], factor * record[key])
            for record in history
            if "epoch" in record and record.get(key) is not None
        ]
        for history in result.histories
    ]


def _curve_marks(
    seeds: Sequence[int], curves: Sequence[Sequence[Point]], form: str
) -> tuple[Mark, ...]:
    """A line for each seed with a dot at its end, which says what was reached there."""
    ends = [(seed, curve[-1]) for seed, curve in zip(seeds, curves, strict=True) if curve]
    titles = [f"seed {seed}, epoch {x:.0f}: {form.format(y)}" for seed, (x, y) in ends]
    return (
        *(Line(curve, width=1.3, opacity=0.75) for curve in curves),
        Dots([end for _, end in ends], titles, radius=2.4),
    )


def _heights(curves: Sequence[Sequence[Point]]) -> list[float]:
    return [y for curve in curves for _, y in curve]


def _mean(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """The mean over seeds by epoch."""
    by_epoch: dict[float, list[float]] = {}
    for x, y in (point for curve in curves for point in curve):
        by_epoch.setdefault(x, []).append(y)
    return [(x, sum(values) / len(values)) for x, values in sorted(by_epoch.items())]
