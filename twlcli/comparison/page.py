"""A comparison as one HTML page that needs nothing else: no network, no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twlcli.comparison.plots import loss_plots, rate_plots, scores_plot, validation_plots
from twlcli.comparison.report import (
    About,
    dry_run,
    mean_and_deviation,
    notes,
    p_value,
    signed,
    to_the_best,
)
from twlcli.comparison.result import Comparison, Gap, Result
from twlcli.io import write_whole
from twlcli.pages.plot import svg
from twlcli.pages.templates import render_page, style_of
from twlcli.recipe import LOSS_RECIPES, LossRecipe, Option
from twlcli.scoring.report import percent

MOST_LABELS = 100  # of a vocabulary shown whole
SHOWN_LABELS = 40  # of a longer one
_STRONGEST = 0.55  # opacity of a cell's colour, so that its text stays readable
_FULL_COLOUR = 80  # percentile of the differences that has it: outliers do not pale the others


@dataclass(frozen=True)
class Cell:
    """A difference in a table: its text, how strong its colour is, and more on hovering."""

    text: str
    style: str
    is_significant: bool = False
    title: str = ""


@dataclass(frozen=True)
class LabelRow:
    """A label, how many images have it, the best's AP, and the others' differences to that."""

    label: str
    support: int
    best: str
    cells: tuple[Cell, ...]


def write_page(comparison: Comparison, path: Path, about: About) -> None:
    """Write the comparison as one HTML file.

    Args:
        comparison: what to show.
        path: of the file; replaced if it is there.
        about: what it says besides.
    """
    page = render_page(
        "comparison/page.html",
        title=about.title,
        style=style_of("pages/report.css"),
        comparison=comparison,
        about=about,
        dry_run=dry_run(about.limit) if about.limit else "",
        notes=notes(comparison),
        best=comparison.results[0],
        scores=scores_plot(comparison),
        rates=rate_plots(comparison),
        validations=validation_plots(comparison),
        losses=loss_plots(comparison),
        matrix=pair_matrix(comparison),
        label_rows=label_rows(comparison),
        scored_labels=sum(count > 0 for count in comparison.support),
        changed_options=changed_options,
        svg=svg,
        signed=signed,
        spread=mean_and_deviation,
        to_the_best=to_the_best,
        p_value=p_value,
    )
    write_whole(path, lambda file: file.write(page.encode(errors="replace")))


def changed_options(loss: LossRecipe) -> dict[str, Option]:
    """The options of a loss that are not its defaults.

    Example:
        >>> from twlcli.recipe import LOSS_RECIPES
        >>> changed_options(LOSS_RECIPES["asl"](clip=0.1))
        {'clip': 0.1}
    """
    defaults = LOSS_RECIPES[loss.name]().options if loss.name in LOSS_RECIPES else {}
    return {key: value for key, value in loss.options.items() if value != defaults.get(key)}


def pair_matrix(comparison: Comparison) -> list[list[Cell | None]]:
    """mAP@class of the row's candidate minus the column's, best first; None on the diagonal."""
    names = [result.name for result in comparison.results]
    gaps = {(each.first, each.second): each.map_class for each in comparison.differences}
    scale = _scale([gap.value for gap in gaps.values()])

    def cell(row: str, column: str) -> Cell | None:
        if row == column:
            return None
        first_is_row = (row, column) in gaps
        gap = gaps[(row, column) if first_is_row else (column, row)]
        sign = 1 if first_is_row else -1
        title = f"{row} − {column}: {_interval(gap, sign)}, adjusted p {p_value(gap.adjusted_p)}"
        style = _colour(sign * gap.value, scale) if gap.significant else ""
        return Cell(signed(sign * gap.value), style, gap.significant, title)

    return [[cell(row, column) for column in names] for row in names]


def label_rows(comparison: Comparison) -> list[LabelRow]:
    """The labels in which the candidates differ most, the widest difference first.

    All labels of up to `MOST_LABELS`, else `SHOWN_LABELS`; those that no image has are left out.
    """
    best, *others = comparison.results
    gaps = np.stack([each.label_mean - best.label_mean for each in (best, *others)])
    width = np.abs(gaps).max(axis=0)
    scored = np.flatnonzero(~np.isnan(best.label_mean))
    order = scored[np.argsort(-width[scored], kind="stable")]
    if len(order) > MOST_LABELS:
        order = order[:SHOWN_LABELS]
    scale = _scale(gaps[1:, order].ravel().tolist())
    return [
        LabelRow(
            comparison.labels[column],
            comparison.support[column],
            percent(best.label_mean[column]),
            tuple(
                _label_cell(result, gap, column, scale)
                for result, gap in zip(others, gaps[1:], strict=True)
            ),
        )
        for column in order.tolist()
    ]


def _label_cell(result: Result, gap: NDArray[np.float64], column: int, scale: float) -> Cell:
    difference = float(gap[column])
    reached = f"{result.name}: {percent(result.label_mean[column])}"
    if result.label_std is not None:
        reached += f" ± {percent(result.label_std[column])}"
    return Cell(signed(difference), _colour(difference, scale), title=reached)


def _scale(differences: Sequence[float]) -> float:
    return float(np.percentile(np.abs(differences), _FULL_COLOUR)) if differences else 0.0


def _colour(value: float, scale: float) -> str:
    """The style of a cell: blue above 0, orange below, the stronger the further off."""
    if math.isnan(value) or scale == 0:
        return ""
    colour = "var(--above)" if value > 0 else "var(--below)"
    share = 100 * _STRONGEST * min(1.0, abs(value) / scale)
    return f"background: color-mix(in srgb, {colour} {share:.0f}%, transparent)"


def _interval(gap: Gap, sign: int) -> str:
    low, high = sorted((sign * gap.low, sign * gap.high))
    return f"95 % {signed(low)} to {signed(high)}"
