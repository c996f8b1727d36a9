"""What is compared: trainings that differ in one thing, each with several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import TwlError


@dataclass(frozen=True)
class RunScores:
    """One training: its seed, its logits (N, C), and one record with `loss` for each epoch."""

    seed: int
    logits: NDArray[np.float32]
    history: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Candidate:
    """One of the things compared.

    Attributes:
        name: of its own.
        loss: the name of its loss, and `options` of that.
        learning_rate: of its runs.
        runs: with the same seeds for every candidate.
        rates: learning rates tried and their mAP@class on held-out training images, 0..1; NaN
            where training diverged; empty where none were tried.
    """

    name: str
    loss: str
    options: Mapping[str, float | bool | str | None]
    learning_rate: float
    runs: tuple[RunScores, ...]
    rates: tuple[tuple[float, float], ...] = ()


def common_seeds(candidates: Sequence[Candidate]) -> tuple[int, ...]:
    """The seeds that every candidate has, ascending.

    Raises:
        TwlError: no candidate, one name or seed twice, or seeds that differ.
    """
    if not candidates:
        raise TwlError("there is nothing to compare")
    names = [each.name for each in candidates]
    for place, each in enumerate(candidates):
        seeds = sorted(run.seed for run in each.runs)
        if each.name in names[:place]:
            raise TwlError(f"{each.name}: two candidates have this name")
        if not seeds or len(set(seeds)) < len(seeds):
            raise TwlError(f"{each.name}: has the seeds {seeds}; expected each once, at least one")
        if place == 0:
            expected = seeds
        elif seeds != expected:
            raise TwlError(
                f"{each.name}: has the seeds {seeds}, but {names[0]} has {expected}; "
                "only runs of the same seeds can be compared"
            )
    return tuple(expected)
