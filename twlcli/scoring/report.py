"""An evaluation as JSON, and how scores are printed."""

from __future__ import annotations

import math
from dataclasses import asdict, astuple, dataclass
from typing import Any

from twlcli.labels import some_of
from twlcli.scoring.average_precision import MeanOverLines
from twlcli.scoring.evaluation import TOP, Evaluation
from twlcli.scoring.metrics import CALIBRATION_BINS, DecisionScore

FEW_IMAGES = 10  # of a label; its scores are then rough


def percent(fraction: float) -> str:
    """A fraction as the paper prints it, 0..100 with two decimals; a dash for NaN.

    Example:
        >>> percent(0.80447), percent(float("nan"))
        ('80.45', '–')
    """
    return "–" if math.isnan(fraction) else f"{100 * fraction:.2f}"


@dataclass(frozen=True)
class SummaryRow:
    """A score with its name, its value in percent and what it runs over."""

    name: str
    value: str
    remark: str


@dataclass(frozen=True)
class DecisionRow:
    """Scores of one way to decide.

    Attributes:
        name: of that way.
        values: CP, CR, CF1, OP, OR and OF1 in percent.
        intervals: of CF1 and OF1, where there are any.
        is_below: whether it is another view of what stands above.
    """

    name: str
    values: tuple[str, ...]
    intervals: tuple[str, str] | None = None
    is_below: bool = False


def summary_rows(evaluation: Evaluation) -> tuple[SummaryRow, ...]:
    """mAP, top-k accuracy where there is one, Brier score and calibration error."""
    between = evaluation.intervals
    by_class, by_sample = evaluation.map_class, evaluation.map_sample
    class_ends, sample_ends = (between.map_class, between.map_sample) if between else (None, None)
    return (
        SummaryRow("mAP@class", percent(by_class.value), _over(by_class, "labels", class_ends)),
        SummaryRow("mAP@sample", percent(by_sample.value), _over(by_sample, "images", sample_ends)),
        *(
            SummaryRow(
                f"top-{rank} accuracy",
                percent(accuracy),
                f"{evaluation.images:,} images, each with one label",
            )
            for rank, accuracy in evaluation.top_accuracy.items()
        ),
        SummaryRow("Brier", percent(evaluation.brier), "of the probabilities; 0 is best"),
        SummaryRow(
            "calibration error",
            percent(evaluation.calibration_error),
            f"expected, over {CALIBRATION_BINS} bins; 0 is best",
        ),
    )


def decision_rows(evaluation: Evaluation) -> tuple[DecisionRow, ...]:
    """At the thresholds, cross-fitted where they were fitted to the images, and the top labels."""
    between = evaluation.intervals
    intervals = (ends_of(between.class_f1), ends_of(between.overall_f1)) if between else None
    cross = evaluation.cross_fitted
    own = _values(evaluation.at_threshold)
    rows = [DecisionRow(f"threshold {evaluation.threshold}", own, None if cross else intervals)]
    if cross is not None:
        rows.append(DecisionRow("cross-fitted", _values(cross.at_threshold), intervals, True))
    return (*rows, DecisionRow(f"top {TOP}", _values(evaluation.at_top)))


def _values(score: DecisionScore) -> tuple[str, ...]:
    return tuple(map(percent, astuple(score)))


def ends_of(interval: tuple[float, float]) -> str:
    """The ends of an interval in percent.

    Example:
        >>> ends_of((0.59512, 0.6349))
        '59.5–63.5'
    """
    return f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}"


def _over(mean: MeanOverLines, what: str, between: tuple[float, float] | None) -> str:
    """What a mean runs over, `labels` or `images`, and its interval where there is one."""
    interval = f"; 95 % interval {ends_of(between)}" if between else ""
    reason = "without a positive" if what == "images" else "without a positive or a negative"
    left_out = f"; {mean.left_out:,} {reason} left out" if mean.left_out else ""
    return f"over {mean.lines:,} {what}{left_out}{interval}"


def notes_on(evaluation: Evaluation) -> list[str]:
    """What to bear in mind about the scores."""
    return [*evaluation.notes, *notes_on_model(evaluation), *notes_on_labels(evaluation)]


def notes_on_model(evaluation: Evaluation) -> list[str]:
    """What the model had to do with the images before, and which labels it never gives."""
    trained, fitted = evaluation.trained_on or 0, evaluation.fitted_on or 0
    cross, notes = evaluation.cross_fitted, []
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
    return [*notes, evaluation.never_given] if evaluation.never_given else notes


def notes_on_labels(evaluation: Evaluation) -> list[str]:
    """Which labels say little, whatever the model."""
    notes = []
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
    return notes


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
