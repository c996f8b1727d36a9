"""Which scores and labels of models differ by more than chance: a paired bootstrap over images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twlcli.comparison.statistics import SIGNIFICANT_BELOW
from twlcli.labels import ABSENT, PRESENT
from twlcli.paired.draws import DECISIONS, Draws, ScoredModel, draws_of
from twlcli.paired.result import LabelDifference, ScoreDifference
from twlcli.scoring.bootstrap import (
    benjamini_hochberg,
    centred,
    holm,
    interval,
    student_p,
    student_width,
    two_sided_p,
)
from twlcli.scoring.evaluation import Evaluation, resamples_for
from twlcli.scoring.report import FEW_IMAGES

_RESAMPLES = 1000  # for the ends of a 95 % interval, as `twl compare` draws
_RESAMPLES_PER_TEST = 40  # the fewest with which anything can be significant after Holm
# Of the draws of mAP@class. Measured on 200 to 1,000 images with 8 to 12 labels of 2 to 20 % of
# them, 300 drawn data sets of each of 36 kinds: the interval then holds the difference of equal
# models in 94 to 98 % of the sets (without it in 91 to 96 %) and one of 0.1 to 0.3 in 92 to 98 %
# (89 to 96 %). One of 0.4 to 0.5 it holds in 84 to 95 %, and else lies too near to 0: few images
# understate large differences.
_WIDENING = 1.1
_FEWEST = FEW_IMAGES  # images that have a label, and that lack it, for its difference to be tested


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
    0.9 %. Intervals of single labels held the difference in 92 to 98 % of the data sets.

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
    draws = draws_of(models, targets, resamples=count, seed=seed) if count else None
    return Differences(
        _score_differences(models, draws), _label_differences(models, targets, draws), count
    )


def _score_differences(
    models: Sequence[ScoredModel], draws: Draws | None
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
    draws: Draws | None,
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
    models: Sequence[ScoredModel], targets: NDArray[np.int8], draws: Draws | None
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
    draws: Draws | None,
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
