"""What a comparison compares, and what came out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twlcli.comparison.result import Candidate, RunScores
from twlcli.errors import RecipeError, TwlError
from twlcli.recipe import Recipe
from twlcli.runs.run_folder import Run

SCORES_NAME = "scores.npz"  # in a finished run's folder
# What a comparison sets itself; scores on other data could not be compared.
_NOT_COMPARED = ("data.", "train.seed", "optimizer.learning_rate", "schedule.validate_every")


@dataclass(frozen=True)
class Contender:
    """One of the things compared: a name, and its recipe without seed and learning rate."""

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class Contest:
    """What is compared, and where.

    Attributes:
        folder: of the comparison.
        contenders: what is compared.
        seeds: of the runs of each.
        rate: one learning rate for all; None chooses each its own.
    """

    folder: Path
    contenders: tuple[Contender, ...]
    seeds: tuple[int, ...]
    rate: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What came out for one contender.

    Attributes:
        contender: which.
        learning_rate: of its runs.
        rates: the rates tried and their mAP@class on held-out training images; NaN diverged.
        runs: the finished runs, in the order of the seeds.
    """

    contender: Contender
    learning_rate: float
    rates: tuple[tuple[float, float], ...]
    runs: tuple[Run, ...]


def contenders_of(
    base: Recipe, losses: Sequence[str], grid: Mapping[str, Sequence[str]]
) -> tuple[Contender, ...]:
    """Every loss with every combination of the grid's settings that it takes.

    Args:
        base: the recipe of all.
        losses: names in `LOSS_NAMES`; the base's own loss keeps the base's options.
        grid: values, as `--set` takes them, by `section.key`. An option of a loss is left out
            where another loss has none of that name.

    Raises:
        RecipeError: an unknown loss or key, a value that does not fit, or an option
            that no loss has, or that a comparison sets itself.
    """
    for key in grid:
        if key.startswith(_NOT_COMPARED):
            raise RecipeError(
                f"--grid {key}: a comparison has the same data, seeds and rule for all"
            )
    contenders: dict[str, Contender] = {}
    used: set[str] = set()
    for loss in losses:
        recipe = base.with_values({"loss": {"name": loss}})
        options = {f"loss.{option}" for option in recipe.loss.options}
        keys = [key for key in grid if not key.startswith("loss.") or key in options]
        used |= set(keys)
        for values in itertools.product(*(grid[key] for key in keys)):
            settings = [f"{key}={value}" for key, value in zip(keys, values, strict=True)]
            short = [setting.partition(".")[2] for setting in settings]
            name = " ".join([loss, *short])
            contenders[name] = Contender(name, recipe.with_settings(settings))
    for key in grid:
        if key not in used:
            raise RecipeError(f"--grid {key}: none of the losses {', '.join(losses)} has it")
    return tuple(contenders.values())


def scored(
    contest: Contest, outcomes: Sequence[Outcome]
) -> tuple[tuple[Candidate, ...], NDArray[np.int8]]:
    """The outcomes with their scores, and the targets (N, C) of the validation images.

    Raises:
        TwlError: images became unreadable between two runs, so that these cannot be compared.
    """
    images: NDArray[np.str_] | None = None
    candidates = []
    for outcome in outcomes:
        runs = []
        for seed, run in zip(contest.seeds, outcome.runs, strict=True):
            with np.load(run.folder / SCORES_NAME) as scores:
                if images is None:
                    images, targets = scores["images"], scores["targets"]
                elif not np.array_equal(scores["images"], images):
                    raise TwlError(
                        f"{run.folder}: was scored on other images than the runs before it; "
                        "remove it, and the same command trains it again"
                    )
                runs.append(RunScores(seed, scores["logits"], run.history()))
        loss = outcome.contender.recipe.loss
        candidates.append(
            Candidate(
                outcome.contender.name,
                loss.name,
                loss.options,
                outcome.learning_rate,
                tuple(runs),
                outcome.rates,
            )
        )
    return tuple(candidates), targets
