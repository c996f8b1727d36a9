"""What a comparison compares."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from twlcli.errors import RecipeError, TwlError
from twlcli.recipe import Option, Recipe, Setting

DEFAULT_SEEDS = 3  # 1 of a frozen backbone, where a seed draws the folds alone
DEFAULT_LOSSES = ("two-way", "softmax", "bce", "asl")
GRID_FACTORS = (1 / 3, 1.0, 3.0)  # learning rates tried, of the one that suits the loss
# Of a dry run: fewer cannot be split for choosing a rate; two show that curves are drawn.
FEWEST_IMAGES, MOST_EPOCHS = 8, 2
# What a comparison sets itself; scores on other data could not be compared.
_NOT_COMPARED = (
    *("data.", "train.seed", "optimizer.learning_rate", "schedule.validate_every"),
    *("model.frozen", "frozen.penalty"),
)

Grid = Mapping[str, Sequence[Option]]


@dataclass(frozen=True)
class Candidate:
    """One of the things compared: a name, and its recipe without seed and learning rate."""

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class Plan:
    """What is compared, and where.

    Attributes:
        folder: of the comparison.
        candidates: what is compared.
        seeds: of the runs of each.
        rate: one learning rate for all; None chooses each its own.
        limit: the most training images, and the most validation images, of a dry run.
    """

    folder: Path
    candidates: tuple[Candidate, ...]
    seeds: tuple[int, ...]
    rate: float | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Training:
    """One training of a comparison.

    Attributes:
        candidate: the name of what is trained.
        kind: whether it is to choose a learning rate, or is one of the runs that are compared.
        learning_rate: of the training.
        seed: of the training.
    """

    candidate: str
    kind: Literal["tuning", "run"]
    learning_rate: float
    seed: int


def plan_comparison(
    base: Recipe,
    *,
    losses: Sequence[str],
    seeds: int | None,
    grid: Grid,
    same_rate: bool,
    out: Path | None,
    limit: int | None,
) -> Plan:
    """The plan that `compare` carries out; see there.

    Raises:
        RecipeError: as `candidates_of`.
        TwlError: nothing to compare, no seed, or one learning rate for all that the recipe does
            not give; or a limit below 8.
    """
    frozen = base.model.frozen
    if seeds is None:
        seeds = 1 if frozen else DEFAULT_SEEDS
    if seeds < 1:
        raise TwlError(f"a comparison of {seeds} seeds", hint="{seeds} is at least 1")
    if limit is not None and limit < FEWEST_IMAGES:
        raise TwlError(
            f"a dry run on {limit} images", hint=f"{{limit}} is at least {FEWEST_IMAGES}"
        )
    if same_rate and frozen:
        raise TwlError(
            "the head of a frozen backbone has no learning rate", hint="leave out {same_rate}"
        )
    rate = base.optimizer.learning_rate if same_rate else None
    if rate == 0:
        raise TwlError(
            "one learning rate for all, and the recipe has none",
            hint="{same_rate} requires {learning_rate}",
        )
    folder = out or Path("runs") / f"compare-{Path(base.data.path).stem}"
    if limit is not None:
        folder = folder.with_name(f"{folder.name}-limit-{limit}")
        epochs = min(base.schedule.epochs, MOST_EPOCHS)
        base = base.with_values({"schedule": {"epochs": epochs}})
    return Plan(folder, candidates_of(base, losses, grid), tuple(range(seeds)), rate, limit)


def candidates_of(base: Recipe, losses: Sequence[str], grid: Grid) -> tuple[Candidate, ...]:
    """Every loss with every combination of the grid's settings that it takes.

    Args:
        base: the recipe of all.
        losses: names in `LOSS_NAMES`; the base's own loss keeps the base's options.
        grid: values by `section.key`; texts are read as in `schedule.epochs=3`. An option of a
            loss is left out where another loss has none of that name.

    Raises:
        RecipeError: an unknown loss or key, a value that does not fit, or an option
            that no loss has, or that a comparison sets itself.
        TwlError: there is no loss.
    """
    for key in grid:
        if key.startswith(_NOT_COMPARED):
            raise RecipeError(
                f"{key} cannot be compared: all candidates have the same data and seeds, and what "
                "suits each is found in the same way",
                hint="leave it out of {grid}",
            )
    candidates: dict[str, Candidate] = {}
    used: set[str] = set()
    for loss in losses:
        recipe = base.with_values({"loss": {"name": loss}})
        options = {f"loss.{option}" for option in recipe.loss.options}
        keys = [key for key in grid if not key.startswith("loss.") or key in options]
        used |= set(keys)
        for values in itertools.product(*(grid[key] for key in keys)):
            chosen = dict(zip(keys, values, strict=True))
            short = [f"{key.partition('.')[2]}={value}" for key, value in chosen.items()]
            name = " ".join([loss, *short])
            settings = [_setting(key, value) for key, value in chosen.items()]
            candidates[name] = Candidate(name, recipe.with_settings(settings))
    for key in grid:
        if key not in used:
            raise RecipeError(
                f"{key}: none of the losses {', '.join(losses)} has it",
                hint="leave it out of {grid}",
            )
    if not candidates:
        raise TwlError("there is nothing to compare", hint="name a loss in {losses}")
    return tuple(candidates.values())


def _setting(key: str, value: Option) -> Setting:
    if isinstance(value, str):
        return Setting.parse(f"{key}={value}")
    section, _, name = key.partition(".")
    return Setting(section, name, value, f"{key}={value}")
