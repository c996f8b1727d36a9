"""Several trainings scored on the same images: which is best, and which differences are real."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twlcli.comparison.result import Candidate, common_seeds
from twlcli.errors import TwlError
from twlcli.labels import PRESENT
from twlcli.scoring.average_precision import (
    average_precision_per_image,
    average_precision_per_label,
    mean_over_lines,
)
from twlcli.scoring.bootstrap import (
    centred,
    draw_seeds,
    holm,
    interval,
    over_seeds,
    resample,
    two_sided_p,
)

REAL_BELOW = 0.05  # adjusted p
_FEWEST_RESAMPLES = 1000  # for the ends of a 95 % interval
_RESAMPLES_PER_PAIR = 100  # 40 are the fewest with which anything can be real


@dataclass(frozen=True)
class Spread:
    """A score over seeds, 0..1: of each seed, mean, standard deviation, 95 % interval of the mean.

    The deviation divides by S - 1; None for one seed.
    """

    values: tuple[float, ...]
    mean: float
    std: float | None
    low: float
    high: float


@dataclass(frozen=True)
class Result:
    """What a candidate reached; `label_mean` and `label_std` are average precision, (C,)."""

    candidate: Candidate
    map_class: Spread
    map_sample: Spread
    label_mean: NDArray[np.float64]
    label_std: NDArray[np.float64] | None


@dataclass(frozen=True)
class Gap:
    """A difference of two seed-means, -1..1.

    Attributes:
        value: the difference.
        low: the lower end of the 95 % interval.
        high: the upper end.
        p: two-sided, of this pair alone.
        adjusted_p: after Holm's correction for all pairs.
        real: `adjusted_p` is below 0.05.
    """

    value: float
    low: float
    high: float
    p: float
    adjusted_p: float = math.nan
    real: bool = False


@dataclass(frozen=True)
class Difference:
    """Of the candidates named, `first` minus `second`; `first` has the better mAP@class."""

    first: str
    second: str
    map_class: Gap
    map_sample: Gap


@dataclass(frozen=True)
class Comparison:
    """Everything a report says.

    Attributes:
        results: the best mAP@class first.
        differences: of all pairs, in the order of the results.
        labels: the C names.
        support: how many images have each.
        images: how many were scored.
        seeds: of the runs, ascending.
        resamples: how many draws the intervals come from.
    """

    results: tuple[Result, ...]
    differences: tuple[Difference, ...]
    labels: tuple[str, ...]
    support: tuple[int, ...]
    images: int
    seeds: tuple[int, ...]
    resamples: int

    def to_best(self, name: str) -> Difference | None:
        """The best minus the candidate of that name; None for the best itself."""
        best = self.results[0].candidate.name
        pairs = ((each.first, each.second) for each in self.differences)
        return dict(zip(pairs, self.differences, strict=True)).get((best, name))


def compare(
    candidates: Sequence[Candidate],
    targets: NDArray[np.int8],
    labels: Sequence[str],
    *,
    resamples: int | None = None,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Comparison:
    """Score all runs and find which differences between candidates are real.

    Images and seeds are drawn with replacement, and for both candidates of a pair the same images
    and the same seeds: runs of one seed begin with the same weights and see the same order. The
    interval of a difference holds the middle 95 % of its draws, which are first moved so that their
    mean is the difference itself; p is twice the share of draws on the other side of 0, adjusted by
    Holm for all pairs of candidates.

    What it can tell: whether a difference would survive other validation images. What it cannot:
    with one seed, anything about seeds; with two or three, how often training by chance favours
    one side, as so few cannot show how widely they spread. Of equal candidates it calls real,
    instead of 5 %, where seeds move the mean difference half as much as images do, 6 % with two
    and with three seeds; as much as images do, 9 % and 7 %; twice as much, 15 % and 13 %
    (simulated with normal noise). It knows nothing of another split of the data or another recipe.

    Args:
        candidates: at least one; their logits have the shape of `targets`.
        targets: (N, C) of 1 present, 0 absent, -1 unknown.
        labels: the C names.
        resamples: how many draws. Default: 100 for each pair, at least 1,000.
        seed: of the draws.
        progress: called with 1 after each run.

    Raises:
        TwlError: no candidate, one name or seed twice, seeds that differ between candidates,
            no image with a label, or too few resamples to show that anything is real.
        ModelError: a logit is not finite.
        ValueError: the shapes differ.
    """
    seeds = common_seeds(candidates)
    if targets.shape[1] != len(labels):
        raise ValueError(f"{targets.shape[1]} columns of targets and {len(labels)} labels")
    support = (targets == PRESENT).sum(axis=0)
    if not support.any():
        raise TwlError("no image has a label that is known to be present; nothing can be compared")
    pairs = math.comb(len(candidates), 2)
    count = _enough_resamples(pairs) if resamples is None else resamples
    if count < 40 * pairs:
        raise TwlError(
            f"{count} resamples cannot show any of {pairs} differences to be real; "
            f"at least {40 * pairs} can"
        )
    weights = draw_seeds(len(seeds), resamples=count, seed=seed)
    scored = [
        _scored(each, seeds, targets, weights, resamples=count, seed=seed, progress=progress)
        for each in candidates
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


def _enough_resamples(pairs: int) -> int:
    return max(_FEWEST_RESAMPLES, _RESAMPLES_PER_PAIR * pairs)


def _scored(
    candidate: Candidate,
    seeds: tuple[int, ...],
    targets: NDArray[np.int8],
    weights: NDArray[np.float64],
    *,
    resamples: int,
    seed: int,
    progress: Callable[[int], None],
) -> _Scored:
    runs = {run.seed: run.logits for run in candidate.runs}
    per_label, by_sample, draws = [], [], []
    for each in seeds:
        per_label.append(average_precision_per_label(runs[each], targets))
        by_sample.append(mean_over_lines(average_precision_per_image(runs[each], targets)).value)
        draws.append(resample(runs[each], targets, resamples=resamples, seed=seed))
        progress(1)
    by_class = [mean_over_lines(each).value for each in per_label]
    class_draws = over_seeds(np.stack([each.map_class for each in draws]), weights)
    class_draws = centred(class_draws, float(np.mean(by_class)))
    sample_draws = over_seeds(np.stack([each.map_sample for each in draws]), weights)
    sample_draws = centred(sample_draws, float(np.mean(by_sample)))
    result = Result(
        candidate,
        _spread(by_class, class_draws),
        _spread(by_sample, sample_draws),
        np.mean(per_label, axis=0),
        np.std(per_label, axis=0, ddof=1) if len(seeds) > 1 else None,
    )
    return _Scored(result, class_draws, sample_draws)


def _spread(values: Sequence[float], draws: NDArray[np.float64]) -> Spread:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(tuple(values), float(np.mean(values)), std, *interval(draws))


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
        Difference(a.result.candidate.name, b.result.candidate.name, *gaps)
        for (a, b), *gaps in zip(pairs, _adjusted(by_class), _adjusted(by_sample), strict=True)
    )


def _gap(first: Spread, second: Spread, draws: NDArray[np.float64]) -> Gap:
    return Gap(first.mean - second.mean, *interval(draws), two_sided_p(draws))


def _adjusted(gaps: Sequence[Gap]) -> list[Gap]:
    return [
        replace(gap, adjusted_p=p, real=p < REAL_BELOW)
        for gap, p in zip(gaps, holm([gap.p for gap in gaps]), strict=True)
    ]
