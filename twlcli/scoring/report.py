"""An evaluation as tables for people and as JSON for programs."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from twlcli.scoring.average_precision import MeanOverLines
from twlcli.scoring.evaluate import TOP, Evaluation, LabelScore
from twlcli.scoring.metrics import CALIBRATION_BINS

LabelOrder = Literal["ap", "name"]

SHOWN_AT_EACH_END = 20  # labels of a vocabulary too long to be shown whole


def percent(fraction: float) -> str:
    """A fraction as the paper prints it, 0..100 with two decimals; a dash for NaN.

    Example:
        >>> percent(0.80447), percent(float("nan"))
        ('80.45', '–')
    """
    return "–" if math.isnan(fraction) else f"{100 * fraction:.2f}"


def summary_table(evaluation: Evaluation) -> Table:
    """mAP, Brier score and calibration error, each with what it runs over; in percent."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for name, mean, what in (
        ("mAP@class", evaluation.map_class, "labels"),
        ("mAP@sample", evaluation.map_sample, "images"),
    ):
        table.add_row(name, percent(mean.value), Text(_lines(mean, what)))
    table.add_row("Brier", percent(evaluation.brier), "of the probabilities; 0 is best")
    remark = f"expected, over {CALIBRATION_BINS} bins; 0 is best"
    table.add_row("calibration error", percent(evaluation.calibration_error), remark)
    return table


def decision_table(evaluation: Evaluation) -> Table:
    """CP, CR, CF1, OP, OR and OF1 at the thresholds and for the top labels; in percent."""
    table = Table(box=None, pad_edge=False)
    table.add_column("decided by", overflow="fold")
    for heading in ("CP", "CR", "CF1", "OP", "OR", "OF1"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, decisions in (
        (f"threshold {evaluation.threshold}", evaluation.at_threshold),
        (f"top {TOP}", evaluation.at_top),
    ):
        table.add_row(Text(name), *(percent(value) for value in asdict(decisions).values()))
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
            table.add_row(Text(row.label), *_cells(row, has_unknown=has_unknown))
        elif position == SHOWN_AT_EACH_END:
            table.add_row(f"… {left_out:,} more; --all shows them")
    return table


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation for JSON: scores as fractions 0..1 in full precision, null for NaN."""
    fields = asdict(evaluation)
    fields["unreadable"] = [asdict(each) for each in evaluation.unreadable]
    fields["labels"] = [_without_nan(asdict(label)) for label in evaluation.labels]
    fields["map_class"] = _without_nan(fields["map_class"])
    fields["map_sample"] = _without_nan(fields["map_sample"])
    fields[f"at_top_{TOP}"] = fields.pop("at_top")
    return _without_nan(fields)


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


def _lines(mean: MeanOverLines, what: str) -> str:
    left_out = f"; {mean.left_out:,} without a positive left out" if mean.left_out else ""
    return f"over {mean.lines:,} {what}{left_out}"


def _without_nan(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in fields.items()
    }
