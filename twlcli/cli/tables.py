"""What commands print as tables."""

from __future__ import annotations

import math
from typing import Literal

from rich.table import Table

from twlcli.comparison.report import mean_and_deviation, to_the_best
from twlcli.comparison.result import Comparison
from twlcli.scoring.evaluation import Evaluation, LabelScore
from twlcli.scoring.report import decision_rows, percent, summary_rows

LabelOrder = Literal["ap", "name"]

SHOWN_AT_EACH_END = 20  # labels of a vocabulary too long to be shown whole


def summary_table(evaluation: Evaluation) -> Table:
    """mAP, Brier score and calibration error, each with what it runs over; in percent."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for score in summary_rows(evaluation):
        table.add_row(score.name, score.value, score.remark)
    return table


def decision_table(evaluation: Evaluation) -> Table:
    """CP, CR, CF1, OP, OR and OF1 at the thresholds and for the top labels; in percent."""
    table = Table(box=None, pad_edge=False)
    table.add_column("decided by", overflow="fold")
    for heading in ("CP", "CR", "CF1", "OP", "OR", "OF1"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in decision_rows(evaluation):
        table.add_row("  " * row.is_below + row.name, *row.values)
        if row.intervals is not None:
            by_class, overall = row.intervals
            table.add_row("  95 % interval", "", "", by_class, "", "", overall)
    return table


def label_table(evaluation: Evaluation, *, order: LabelOrder = "ap", whole: bool = False) -> Table:
    """One row for each label: AP, precision, recall, F1, support, unknown count, threshold.

    Args:
        evaluation: the scores.
        order: the best AP first and labels without one last, or by name.
        whole: every label; otherwise the first and last `SHOWN_AT_EACH_END` of more than twice
            as many, and between them how many are left out.
    """
    rows = _ordered(evaluation.labels, order)
    has_unknown = any(row.unknown for row in rows)
    table = Table(box=None, pad_edge=False)
    table.add_column("label", overflow="fold")
    for heading in ("AP", "P", "R", "F1", "images", "unknown", "threshold"):
        if heading != "unknown" or has_unknown:
            table.add_column(heading, justify="right", no_wrap=True)
    left_out = 0 if whole else len(rows) - 2 * SHOWN_AT_EACH_END
    for position, row in enumerate(rows):
        if left_out <= 0 or not 0 <= position - SHOWN_AT_EACH_END < left_out:
            table.add_row(row.label, *_cells(row, has_unknown=has_unknown))
        elif position == SHOWN_AT_EACH_END:
            table.add_row(f"… {left_out:,} more; --all shows them")
    return table


def comparison_table(comparison: Comparison) -> Table:
    """One row for each candidate, the best first; scores in percent."""
    has_pairs = len(comparison.results) > 1
    result = Table(box=None, pad_edge=False)
    result.add_column("loss", overflow="fold")
    tuned = "penalty" if comparison.is_frozen else "rate"
    for heading in (tuned, "mAP@class", "mAP@sample"):
        result.add_column(heading, justify="right", no_wrap=True)
    if has_pairs:
        result.add_column("mAP@class to the best", justify="right", no_wrap=True)
        result.add_column("p < 0.05", no_wrap=True)
    for row in comparison.results:
        difference = comparison.to_best(row.name)
        gap = (
            (to_the_best(difference.map_class), "yes" if difference.map_class.significant else "no")
            if difference
            else ("", "")
        )
        result.add_row(
            row.name,
            f"{row.chosen:.3g}",
            mean_and_deviation(row.map_class),
            mean_and_deviation(row.map_sample),
            *(gap if has_pairs else ()),
        )
    return result


def _ordered(labels: tuple[LabelScore, ...], order: LabelOrder) -> list[LabelScore]:
    if order == "name":
        return sorted(labels, key=lambda row: row.label)
    worst = -1.0
    return sorted(
        labels,
        key=lambda row: worst if math.isnan(row.average_precision) else row.average_precision,
        reverse=True,
    )


def _cells(row: LabelScore, *, has_unknown: bool) -> list[str]:
    scores = (row.average_precision, row.precision, row.recall, row.f1)
    counts = [f"{row.support:,}", *([f"{row.unknown:,}"] if has_unknown else [])]
    never = row.threshold > 1
    return [*map(percent, scores), *counts, "never" if never else f"{row.threshold:.3f}"]
