"""What trainings left, and what a comparison of them found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twlcli.comparison.plan import Candidate
from twlcli.errors import TwlError

History = tuple[Mapping[str, Any], ...]  # a record of `metrics.jsonl` for each epoch


@dataclass(frozen=True)
class RunScores:
    """One run: its seed, its logits (N, C) on the validation images, and its history."""

    seed: int
    logits: NDArray[np.float32]
    history: History = ()


@dataclass(frozen=True)
class Trained:
    """A candidate with its runs.

    Attributes:
        candidate: what was trained.
        chosen: the learning rate of its runs; of a frozen backbone the penalty.
        runs: with the same seeds for every candidate.
        tried: learning rates or penalties and their mAP@class on held-out training images, 0..1;
            NaN where training diverged; empty where none were tried.
    """

    candidate: Candidate
    chosen: float
    runs: tuple[RunScores, ...]
    tried: tuple[tuple[float, float], ...] = ()


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
    """What a candidate reached.

    Attributes:
        candidate: which.
        chosen: as `Trained` has it.
        tried: as `Trained` has them.
        histories: of its runs, in the order of the comparison's seeds.
        map_class: mAP@class, with the values in the same order.
        map_sample: mAP@sample.
        label_mean: average precision of each label, (C,); NaN where no image has it.
        label_std: its standard deviation over seeds, (C,); None for one seed.
    """

    candidate: Candidate
    chosen: float
    tried: tuple[tuple[float, float], ...]
    histories: tuple[History, ...]
    map_class: Spread
    map_sample: Spread
    label_mean: NDArray[np.float64]
    label_std: NDArray[np.float64] | None

    @property
    def name(self) -> str:
        """The candidate's."""
        return self.candidate.name


@dataclass(frozen=True)
class Gap:
    """A difference of two seed-means, -1..1.

    Attributes:
        value: the difference.
        low: the lower end of the 95 % interval.
        high: the upper end.
        p: two-sided, of this pair alone.
        adjusted_p: after Holm's correction for all pairs.
        significant: `adjusted_p` is below 0.05.
    """

    value: float
    low: float
    high: float
    p: float
    adjusted_p: float = float("nan")
    significant: bool = False


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

    @property
    def is_frozen(self) -> bool:
        """Whether heads of a frozen backbone are compared, each with a penalty of its own."""
        return self.results[0].candidate.recipe.model.frozen

    @property
    def tuned(self) -> str:
        """What each candidate has its own of."""
        return "penalty" if self.is_frozen else "learning rate"

    def to_best(self, name: str) -> Difference | None:
        """The best minus the candidate of that name; None for the best itself."""
        pairs = ((each.first, each.second) for each in self.differences)
        return dict(zip(pairs, self.differences, strict=True)).get((self.results[0].name, name))


def common_seeds(trained: Sequence[Trained]) -> tuple[int, ...]:
    """The seeds that every candidate has, ascending.

    Raises:
        TwlError: no candidate, one name or seed twice, or seeds that differ.
    """
    if not trained:
        raise TwlError("there is nothing to compare")
    names = [each.candidate.name for each in trained]
    for place, (name, each) in enumerate(zip(names, trained, strict=True)):
        seeds = sorted(run.seed for run in each.runs)
        if name in names[:place]:
            raise TwlError(f"{name}: two candidates have this name")
        if not seeds or len(set(seeds)) < len(seeds):
            raise TwlError(f"{name}: has the seeds {seeds}; expected each once, at least one")
        if place == 0:
            expected = seeds
        elif seeds != expected:
            raise TwlError(
                f"{name}: has the seeds {seeds}, but {names[0]} has {expected}; "
                "only runs of the same seeds can be compared"
            )
    return tuple(expected)
