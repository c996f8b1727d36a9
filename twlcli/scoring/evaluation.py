"""A model's scores on labelled images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from twlcli.images.decoding import Caveat
from twlcli.images.image_file import Failure
from twlcli.inference.scored import ScoredImages
from twlcli.labels import ABSENT, PRESENT
from twlcli.model.decisions import (
    calibration_of,
    decide,
    never_given_note,
    probabilities,
    thresholds_of,
    wish_text,
)
from twlcli.model.spec import ModelSpec
from twlcli.scoring.average_precision import (
    MeanOverLines,
    average_precision_per_image,
    average_precision_per_label,
    mean_over_lines,
    of_labels_with_both,
)
from twlcli.scoring.bootstrap import (
    average_precision_interval,
    interval,
    map_class_interval,
    resample,
    resample_f1,
)
from twlcli.scoring.cross_fit import CrossFitted, cross_fit
from twlcli.scoring.metrics import (
    DecisionScore,
    brier_score,
    calibration_error,
    count_decisions,
    decide_top,
    has_one_label_each,
    score_decisions,
    top_accuracy,
)

_RESAMPLES, _FEWEST_RESAMPLES = 400, 100
_FEWEST_IMAGES = 10  # of fewer a resample says nothing of others
_RESAMPLED_ENTRIES = 1 << 30  # seconds; the intervals of more data are narrow
RANKS = (1, 5)  # of top-k accuracy, as the field reports it
TOP = 3  # labels per image of the second set of decisions, as the field reports it


@dataclass(frozen=True)
class LabelScore:
    """How one label fared.

    Attributes:
        label: its name.
        average_precision: in 0..1; NaN where no image has the label.
        precision: correct / given at the threshold; 0 where no image was given it.
        recall: correct / present at the threshold; 0 where no image has it.
        f1: their harmonic mean.
        support: how many images have the label.
        unknown: for how many images it is unknown; these are left out of the label's scores.
        threshold: the least probability at which it is given.
        interval: the ends of the 95 % interval of its average precision; None where there is none.
    """

    label: str
    average_precision: float
    precision: float
    recall: float
    f1: float
    support: int
    unknown: int
    threshold: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Intervals:
    """Ends of 95 % intervals, in 0..1: what other images of the same kind may show.

    Attributes:
        map_class: of mAP@class.
        map_sample: of mAP@sample.
        class_f1: of CF1 at the thresholds, cross-fitted where they were fitted to the images.
        overall_f1: of OF1, likewise.
    """

    map_class: tuple[float, float]
    map_sample: tuple[float, float]
    class_f1: tuple[float, float]
    overall_f1: tuple[float, float]


@dataclass(frozen=True)
class Evaluation:
    """All scores of a model on some images, in 0..1.

    Attributes:
        images: number of images that were scored.
        unreadable: images that could not be read and are in no score.
        profiles_ignored: images whose colour profile could not be used.
        damaged: images that were read as far as possible.
        threshold: what the decisions were made at: as `thresholds_of` has it, such as `best-f1`.
        map_class: mAP@class, of the logits.
        map_sample: mAP@sample, of the logits.
        at_threshold: scores of the decisions at the thresholds.
        top_accuracy: for each k of `RANKS` below the number of labels, the top-k accuracy of the
            logits; empty where an image has several labels, or none.
        at_top: scores of the decisions for the `TOP` most probable labels of each image.
        brier: Brier score of the calibrated probabilities.
        calibration_error: their expected calibration error.
        labels: the C labels, in the vocabulary's order.
        never_given: which labels no probability reaches the threshold of, in words; or empty.
        trained_on: how many of the images the model was trained on; None where it does not say.
        fitted_on: how many chose its best epoch, calibration and thresholds.
        cross_fitted: decisions and probabilities by what is fitted to other images, where most of
            these are those that the model was fitted to.
        intervals: what other images may show; None of few or very many images.
        notes: what was decided in reading the data.
        data: where they came from, if from a file.
        split: which split of it was scored.
    """

    images: int
    unreadable: tuple[Failure, ...]
    threshold: str
    map_class: MeanOverLines
    map_sample: MeanOverLines
    at_threshold: DecisionScore
    at_top: DecisionScore
    brier: float
    calibration_error: float
    labels: tuple[LabelScore, ...]
    top_accuracy: Mapping[int, float] = field(default_factory=dict)
    never_given: str = ""
    trained_on: int | None = None
    fitted_on: int | None = None
    cross_fitted: CrossFitted | None = None
    intervals: Intervals | None = None
    notes: tuple[str, ...] = ()
    data: str = ""
    split: str = ""
    profiles_ignored: int = 0
    damaged: int = 0

    @property
    def fitted_itself(self) -> bool:
        """Whether calibration and thresholds were fitted to most of these very images."""
        return 2 * (self.fitted_on or 0) > self.images

    @property
    def without_negative(self) -> tuple[str, ...]:
        """The labels that are absent from none of the images, as far as is known, but on some."""
        return tuple(
            row.label for row in self.labels if row.support and math.isnan(row.average_precision)
        )


def check_scorable(spec: ModelSpec, threshold: str | float | None) -> None:
    """Raise what `score` would of the spec and the threshold, before images are read."""
    thresholds_of(spec, threshold)
    calibration_of(spec)


def score(
    scored: ScoredImages, spec: ModelSpec, *, threshold: str | float | None = None
) -> Evaluation:
    """All scores of what a model said of labelled images.

    mAP is that of the logits, as the paper has it; mAP@class leaves out labels without a known
    negative too, which any model ranks rightly. decisions, Brier score and calibration error are
    those of the calibrated probabilities. An unknown label that is among an image's most probable
    takes its place there and is neither right nor wrong.

    Args:
        scored: logits and targets.
        spec: labels, calibration and thresholds.
        threshold: see `decisions.thresholds_of`.

    Raises:
        ModelError: a logit is not finite, or the spec has no calibration or no such thresholds.
        TwlError: the threshold is not understood.
        ValueError: the shapes differ.
    """
    logits, targets = scored.logits, scored.targets
    thresholds, calibration = thresholds_of(spec, threshold), calibration_of(spec)
    by_label = of_labels_with_both(average_precision_per_label(logits, targets), targets)
    by_image = average_precision_per_image(logits, targets)
    certain = probabilities(logits, calibration)
    counts = count_decisions(decide(certain, thresholds), targets)
    columns = (by_label, counts.precision, counts.recall, counts.f1, counts.present, counts.unknown)
    rows = zip(spec.vocabulary, *(c.tolist() for c in (*columns, thresholds)), strict=True)
    return Evaluation(
        images=len(logits),
        unreadable=scored.unreadable,
        threshold=wish_text(threshold),
        map_class=mean_over_lines(by_label),
        map_sample=mean_over_lines(by_image),
        at_threshold=score_decisions(counts),
        at_top=score_decisions(count_decisions(decide_top(certain, TOP), targets)),
        brier=brier_score(certain, targets),
        calibration_error=calibration_error(certain, targets),
        labels=tuple(LabelScore(*row) for row in rows),
        top_accuracy=top_accuracies(scored),
        never_given=never_given_note(spec, threshold),
        profiles_ignored=scored.caveats.get(Caveat.PROFILE_IGNORED, 0),
        damaged=scored.caveats.get(Caveat.DAMAGED, 0),
    )


def with_cross_fit(
    evaluation: Evaluation,
    scored: ScoredImages,
    spec: ModelSpec,
    *,
    threshold: str | float | None = None,
) -> tuple[Evaluation, NDArray[np.bool_]]:
    """An evaluation of `score`, cross-fitted where the model was fitted to it, and its decisions.

    Args:
        evaluation: what `score` gave, with how many images the model was fitted to.
        scored: what it was given.
        spec: likewise.
        threshold: likewise.

    Returns:
        The evaluation, and the decisions (N, C) at the thresholds: those of the cross-fit where
        there is one.
    """
    if evaluation.fitted_itself:
        cross = cross_fit(scored.logits, scored.targets, spec, threshold)
        if cross is not None:
            return replace(evaluation, cross_fitted=cross[0]), cross[1]
    certain = probabilities(scored.logits, calibration_of(spec))
    return evaluation, decide(certain, thresholds_of(spec, threshold))


def resamples_for(targets: NDArray[np.int8], *, most: int = _RESAMPLES) -> int:
    """How many resamples of the images say something within seconds, up to `most`; 0 where none do.

    Args:
        targets: (N, C) of 1 present, 0 absent, -1 unknown.
        most: that are wanted.
    """
    resamples = min(most, _RESAMPLED_ENTRIES // max(1, targets.size))
    few = len(targets) < _FEWEST_IMAGES or resamples < _FEWEST_RESAMPLES
    return 0 if few or not (targets == PRESENT).any() else resamples


def with_intervals(
    evaluation: Evaluation, scored: ScoredImages, decisions: NDArray[np.bool_]
) -> Evaluation:
    """An evaluation of `score` with intervals, where resamples say something.

    Args:
        evaluation: what `with_cross_fit` gave.
        scored: what it was given.
        decisions: as it gave them, (N, C).
    """
    logits, targets = scored.logits, scored.targets
    resamples = resamples_for(targets)
    if not resamples or math.isnan(evaluation.map_class.value):
        return evaluation
    draws = resample(logits, targets, resamples=resamples, seed=0)
    by_class, overall = resample_f1(decisions, targets, resamples=resamples, seed=0)
    intervals = Intervals(
        map_class_interval(draws.map_class, evaluation.map_class.value),
        interval(draws.map_sample),
        interval(by_class),
        interval(overall),
    )
    freedom = np.minimum((targets == PRESENT).sum(axis=0), (targets == ABSENT).sum(axis=0)) - 1
    labels = tuple(
        replace(row, interval=average_precision_interval(row.average_precision, error, degrees))
        for row, error, degrees in zip(
            evaluation.labels, draws.label_errors.tolist(), freedom.tolist(), strict=True
        )
    )
    return replace(evaluation, intervals=intervals, labels=labels)


def map_scores(
    scored: ScoredImages, by_label: NDArray[np.float64] | None = None
) -> dict[str, float]:
    """`map_class` and `map_sample`, in 0..1; NaN where no line can be ranked.

    Args:
        scored: the images.
        by_label: their `average_precision_per_label`, where it is known already.
    """
    logits, targets = scored.logits, scored.targets
    if by_label is None:
        by_label = average_precision_per_label(logits, targets)
    by_image = average_precision_per_image(logits, targets)
    return {
        "map_class": mean_over_lines(of_labels_with_both(by_label, targets)).value,
        "map_sample": mean_over_lines(by_image).value,
    }


def epoch_scores(
    scored: ScoredImages, by_label: NDArray[np.float64] | None = None
) -> dict[str, float]:
    """What is kept of an epoch: `map_scores`; `top_1` and `top_5` where images have one label."""
    accuracies = top_accuracies(scored)
    return map_scores(scored, by_label) | {
        f"top_{rank}": value for rank, value in accuracies.items()
    }


def top_accuracies(scored: ScoredImages) -> dict[int, float]:
    """Top-k accuracy for each k of `RANKS` below the number of labels; see `Evaluation`."""
    if not has_one_label_each(scored.targets):
        return {}
    ranks = [rank for rank in RANKS if rank < scored.targets.shape[1]]
    return {rank: top_accuracy(scored.logits, scored.targets, rank) for rank in ranks}
