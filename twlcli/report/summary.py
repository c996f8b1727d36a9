"""An evaluation at a glance: what was scored, the scores, and what to bear in mind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from twlcli.report.evaluated import Evaluated
from twlcli.report.shown_names import shown
from twlcli.runs.seen import sizes_of
from twlcli.scoring.evaluation import TOP, Evaluation
from twlcli.scoring.metrics import CALIBRATION_BINS
from twlcli.scoring.report import ends, notes_on, over_lines, percent

_LONG = 600  # characters of a sentence that may list names


@dataclass(frozen=True)
class Score:
    """A score with its name, its value in percent and what it runs over."""

    name: str
    value: str
    remark: str


@dataclass(frozen=True)
class Decisions:
    """CP, CR, CF1, OP, OR and OF1 in percent; and intervals of CF1 and OF1, or nothing."""

    name: str
    values: tuple[str, ...]
    intervals: tuple[str, str] | None = None


@dataclass(frozen=True)
class Summary:
    """All of it, as text.

    Attributes:
        title: of the page.
        facts: what was scored.
        scores: mAP and calibration.
        decisions: precision, recall and F1 of each way to decide.
        origin: what the model was trained on, and calibration and thresholds fitted to.
        notes: what to bear in mind.
        unreadable: name and reason of each image that could not be read.
    """

    title: str
    facts: Mapping[str, str]
    scores: tuple[Score, ...]
    decisions: tuple[Decisions, ...]
    origin: str
    notes: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]


def summary_of(evaluated: Evaluated) -> Summary:
    """The summary of an evaluation."""
    evaluation = evaluated.evaluation
    positives = sum(row.support for row in evaluation.labels)
    have = sum(row.support > 0 for row in evaluation.labels)
    labels = f"{len(evaluation.labels):,}"
    if have < len(evaluation.labels):
        labels += f", of which {have:,} are in these images"
    facts = {
        "model": shown(evaluated.model),
        "data": shown(evaluation.data),
        "split": shown(evaluation.split),
        "images": f"{evaluation.images:,}, with {positives / evaluation.images:.2f} labels each",
        "labels": labels,
        "thresholds": evaluation.threshold,
    }
    return Summary(
        f"{shown(evaluated.model, 80)} on {shown(evaluation.data, 80)}",
        facts,
        _scores(evaluation),
        _decisions(evaluation),
        origin_of(evaluated.spec.provenance),
        tuple(shown(each, _LONG) for each in (*notes_on(evaluation), *_caveats(evaluation))),
        tuple((shown(each.image), shown(each.reason)) for each in evaluation.unreadable),
    )


def origin_of(provenance: Mapping[str, Any]) -> str:
    """What a model says of the images that it has seen, as a sentence or two.

    Example:
        >>> origin_of({})
        'The model does not say which images it was trained on and fitted to.'
    """
    sizes = sizes_of(provenance)
    if sizes.training is None or sizes.fitted is None:
        return "The model does not say which images it was trained on and fitted to."
    crossed = provenance.get("cross_validation")
    same = sizes.training == sizes.fitted
    if same and isinstance(crossed, Mapping) and isinstance(crossed.get("folds"), int):
        return (
            f"The model was trained on {sizes.training:,} images. Its calibration and thresholds "
            f"were fitted to them too, each scored by one of {crossed['folds']:,} heads that had "
            "not seen it."
        )
    return (
        f"The model was trained on {sizes.training:,} images. Its best epoch, calibration and "
        f"thresholds were chosen on {sizes.fitted:,} images."
    )


def _scores(evaluation: Evaluation) -> tuple[Score, ...]:
    between = evaluation.intervals
    by_class, by_sample = evaluation.map_class, evaluation.map_sample
    return (
        Score(
            "mAP@class",
            percent(by_class.value),
            over_lines(by_class, "labels", between.map_class if between else None),
        ),
        Score(
            "mAP@sample",
            percent(by_sample.value),
            over_lines(by_sample, "images", between.map_sample if between else None),
        ),
        Score("Brier", percent(evaluation.brier), "of the probabilities; 0 is best"),
        Score(
            "calibration error",
            percent(evaluation.calibration_error),
            f"expected, over {CALIBRATION_BINS} bins; 0 is best",
        ),
    )


def _decisions(evaluation: Evaluation) -> tuple[Decisions, ...]:
    scored = [(f"threshold {evaluation.threshold}", evaluation.at_threshold)]
    if evaluation.cross_fitted is not None:
        scored.append(("cross-fitted", evaluation.cross_fitted.at_threshold))
    between = evaluation.intervals
    last = len(scored) - 1  # that the intervals are of
    found = [
        Decisions(
            name,
            tuple(map(percent, astuple(score))),
            (ends(between.class_f1), ends(between.overall_f1))
            if between is not None and place == last
            else None,
        )
        for place, (name, score) in enumerate(scored)
    ]
    top = Decisions(f"top {TOP}", tuple(map(percent, astuple(evaluation.at_top))))
    return (*found, top)


def _caveats(evaluation: Evaluation) -> list[str]:
    notes = []
    if evaluation.damaged:
        notes.append(f"{evaluation.damaged:,} damaged images were read as far as possible")
    if evaluation.profiles_ignored:
        notes.append(
            f"{evaluation.profiles_ignored:,} images were read without their colour profile, which "
            "is damaged or does not fit"
        )
    return notes
