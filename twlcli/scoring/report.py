"""An evaluation as JSON, and how scores are printed."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from twlcli.scoring.evaluation import TOP, Evaluation


def percent(fraction: float) -> str:
    """A fraction as the paper prints it, 0..100 with two decimals; a dash for NaN.

    Example:
        >>> percent(0.80447), percent(float("nan"))
        ('80.45', '–')
    """
    return "–" if math.isnan(fraction) else f"{100 * fraction:.2f}"


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation for JSON: scores as fractions 0..1 in full precision, null for NaN."""
    fields = asdict(evaluation)
    del fields["never_given"]  # the thresholds say so
    fields = {"data": fields.pop("data"), "split": fields.pop("split"), **fields}
    fields["unreadable"] = [asdict(each) for each in evaluation.unreadable]
    fields["labels"] = [_without_nan(asdict(label)) for label in evaluation.labels]
    fields["map_class"] = _without_nan(fields["map_class"])
    fields["map_sample"] = _without_nan(fields["map_sample"])
    fields[f"at_top_{TOP}"] = fields.pop("at_top")
    return _without_nan(fields)


def _without_nan(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in fields.items()
    }
