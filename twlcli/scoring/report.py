"""An evaluation as JSON, and how scores are printed."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from twlcli.labels import some_of
from twlcli.scoring.average_precision import MeanOverLines
from twlcli.scoring.evaluation import TOP, Evaluation

FEW_IMAGES = 10  # of a label; its scores are then rough


def percent(fraction: float) -> str:
    """A fraction as the paper prints it, 0..100 with two decimals; a dash for NaN.

    Example:
        >>> percent(0.80447), percent(float("nan"))
        ('80.45', '–')
    """
    return "–" if math.isnan(fraction) else f"{100 * fraction:.2f}"


def ends(interval: tuple[float, float]) -> str:
    """The ends of an interval in 0..1, as percentages.

    Example:
        >>> ends((0.5, 0.625))
        '50.0–62.5'
    """
    return f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}"


def over_lines(mean: MeanOverLines, what: str, between: tuple[float, float] | None) -> str:
    """What a mean runs over, `labels` or `images`, and its interval where there is one."""
    interval = f"; 95 % interval {ends(between)}" if between else ""
    reason = "without a positive" if what == "images" else "without a positive or a negative"
    left_out = f"; {mean.left_out:,} {reason} left out" if mean.left_out else ""
    return f"over {mean.lines:,} {what}{left_out}{interval}"


def notes_on(evaluation: Evaluation) -> list[str]:
    """What to bear in mind about the scores."""
    trained, fitted = evaluation.trained_on or 0, evaluation.fitted_on or 0
    cross, notes = evaluation.cross_fitted, list(evaluation.notes)
    if trained:
        notes.append(
            f"the model was trained on {trained:,} of these images; scores on them say little "
            "about others; --splits RUN scores those that a run held out"
        )
    if cross is not None:
        notes.append(
            "the best epoch, the calibration and the thresholds were chosen on these images; what "
            f"is cross-fitted ({cross.folds} folds, each decided by the others) is nearer to what "
            f"others will show: Brier {percent(cross.brier)}, calibration error "
            f"{percent(cross.calibration_error)}"
        )
    elif fitted:
        notes.append(f"{fitted:,} of these images chose the calibration and the thresholds")
    notes.append(evaluation.never_given)
    if always := evaluation.without_negative:
        notes.append(
            f"no image is known to be without {some_of(always)}; any model ranks "
            f"{'it' if len(always) == 1 else 'them'} rightly, so mAP@class leaves "
            f"{'it' if len(always) == 1 else 'them'} out"
        )
    rare = [f"{row.label} {row.support}" for row in evaluation.labels if row.support < FEW_IMAGES]
    if rare:
        notes.append(
            f"{len(rare):,} {'label has' if len(rare) == 1 else 'labels have'} fewer than "
            f"{FEW_IMAGES} of these images, so that their "
            f"scores are rough: {some_of(rare)}"
        )
    return [note for note in notes if note]


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
