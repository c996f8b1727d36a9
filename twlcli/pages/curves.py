"""How one training went, epoch by epoch, as an image in its run folder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twlcli.pages.plot import Dots, Line, Mark, Plot, Point, write_svg
from twlcli.pages.scales import Tick, linear_axis, log_axis, number

CURVES_NAME = "curves.svg"
LARGEST = 1e9  # of what a run records; anything else was not written by twl


def write_curves(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Draw training loss, mAP@class and mAP@sample by epoch into an SVG file.

    Args:
        path: the file; replaced if it is there, and not written while there is no epoch.
        history: a record of `metrics.jsonl` for each epoch, some without scores.
    """
    if plots := curve_plots(history):
        write_svg(path, plots, description="training loss and scores by epoch", columns=3)


def curve_plots(history: Sequence[Mapping[str, Any]]) -> list[Plot]:
    """Training loss, mAP@class and mAP@sample by epoch, as far as they were recorded.

    The large dot is the epoch with the best mAP@class, whose weights a run keeps; the small one is
    the last epoch.

    Args:
        history: as for `write_curves`.
    """
    scored = [each for each in history if not math.isnan(each.get("map_class", math.nan))]
    best = max(scored, key=lambda each: float(each["map_class"]), default=None)
    kept = None if best is None else int(best["epoch"])
    plots = [
        _plot(history, "loss", "training loss", kept),
        _plot(history, "map_class", "mAP@class", kept, percent=True),
        _plot(history, "map_sample", "mAP@sample", kept, percent=True),
    ]
    return [plot for plot in plots if plot.marks]


def _plot(
    history: Sequence[Mapping[str, Any]],
    key: str,
    name: str,
    kept: int | None,
    *,
    percent: bool = False,
) -> Plot:
    factor = 100 if percent else 1
    points = [(each["epoch"], factor * each[key]) for each in history if each.get(key) is not None]
    at_kept = [point for point in points if point[0] == kept]
    marks: list[Mark] = []
    if points:
        last = [f"epoch {points[-1][0]}, the last: {points[-1][1]:.4f}"]
        best = [f"epoch {epoch}, the best: {value:.4f}" for epoch, value in at_kept]
        marks += [
            Line(points),
            Dots(points[-1:], last, radius=2.4),
            Dots(at_kept, best, radius=4.5),
        ]
    title = name
    for epoch, value in at_kept:
        title += f": {value:.2f} in epoch {epoch}" if percent else ""
    heights = [y for _, y in points]
    return Plot(
        f"{name} by epoch",
        linear_axis(
            [x for x, _ in points],
            title="epoch (large dot: best; small: last)" if at_kept else "epoch",
            whole=True,
        ),
        linear_axis(heights, title=title, narrowest=1.0, within=(0, 100), grid=True)
        if percent
        else linear_axis(heights, title=title, grid=True),
        tuple(marks),
    )


def penalty_plots(history: Sequence[Mapping[str, float]]) -> list[Plot]:
    """mAP@class and mAP@sample by penalty; the large dot has the best mAP@class, and is kept."""
    tried = sorted(
        (each for each in history if each.get("penalty", 0.0) > 1 / LARGEST and _is_scored(each)),
        key=lambda each: each["penalty"],
    )
    if not tried:
        return []
    best = max(tried, key=lambda each: each["map_class"])["penalty"]
    return [
        _penalty_plot([(each["penalty"], 100 * each[key]) for each in tried], best, name)
        for key, name in (("map_class", "mAP@class"), ("map_sample", "mAP@sample"))
    ]


def _is_scored(record: Mapping[str, float]) -> bool:
    return not any(math.isnan(record.get(key, math.nan)) for key in ("map_class", "map_sample"))


def _penalty_plot(points: Sequence[Point], best: float, name: str) -> Plot:
    kept = next(point for point in points if point[0] == best)
    ticks = [Tick(x, f"{x:.0f}" if x >= 10 else number(f"{x:.2g}"), x == best) for x, _ in points]
    titles = [f"{x:.3g}: {y:.2f}" for x, y in points]
    return Plot(
        f"{name} by penalty",
        log_axis(ticks, title="penalty"),
        linear_axis(
            [y for _, y in points],
            title=f"{name}: {kept[1]:.2f} at {best:.3g}",
            narrowest=1.0,
            within=(0, 100),
            grid=True,
        ),
        (Line(points), Dots(points, titles, hollow=True), Dots([kept], radius=4.5)),
    )
