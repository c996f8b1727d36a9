"""The plots of a comparison's page, each as inline SVG.

Colours are variables of the page's style sheet, so that a plot is light or dark with it, and text
stays text. Figures are drawn small: a plot that a phone shows whole is still readable there. The
name of a small plot's candidate stands above it in the page.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator

from twlcli.comparison.result import Candidate
from twlcli.comparison.statistics import Comparison

# Colours of the style sheet, and those that stand for them while Matplotlib draws.
_COLOURS = {"currentColor": "#010203", "var(--grid)": "#040506", "var(--accent)": "#070809"}
_INK, _GRID, _ACCENT = _COLOURS.values()
_STYLE: Any = {  # keyed by names that the stubs spell out one by one
    "svg.fonttype": "none",
    "svg.hashsalt": "twl",  # the same scores give the same bytes
    "font.size": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "figure.constrained_layout.use": True,
}
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}
_NAME_WIDTH, _NAME_LINES = 22, 3  # letters in a line; longer names stand whole in the tables


@dataclass(frozen=True)
class Plot:
    """An `<svg>` element and the name of the candidate that it shows."""

    name: str
    svg: str


def scores_plot(comparison: Comparison) -> str:
    """mAP@class of each candidate: a dot for each seed, the mean and its 95 % interval."""
    results = comparison.results[::-1]
    names = [_wrapped(result.candidate.name) for result in results]
    row_height = 0.1 + 0.16 * max(1 + name.count("\n") for name in names)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.4, 0.6 + row_height * len(results)))
        axes = figure.add_subplot()
        for row, result in enumerate(results):
            score = result.map_class
            axes.plot([100 * score.low, 100 * score.high], [row, row], color=_GRID, linewidth=5)
            seeds = [100 * value for value in score.values]
            axes.plot(seeds, [row] * len(seeds), "o", color=_ACCENT, markersize=4.5, alpha=0.75)
            axes.plot([100 * score.mean] * 2, [row - 0.3, row + 0.3], color=_INK, linewidth=1.6)
        axes.set_yticks(range(len(results)), names, parse_math=False)
        axes.set_ylim(-0.6, len(results) - 0.4)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("mAP@class")
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        return _svg(figure, "mAP@class of each loss")


def rate_plots(comparison: Comparison) -> list[Plot]:
    """One plot for each candidate with rates tried: mAP@class over the learning rate."""
    candidates = [each.candidate for each in comparison.results]
    return [Plot(each.name, _rate_plot(each)) for each in candidates if each.rates]


def loss_plots(comparison: Comparison) -> list[Plot]:
    """One plot for each candidate with a history: its training loss by epoch, a line a seed."""
    candidates = [each.candidate for each in comparison.results]
    return [
        Plot(each.name, _loss_plot(each))
        for each in candidates
        if any(run.history for run in each.runs)
    ]


def _rate_plot(candidate: Candidate) -> str:
    with mpl.rc_context(_STYLE):
        figure, axes = _small_plot()
        reached = [(rate, 100 * score) for rate, score in candidate.rates if not math.isnan(score)]
        limits = _limits([score for _, score in reached])
        axes.set_xscale("log")
        axes.plot(*_columns(reached), "o-", color=_ACCENT, fillstyle="none", markersize=6)
        chosen = [each for each in reached if each[0] == candidate.learning_rate]
        axes.plot(*_columns(chosen), "o", color=_ACCENT, markersize=8)
        diverged = [(rate, limits[0]) for rate, score in candidate.rates if math.isnan(score)]
        axes.plot(*_columns(diverged), "x", color=_INK, markersize=8, clip_on=False)
        rates = [rate for rate, _ in candidate.rates]
        axes.xaxis.set_major_locator(FixedLocator(rates))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(rates, [f"{rate:.2g}" for rate in rates], parse_math=False)
        axes.set_xlim(min(rates) / 1.6, max(rates) * 1.6)
        axes.set_ylim(limits)
        axes.set_xlabel("learning rate")
        axes.set_ylabel("mAP@class")
        return _svg(figure, f"learning rates of {candidate.name}")


def _loss_plot(candidate: Candidate) -> str:
    with mpl.rc_context(_STYLE):
        figure, axes = _small_plot()
        for run in candidate.runs:
            points = [(record["epoch"], record["loss"]) for record in run.history]
            marker = "o" if len(points) == 1 else ""
            axes.plot(*_columns(points), marker=marker, color=_ACCENT, linewidth=1.2, alpha=0.75)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.set_xlabel("epoch")
        axes.set_ylabel("training loss")
        return _svg(figure, f"training loss of {candidate.name}")


def _small_plot() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(2.9, 1.8))
    axes = figure.add_subplot()
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    return figure, axes


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [first for first, _ in points], [second for _, second in points]


def _limits(scores: Sequence[float]) -> tuple[float, float]:
    """From below the lowest to above the highest: at least a point, so that noise looks small."""
    if not scores:
        return 0.0, 100.0
    margin = max(0.15 * (max(scores) - min(scores)), 0.5)
    return min(scores) - margin, max(scores) + margin


def _wrapped(name: str) -> str:
    lines = textwrap.wrap(name, _NAME_WIDTH, max_lines=_NAME_LINES, placeholder="…")
    return "\n".join(lines)


def _svg(figure: Figure, description: str) -> str:
    """The figure as an `<svg>` element that takes its colours from the page."""
    text = io.StringIO()
    with warnings.catch_warnings():
        # The reader's browser has other fonts than the one that Matplotlib measures with.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(text, format="svg", metadata=_NO_METADATA)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # nothing refers to groups, and plots share names
    svg = re.sub(r"font-family: [^;]*; ?", "", svg)  # the page's own
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would hold for the page
    for variable, colour in _COLOURS.items():
        svg = svg.replace(colour, variable)
    label = re.sub(r"""[<>&"']""", " ", description)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
