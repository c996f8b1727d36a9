"""Which scores and labels of models differ by more than chance: a paired bootstrap over images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twlcli.comparison.statistics import SIGNIFICANT_BELOW
from twlcli.labels import ABSENT, PRESENT, UNKNOWN
from twlcli.model.decisions import calibration_of, probabilities
from twlcli.model.spec import ModelSpec
from twlcli.paired.result import LabelDifference, ScoreDifference
from twlcli.scoring.average_precision import average_precision_per_image, blocks, has_negative
from twlcli.scoring.bootstrap import (
    benjamini_hochberg,
    centred,
    decision_scores,
    draw_counts,
    holm,
    interval,
    student_p,
    student_width,
    two_sided_p,
    weighted_average_precision,
)
from twlcli.scoring.evaluation import RANKS, Evaluation, resamples_for
from twlcli.scoring.metrics import (
    CALIBRATION_BINS,
    decide_top,
    has_one_label_each,
)
from twlcli.scoring.report import FEW_IMAGES

DECISIONS = (
    "class_precision",
    "class_recall",
    "class_f1",
    "overall_precision",
    "overall_recall",
    "overall_f1",
)
_RESAMPLES = 1000  # for the ends of a 95 % interval, as `twl compare` draws
_RESAMPLES_PER_TEST = 40  # the fewest with which anything can be significant after Holm
# Of the draws of mAP@class. Measured on 200 to 1,000 images with 8 to 12 labels of 2 to 20 % of
# them, 300 drawn data sets of each of 28 kinds: the interval then holds the difference of equal
# models in 94 to 98 % of the sets (without it in 91 to 96 %), that of models whose AP is a fifth to
# a half higher in 92 to 98 %, and that of models whose AP is twice as high in 84 to 96 %, where it
# lies too near to 0: few images understate large differences.
_WIDENING = 1.1
_FEWEST = FEW_IMAGES  # images that have a label, and that lack it, for its difference to be tested


@dataclass(frozen=True)
class ScoredModel:
    """What a model said of the N images of all models.

    Attributes:
        logits: of the K labels of all models, (N, K) float32.
        spec: the model's, of these labels.
        evaluation: of them.
        decisions: at its thresholds, cross-fitted where these were fitted to the images, (N, K).
    """

    logits: NDArray[np.float32]
    spec: ModelSpec
    evaluation: Evaluation
    decisions: NDArray[np.bool_]


@dataclass(frozen=True)
class Differences:
    """Of each model but the first, to the first.

    Attributes:
        scores: by their names.
        labels: of the labels that can be ranked, in their order.
        resamples: how many draws the intervals come from; 0 where there are none.
    """

    scores: tuple[dict[str, ScoreDifference], ...]
    labels: tuple[tuple[LabelDifference, ...], ...]
    resamples: int


def scores_of(evaluation: Evaluation) -> dict[str, float]:
    """The scores that models are compared by, in 0..1, as far as there are any.

    Those of decisions are cross-fitted where the thresholds were fitted to the images.
    """
    cross = evaluation.cross_fitted
    decided = evaluation.at_threshold if cross is None else cross.at_threshold
    return {
        "map_class": evaluation.map_class.value,
        "map_sample": evaluation.map_sample.value,
        **{f"top_{rank}": value for rank, value in evaluation.top_accuracy.items()},
        **{name: getattr(decided, name) for name in DECISIONS},
        "brier": evaluation.brier,
        "calibration_error": evaluation.calibration_error,
    }


def compare_models(
    models: Sequence[ScoredModel],
    targets: NDArray[np.int8],
    *,
    resamples: int | None = None,
    seed: int = 0,
) -> Differences:
    """The differences of all scores and of every label's average precision, with their tests.

    Images are drawn with replacement, the same for all models. A score's interval holds the middle
    95 % of its differences, moved so that their mean is the difference itself, and of mAP@class
    widened by a tenth; p is twice the share on the other side of 0, adjusted by Holm for how many
    models are compared with the first.

    A label's interval is its difference ± t standard errors of the draws, and p is that of
    Student's t, with degrees of freedom of the images that have the label, or lack it where these
    are fewer, minus one. Shares of draws would not do: of 1,000, none is below 0.05 after a
    correction for many labels. Labels with fewer than ten such images are not tested. Among labels
    and models p is adjusted by Benjamini and Hochberg: of the labels called different, one in
    twenty at most is expected to be so by chance. Holm's promise, of none at all, would hide most
    real differences of a long vocabulary.

    Measured on equal models (600 labels of 5 to 200 of 200 to 1,000 images, two strengths, scores
    that share 30 or 80 % of their noise): p was below 0.05, 0.01 and 0.001 for at most 4.8, 1.0 and
    0.2 % of the labels. With the normal distribution in the place of t it was for up to 9, 3 and
    0.9 %.

    Args:
        models: at least one; the first is the baseline.
        targets: (N, K) of 1 present, 0 absent, -1 unknown.
        resamples: how many draws. Default: 1,000, or as many as take seconds; 0 for none.
        seed: of the draws.
    """
    enough = max(1, _RESAMPLES_PER_TEST * (len(models) - 1))
    count = resamples_for(targets, most=_RESAMPLES) if resamples is None else resamples
    if count < enough:
        count = 0
    draws = _draws(models, targets, resamples=count, seed=seed) if count else None
    return Differences(
        _score_differences(models, draws), _label_differences(models, targets, draws), count
    )


# --- drawing ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Draws:
    """Scores of each model on every resample, (R,), and standard errors of the labels.

    Attributes:
        scores: of each model, by name.
        errors: of each model but the first, of the difference in average precision, (K,).
    """

    scores: tuple[Mapping[str, NDArray[np.float64]], ...]
    errors: tuple[NDArray[np.float64], ...]


def _draws(
    models: Sequence[ScoredModel], targets: NDArray[np.int8], *, resamples: int, seed: int
) -> _Draws:
    ranked = np.flatnonzero(has_negative(targets))
    rows = [_ImageScores.of(each, targets) for each in models]
    found: list[list[dict[str, NDArray[np.float64]]]] = [[] for _ in models]
    moments = [_Moments.none(targets.shape[1]) for _ in models[1:]]
    for counts in draw_counts(len(targets), resamples=resamples, seed=seed):
        totals = np.zeros((len(models), len(counts)))
        labels = np.zeros(len(counts))
        for column in ranked:
            values = [
                weighted_average_precision(each.logits[:, column], targets[:, column], counts)
                for each in models
            ]
            is_ranked = ~np.isnan(values[0])  # the same for all models: whether a positive is drawn
            labels += is_ranked
            totals += np.nan_to_num(values)
            for moment, value in zip(moments, values[1:], strict=True):
                moment.add(int(column), (value - values[0])[is_ranked])
        with np.errstate(invalid="ignore"):
            by_class = totals / labels
        for each, scores, mean, parts in zip(found, rows, by_class, models, strict=True):
            drawn = scores.on(counts) | _decided(parts.decisions, targets, counts)
            each.append({"map_class": mean} | drawn)
    return _Draws(
        tuple(
            {name: np.concatenate([d[name] for d in each]) for name in each[0]} for each in found
        ),
        tuple(each.deviation() for each in moments),
    )


@dataclass(frozen=True)
class _Moments:
    """Sums of the draws of each label, which its standard deviation is made of; (K,) each."""

    count: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def none(cls, labels: int) -> _Moments:
        return cls(*(np.zeros(labels) for _ in range(3)))

    def add(self, label: int, values: NDArray[np.float64]) -> None:
        """Add draws of a label, by their mean and spread: sums of squares alone cancel out."""
        if not len(values):
            return
        count, total = self.count[label], self.total[label]
        own = float(values.sum())
        self.squares[label] += ((values - own / len(values)) ** 2).sum()
        if count:
            apart = own / len(values) - total / count
            self.squares[label] += apart**2 * count * len(values) / (count + len(values))
        self.count[label] += len(values)
        self.total[label] += own

    def deviation(self) -> NDArray[np.float64]:
        return np.sqrt(self.squares / np.maximum(1, self.count - 1))


@dataclass(frozen=True)
class _ImageScores:
    """What means over images are made of, one row an image.

    Attributes:
        ratios: names of the scores that are a sum over another.
        parts: those sums' parts, (N, 2 * scores).
        bins: of the calibration error: known entries less expected ones, by bin, and known ones.
    """

    ratios: tuple[str, ...]
    parts: NDArray[np.float64]
    bins: NDArray[np.float64]

    @classmethod
    def of(cls, model: ScoredModel, targets: NDArray[np.int8]) -> _ImageScores:
        precision = average_precision_per_image(model.logits, targets)
        columns = [np.nan_to_num(precision), (~np.isnan(precision)).astype(np.float64)]
        names = ["map_sample"]
        if has_one_label_each(targets):
            for rank in (rank for rank in RANKS if rank < targets.shape[1]):
                hits = (decide_top(model.logits, rank) & (targets == PRESENT)).any(axis=1)
                columns += [hits.astype(np.float64), np.ones(len(targets))]
                names.append(f"top_{rank}")
        squares, known, bins = _calibration_parts(model, targets)
        return cls((*names, "brier"), np.stack([*columns, squares, known], axis=1), bins)

    def on(self, counts: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
        """The scores on each of R resamples."""
        sums, bins = (_weighted(counts, each) for each in (self.parts, self.bins))
        known = sums[:, -1]
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = sums[:, 0::2] / sums[:, 1::2]
            error = np.abs(bins).sum(axis=1) / known
        return dict(zip(self.ratios, ratios.T, strict=True)) | {"calibration_error": error}


def _calibration_parts(
    model: ScoredModel, targets: NDArray[np.int8]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of each image: its sum of squares (N,), known entries (N,), and gap in each bin (N, bins)."""
    squares, known = np.zeros(len(targets)), np.zeros(len(targets))
    bins = np.zeros((len(targets), CALIBRATION_BINS))
    calibration = calibration_of(model.spec)
    for block in blocks(*targets.shape):
        is_known = targets[block] != UNKNOWN
        certain = probabilities(model.logits[block], calibration).astype(np.float64)
        gap = np.where(is_known, targets[block] - certain, 0.0)
        squares[block] = (gap * gap).sum(axis=1)
        known[block] = is_known.sum(axis=1)
        place = np.minimum((certain * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
        place += CALIBRATION_BINS * np.arange(len(certain))[:, None]
        summed = np.bincount(
            place.ravel(), weights=gap.ravel(), minlength=len(certain) * CALIBRATION_BINS
        )
        bins[block] = summed.reshape(-1, CALIBRATION_BINS)
    return squares, known, bins


def _decided(
    decisions: NDArray[np.bool_], targets: NDArray[np.int8], counts: NDArray[np.uint8]
) -> dict[str, NDArray[np.float64]]:
    given, present = decisions & (targets != UNKNOWN), targets == PRESENT
    sums = (_weighted(counts, each) for each in (given & present, given, present))
    return dict(zip(DECISIONS, decision_scores(*sums).T, strict=True))


def _weighted(counts: NDArray[np.uint8], parts: NDArray[np.generic]) -> NDArray[np.float64]:
    """The sums (R, F) of parts (N, F) over the images that each resample (R, N) draws."""
    # Sums of bools stay below 2**24, which float32 holds exactly.
    kind = np.float32 if parts.dtype == np.bool_ else np.float64
    result = np.zeros((len(counts), parts.shape[1]))
    for block in blocks(len(parts), max(len(counts), parts.shape[1])):
        result += counts[:, block].astype(kind) @ parts[block].astype(kind)
    return result


# --- what the draws tell ------------------------------------------------------------------------


def _score_differences(
    models: Sequence[ScoredModel], draws: _Draws | None
) -> tuple[dict[str, ScoreDifference], ...]:
    first, *others = (scores_of(each.evaluation) for each in models)
    found = [
        {name: _difference(name, first, other, draws, place) for name in first}
        for place, other in enumerate(others, start=1)
    ]
    for name in first:
        tested = [each for each in found if each[name].p is not None]
        adjusted = holm([each[name].p or 0.0 for each in tested])
        for each, p in zip(tested, adjusted, strict=True):
            each[name] = _adjusted(each[name], p)
    return tuple(found)


def _difference(
    name: str,
    first: Mapping[str, float],
    other: Mapping[str, float],
    draws: _Draws | None,
    place: int,
) -> ScoreDifference:
    value = other[name] - first[name]
    if draws is None or math.isnan(value):
        return ScoreDifference(value)
    drawn = centred(draws.scores[place][name], other[name])
    drawn = drawn - centred(draws.scores[0][name], first[name])
    if name == "map_class":
        drawn = value + _WIDENING * (drawn - value)
    return ScoreDifference(value, *interval(drawn), two_sided_p(drawn))


def _adjusted(difference: ScoreDifference, p: float) -> ScoreDifference:
    return replace(difference, adjusted_p=p, significant=p < SIGNIFICANT_BELOW)


def _label_differences(
    models: Sequence[ScoredModel], targets: NDArray[np.int8], draws: _Draws | None
) -> tuple[tuple[LabelDifference, ...], ...]:
    freedom = np.minimum((targets == PRESENT).sum(axis=0), (targets == ABSENT).sum(axis=0)) - 1
    found = [
        [
            _label_difference(models, place, column, freedom=int(freedom[column]), draws=draws)
            for column in _ranked(models[0].evaluation)
        ]
        for place in range(1, len(models))
    ]
    tested = [
        (each, row)
        for each in found
        for row, label in enumerate(each)
        if label.difference.p is not None
    ]
    p_values = np.array([each[row].difference.p for each, row in tested], dtype=np.float64)
    for (each, row), p in zip(tested, benjamini_hochberg(p_values).tolist(), strict=True):
        each[row] = replace(each[row], difference=_adjusted(each[row].difference, p))
    return tuple(map(tuple, found))


def _ranked(evaluation: Evaluation) -> Iterator[int]:
    """The columns of the labels with an average precision, the same for all models."""
    for column, label in enumerate(evaluation.labels):
        if not math.isnan(label.average_precision):
            yield column


def _label_difference(
    models: Sequence[ScoredModel],
    place: int,
    column: int,
    *,
    freedom: int,
    draws: _Draws | None,
) -> LabelDifference:
    first, own = (models[each].evaluation.labels[column] for each in (0, place))
    value = own.average_precision - first.average_precision
    difference = ScoreDifference(value)
    if draws is not None and freedom + 1 >= _FEWEST:
        error = float(draws.errors[place - 1][column])
        width = error * student_width(freedom)
        p = student_p(value / error, freedom) if error else 1.0
        difference = ScoreDifference(value, value - width, value + width, p)
    return LabelDifference(
        own.label, own.support, first.average_precision, own.average_precision, difference
    )
