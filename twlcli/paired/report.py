"""Models on the same images in words for people, and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from twlcli.comparison.report import p_value, signed
from twlcli.labels import counted
from twlcli.paired.result import (
    Disagreement,
    LabelDifference,
    ModelDifference,
    PairedEvaluation,
    ScoreDifference,
)
from twlcli.paired.statistics import scores_of
from twlcli.scoring.bootstrap import CONFIDENCE
from twlcli.scoring.evaluation import RANKS, Evaluation
from twlcli.scoring.report import (
    FEW_IMAGES,
    ends_of,
    notes_on_labels,
    notes_on_model,
    percent,
    to_dict,
)

SCORE_NAMES: Mapping[str, str] = {
    "map_class": "mAP@class",
    "map_sample": "mAP@sample",
    **{f"top_{rank}": f"top-{rank} accuracy" for rank in RANKS},
    "class_precision": "CP",
    "class_recall": "CR",
    "class_f1": "CF1",
    "overall_precision": "OP",
    "overall_recall": "OR",
    "overall_f1": "OF1",
    "brier": "Brier",
    "calibration_error": "calibration error",
}
_LOW_IS_GOOD = ("brier", "calibration_error")


@dataclass(frozen=True)
class ScoreRow:
    """A score of all models.

    Attributes:
        key: its name in JSON.
        name: as people call it.
        values: of each model, in percent.
        intervals: of each, empty where it has none.
        low_is_good: whether 0 is best.
    """

    key: str
    name: str
    values: tuple[str, ...]
    intervals: tuple[str, ...]
    low_is_good: bool


@dataclass(frozen=True)
class DifferenceRow:
    """A difference as it is shown: itself, its interval, p, and whether it is more than chance."""

    name: str
    value: str
    interval: str
    p: str
    verdict: str


def score_rows(paired: PairedEvaluation) -> tuple[ScoreRow, ...]:
    """All scores, a row each."""
    scores = [scores_of(each) for each in paired.evaluations]
    ends = [_intervals(each) for each in paired.evaluations]
    return tuple(
        ScoreRow(
            key,
            SCORE_NAMES[key],
            tuple(percent(each[key]) for each in scores),
            tuple(ends_of(each[key]) if key in each else "" for each in ends),
            key in _LOW_IS_GOOD,
        )
        for key in scores[0]
    )


def _intervals(evaluation: Evaluation) -> dict[str, tuple[float, float]]:
    return {} if evaluation.intervals is None else asdict(evaluation.intervals)


def difference_rows(difference: ModelDifference) -> tuple[DifferenceRow, ...]:
    """The differences of all scores, a row each."""
    return tuple(
        DifferenceRow(
            SCORE_NAMES[key],
            signed(each.value),
            interval_text(each),
            "" if each.adjusted_p is None else p_value(each.adjusted_p),
            verdict(key, each),
        )
        for key, each in difference.scores.items()
    )


def interval_text(difference: ScoreDifference) -> str:
    """The 95 % interval in percent; empty where there is none.

    Example:
        >>> interval_text(ScoreDifference(0.02, 0.012, 0.031, 0.002, 0.002, True))
        '+1.20 to +3.10'
    """
    if difference.low is None or difference.high is None:
        return ""
    return f"{signed(difference.low)} to {signed(difference.high)}"


def verdict(key: str, difference: ScoreDifference) -> str:
    """`better`, `worse`, or `may be chance`; empty where it was not tested.

    Example:
        >>> verdict("brier", ScoreDifference(-0.02, -0.031, -0.012, 0.002, 0.002, True))
        'better'
    """
    if difference.p is None:
        return ""
    if not difference.significant:
        return "may be chance"
    return "better" if (difference.value > 0) != (key in _LOW_IS_GOOD) else "worse"


def ranked_labels(difference: ModelDifference) -> tuple[LabelDifference, ...]:
    """All labels, the largest gain first and the largest loss last."""
    return tuple(sorted(difference.labels, key=lambda each: -each.difference.value))


def labels_text(difference: ModelDifference) -> str:
    """How many labels differ by more than chance, and how many were not tested."""
    ranked, tested = len(difference.labels), difference.tested
    if not tested:
        return (
            "no label was tested"
            if not ranked
            else f"none of {ranked:,} labels was tested: there are too few images, or very many"
        )
    real = len(difference.real)
    text = (
        f"{real:,} of {tested:,} labels "
        f"{'differs' if real == 1 else 'differ'} in AP by more than chance"
    )
    if left := ranked - tested:
        text += f"; {left:,} with fewer than {FEW_IMAGES} images {'is' if left == 1 else 'are'} "
        text += "not tested"
    return text


def images_text(disagreement: Disagreement, images: int, names: Sequence[str]) -> str:
    """On how many images two models disagree, and which of them is right how often.

    Args:
        disagreement: of the two.
        images: how many there are.
        names: of the first and the other.
    """
    if not disagreement.images:
        return f"the two give all {images:,} images the same labels"
    share = 100 * disagreement.images / images
    unknown = disagreement.decisions - disagreement.right - disagreement.first_right
    labels = counted(disagreement.decisions, "label", "labels")
    text = (
        f"the two disagree on {disagreement.images:,} of {images:,} images ({share:.0f} %), in "
        f"{labels}: {names[1]} is right in {disagreement.right:,}, {names[0]} in "
        f"{disagreement.first_right:,}"
    )
    return f"{text}; {unknown:,} are unknown" if unknown else text


def notes_on(paired: PairedEvaluation) -> list[str]:
    """What to bear in mind, and what was left out."""
    notes = list(paired.notes)
    for name, evaluation in zip(paired.names, paired.evaluations, strict=True):
        notes += [f"{name}: {note}" for note in notes_on_model(evaluation)]
    crossed = [
        name
        for name, each in zip(paired.names, paired.evaluations, strict=True)
        if each.cross_fitted is not None
    ]
    if crossed:
        notes.append(f"CP to OF1 are cross-fitted for {', '.join(crossed)}")
    if not paired.resamples:
        notes.append(
            "the differences have no intervals: there are too few images, none has a label, or "
            "there are very many with very many labels"
        )
    return [*notes, *notes_on_labels(paired.evaluations[0])]


def how_tested(paired: PairedEvaluation) -> list[str]:
    """How differences were tested, where they were."""
    return [how_differences(paired), HOW_LABELS] if paired.resamples else []


def how_differences(paired: PairedEvaluation) -> str:
    """How the differences were tested, in a sentence or two."""
    many = len(paired.names) > 2
    holm = f", after Holm's correction for {len(paired.names) - 1} models" if many else ""
    return (
        f"Intervals are of 95 %, from {paired.resamples:,} resamples of the images, the same for "
        f"all models. Better and worse: p < 0.05{holm}."
    )


HOW_LABELS = (
    "More than chance: p < 0.05 after the correction of Benjamini and Hochberg for all labels, so "
    "that of the labels called different about one in twenty is so by chance, or fewer."
)


def paired_to_dict(paired: PairedEvaluation) -> dict[str, Any]:
    """All of it for JSON: scores as fractions 0..1 in full precision, null for NaN."""
    models = [
        {"name": name, "model": model, **to_dict(evaluation)}
        for name, model, evaluation in zip(
            paired.names, paired.models, paired.evaluations, strict=True
        )
    ]
    fields = {
        "data": paired.data,
        "split": paired.split,
        "images": paired.images,
        "labels": paired.labels,
        "resamples": paired.resamples,
        "confidence": CONFIDENCE,
        "models": models,
        "differences": [
            {
                "model": each.name,
                "to": paired.names[0],
                "scores": {key: asdict(score) for key, score in each.scores.items()},
                "labels": [_label_fields(label) for label in each.labels],
                "images": asdict(each.disagreement),
            }
            for each in paired.differences
        ],
        "notes": paired.notes,
        "unreadable": [asdict(each) for each in paired.unreadable],
    }
    plain: dict[str, Any] = _plain(fields)
    return plain


def _label_fields(label: LabelDifference) -> dict[str, Any]:
    return {
        "label": label.label,
        "support": label.support,
        "first": label.first,
        **asdict(label.difference),
        "value": label.value,
        "difference": label.difference.value,
    }


def _plain(value: Any) -> Any:
    """Lists and dictionaries that JSON can hold: NaN becomes null."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
