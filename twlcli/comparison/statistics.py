"""Runs scored on the same images: which is best, and which differences are significant."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twlcli.comparison.result import (
    Comparison,
    Difference,
    Gap,
    Result,
    Spread,
    Trained,
    common_seeds,
)
from twlcli.errors import TwlError
from twlcli.labels import PRESENT
from twlcli.scoring.average_precision import (
    average_precision_per_image,
    average_precision_per_label,
    mean_over_lines,
    of_labels_with_both,
)
from twlcli.scoring.bootstrap import (
    centred,
    draw_seeds,
    holm,
    interval,
    map_class_interval,
    over_seeds,
    resample,
    two_sided_p,
)

SIGNIFICANT_BELOW = 0.05  # adjusted p
_FEWEST_RESAMPLES = 1000  # for the ends of a 95 % interval
_RESAMPLES_PER_PAIR = 100  # 40 are the fewest with which anything can be significant


def compare_scores(
    trained: Sequence[Trained],
    targets: NDArray[np.int8],
    labels: Sequence[str],
    *,
    resamples: int | None = None,
    seed: int = 0,
    progress: Callable[[int], None] = lambda runs: None,
) -> Comparison:
    """Score all runs and find which differences between candidates are significant.

    Images and seeds are drawn with replacement, and for both candidates of a pair the same images
    and the same seeds: runs of one seed begin with the same weights and see the same order. The
    interval of a difference holds the middle 95 % of its draws, which are first moved so that their
    mean is the difference itself; p is twice the share of draws on the other side of 0, adjusted by
    Holm for all pairs of candidates.

    The test asks whether a difference would hold on other validation images. One seed says nothing
    about the spread between seeds, two or three say little, and no number of them says anything
    about another split of the data or another recipe. False positives among equal candidates,
    nominally 5 % (simulated with normal noise), where seeds

    move the mean difference    with 2 seeds    with 3 seeds
    half as much as images          6 %             6 %
    as much as images               9 %             7 %
    twice as much                  15 %            13 %

    Args:
        trained: at least one; their logits have the shape of `targets`.
        targets: (N, C) of 1 present, 0 absent, -1 unknown.
        labels: the C names.
        resamples: how many draws. Default: 100 for each pair, at least 1,000.
        seed: of the draws.
        progress: told how many more runs are done.

    Raises:
        TwlError: no candidate, one name or seed twice, seeds that differ between candidates,
            no image with a label, or too few resamples to show that anything is significant.
        ModelError: a logit is not finite.
        ValueError: the shapes differ.
    """
    seeds = common_seeds(trained)
    if targets.shape[1] != len(labels):
        raise ValueError(f"{targets.shape[1]} columns of targets and {len(labels)} labels")
    support = (targets == PRESENT).sum(axis=0)
    if not support.any():
        raise TwlError("no image has a label that is known to be present; nothing can be compared")
    count = enough_resamples(len(trained), resamples)
    weights = draw_seeds(len(seeds), resamples=count, seed=seed)
    scored = [
        _scored(each, seeds, targets, weights, resamples=count, seed=seed, progress=progress)
        for each in trained
    ]
    scored.sort(key=lambda each: -each.result.map_class.mean)
    return Comparison(
        results=tuple(each.result for each in scored),
        differences=_differences(scored),
        labels=tuple(labels),
        support=tuple(support.tolist()),
        images=len(targets),
        seeds=seeds,
        resamples=count,
    )


@dataclass(frozen=True)
class _Scored:
    """A result, and both mAP averaged over seeds on every resample, (R,)."""

    result: Result
    class_draws: NDArray[np.float64]
    sample_draws: NDArray[np.float64]


def enough_resamples(candidates: int, resamples: int | None) -> int:
    """How many resamples to draw.

    Raises:
        TwlError: those asked for are too few to show any difference to be significant.
    """
    pairs = math.comb(candidates, 2)
    if resamples is None:
        return max(_FEWEST_RESAMPLES, _RESAMPLES_PER_PAIR * pairs)
    if resamples < 40 * pairs:
        raise TwlError(
            f"{resamples} resamples cannot show any of {pairs} differences to be significant; "
            f"at least {40 * pairs} can"
        )
    return resamples


def _scored(
    trained: Trained,
    seeds: tuple[int, ...],
    targets: NDArray[np.int8],
    weights: NDArray[np.float64],
    *,
    resamples: int,
    seed: int,
    progress: Callable[[int], None],
) -> _Scored:
    runs = {run.seed: run for run in trained.runs}
    per_label, by_sample, draws = [], [], []
    for each in seeds:
        logits = runs[each].logits
        by_label = average_precision_per_label(logits, targets)
        per_label.append(of_labels_with_both(by_label, targets))
        by_sample.append(mean_over_lines(average_precision_per_image(logits, targets)).value)
        draws.append(resample(logits, targets, resamples=resamples, seed=seed))
        progress(1)
    by_class = [mean_over_lines(each).value for each in per_label]
    raw_draws = over_seeds(np.stack([each.map_class for each in draws]), weights)
    class_draws = centred(raw_draws, float(np.mean(by_class)))
    sample_draws = over_seeds(np.stack([each.map_sample for each in draws]), weights)
    sample_draws = centred(sample_draws, float(np.mean(by_sample)))
    result = Result(
        trained.candidate,
        trained.chosen,
        trained.tried,
        tuple(runs[each].history for each in seeds),
        _spread(by_class, map_class_interval(raw_draws, float(np.mean(by_class)))),
        _spread(by_sample, interval(sample_draws)),
        np.mean(per_label, axis=0),
        np.std(per_label, axis=0, ddof=1) if len(seeds) > 1 else None,
    )
    return _Scored(result, class_draws, sample_draws)


def _spread(values: Sequence[float], ends: tuple[float, float]) -> Spread:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(tuple(values), float(np.mean(values)), std, *ends)


def _differences(scored: Sequence[_Scored]) -> tuple[Difference, ...]:
    pairs = list(itertools.combinations(scored, 2))
    by_class = [
        _gap(a.result.map_class, b.result.map_class, a.class_draws - b.class_draws)
        for a, b in pairs
    ]
    by_sample = [
        _gap(a.result.map_sample, b.result.map_sample, a.sample_draws - b.sample_draws)
        for a, b in pairs
    ]
    return tuple(
        Difference(a.result.name, b.result.name, *gaps)
        for (a, b), *gaps in zip(pairs, _adjusted(by_class), _adjusted(by_sample), strict=True)
    )


def _gap(first: Spread, second: Spread, draws: NDArray[np.float64]) -> Gap:
    return Gap(first.mean - second.mean, *interval(draws), two_sided_p(draws))


def _adjusted(gaps: Sequence[Gap]) -> list[Gap]:
    return [
        replace(gap, adjusted_p=p, significant=p < SIGNIFICANT_BELOW)
        for gap, p in zip(gaps, holm([gap.p for gap in gaps]), strict=True)
    ]
