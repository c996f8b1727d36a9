"""An evaluation at a glance: what was scored, the scores, and what to bear in mind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twlcli.pages.shown_names import shown
from twlcli.report.evaluated import Evaluated
from twlcli.runs.seen import sizes_of
from twlcli.scoring.evaluation import Evaluation
from twlcli.scoring.report import (
    DecisionRow,
    SummaryRow,
    decision_rows,
    notes_on,
    summary_rows,
)

_LONG = 600  # characters of a sentence that may list names


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
    scores: tuple[SummaryRow, ...]
    decisions: tuple[DecisionRow, ...]
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
        summary_rows(evaluation),
        decision_rows(evaluation),
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
