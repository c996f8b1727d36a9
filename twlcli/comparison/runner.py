"""Training several losses, or settings of one, under one recipe, split and order, to compare them.

The folder of a comparison holds what is done, so that the same call goes on after an interruption,
and more losses or seeds add to it:

split.csv                     where twl held images out for validation
NAME/tuning/RATE.json         scores of a learning rate on held-out training images
NAME/RATE/seed-N/             a finished run: recipe, weights, metrics, and scores.npz

Every loss gets its own learning rate, as the gradients of losses differ in scale by an order of
magnitude: the best of a grid around the rate that suits the loss, chosen on a stratified share of
the training images. While the best is the grid's first or last rate, the grid grows there.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from twlcli.annotations.split import hold_out
from twlcli.comparison.plan import SCORES_NAME, Contender, Contest, Outcome
from twlcli.errors import TwlError
from twlcli.io import write_whole
from twlcli.recipe import Recipe
from twlcli.runs.run_folder import Run, write_splits
from twlcli.scoring.evaluation import map_scores
from twlcli.training.devices import Ranks
from twlcli.training.trainer import DivergedError, Trainer, Watcher

GRID_FACTORS = (1 / 3, 1.0, 3.0)  # of the rate that suits the loss
_MOST_RATES = 7  # of a grid that grows
_TUNING_SHARE = 0.2  # of the training images that choose the rate


class ContestWatcher(Watcher, Protocol):
    """What a comparison tells whoever shows its progress."""

    def training_began(self, contender: str, what: str, epochs: int) -> None:
        """The training of `contender` with a seed or a rate begins."""

    def training_ended(self, contender: str, what: str, scores: Mapping[str, float]) -> None:
        """It ended with these scores, now or in an earlier call."""


def compare(
    contest: Contest, ranks: Ranks, watcher: ContestWatcher, should_stop: Callable[[], bool]
) -> tuple[Outcome, ...]:
    """Train all that is not trained yet.

    Raises:
        InterruptedRunError: `should_stop` said so; the same call goes on.
        TwlError: the folder holds runs of another recipe, or what training raises.
    """
    data = _Splits.of(contest, ranks)
    outcomes = []
    for contender in contest.contenders:
        place = contest.folder / contender.name.replace("/", "_")
        training = _Training(contender, place, data, ranks, watcher, should_stop)
        if contest.rate is None:
            rate, rates = training.chosen_rate(seed=contest.seeds[0])
        else:
            rate, rates = contest.rate, ()
        runs = tuple(training.finished(rate, seed) for seed in contest.seeds)
        outcomes.append(Outcome(contender, rate, rates, runs))
    return tuple(outcomes)


@dataclass(frozen=True)
class _Splits:
    """The images of all runs with their splits: for the runs, and for choosing a rate."""

    images: tuple[str, ...]
    final: tuple[str, ...]
    tuning: tuple[str, ...]
    train_count: int
    labels: int

    @classmethod
    def of(cls, contest: Contest, ranks: Ranks) -> _Splits:
        """Split the data of the contest's recipes; one rank does, the others are told."""
        splits = cls._made(contest) if ranks.first else None
        first: _Splits = ranks.gather(splits)[0]
        return first

    @classmethod
    def _made(cls, contest: Contest) -> _Splits:
        contest.folder.mkdir(parents=True, exist_ok=True)
        whole = Run(contest.folder, contest.contenders[0].recipe)
        train, validation = whole.split_data()
        train_split, validation_split = whole.splits
        part = dict.fromkeys(train.images, train_split)
        part |= dict.fromkeys(validation.images, validation_split)
        held = hold_out(train.labels, fraction=_TUNING_SHARE, seed=0)
        tuning = dict.fromkeys(train.images, train_split)
        tuning |= {train.images[row]: validation_split for row in held}
        images = whole.data().images
        return cls(
            images,
            tuple(part.get(name, "unused") for name in images),
            tuple(tuning.get(name, "unused") for name in images),
            len(train),
            len(train.vocabulary),
        )


@dataclass(frozen=True)
class _Training:
    """The trainings of one contender."""

    contender: Contender
    place: Path
    data: _Splits
    ranks: Ranks
    watcher: ContestWatcher
    should_stop: Callable[[], bool]

    def chosen_rate(self, *, seed: int) -> tuple[float, tuple[tuple[float, float], ...]]:
        """The learning rate with the best mAP@class on held-out training images, and all tried."""
        centre = self._recipe(0.0, seed).optimizer.learning_rate
        found: dict[float, float] = {}
        asked = [_rounded(centre * factor) for factor in GRID_FACTORS]
        while asked and len(found) < _MOST_RATES:
            found |= {rate: self._tuned(rate, seed) for rate in asked}
            best = max(found, key=lambda rate: _or_worst(found[rate]))
            edges = {min(found): best / 3, max(found): best * 3}
            asked = [_rounded(edges[best])] if best in edges else []
        if all(math.isnan(score) for score in found.values()):
            raise TwlError(f"{self.contender.name}: training diverged at every learning rate tried")
        return best, tuple(sorted(found.items()))

    def finished(self, rate: float, seed: int) -> Run:
        """The run with a learning rate and a seed, trained to its end."""
        what = f"seed {seed}"
        folder = self.place / f"{rate:.3g}" / f"seed-{seed}"
        run = self._run(folder, self._recipe(rate, seed), self.data.final)
        if self.ranks.any((folder / SCORES_NAME).exists()):
            with np.load(folder / SCORES_NAME) as scores:
                known = {key: float(scores[key]) for key in ("map_class", "map_sample")}
            self._ended(what, known)
            return run
        trainer = self._trained(run, what)
        validation = trainer.last_validation()
        scores = map_scores(validation)
        if self.ranks.first:
            arrays: dict[str, Any] = {
                "images": np.array(validation.images),
                "logits": validation.logits,
                "targets": validation.targets,
                **scores,
            }
            write_whole(folder / SCORES_NAME, lambda file: np.savez(file, **arrays))
            (folder / "state.pt").unlink(missing_ok=True)
        self._ended(what, scores)
        return run

    def _tuned(self, rate: float, seed: int) -> float:
        """The mAP@class on held-out training images; NaN where training diverges."""
        what = f"rate {rate:.3g}"
        kept = self.place / "tuning" / f"{rate:.3g}.json"
        recipe = self._recipe(rate, seed)
        if self.ranks.any(kept.exists()):
            record = json.loads(kept.read_text(encoding="utf-8"))
            there = Recipe.from_toml(record["recipe"], place=str(kept))
            self._check_recipe(kept, recipe, there)
            score = math.nan if record["map_class"] is None else record["map_class"]
            self._ended(what, {"map_class": score})
            return float(score)
        folder = kept.with_suffix("")
        run = self._run(folder, recipe, self.data.tuning)
        try:
            score = map_scores(self._trained(run, what).last_validation())["map_class"]
        except DivergedError:
            score = math.nan
        if self.ranks.first:
            record = {
                "learning_rate": rate,
                "map_class": None if math.isnan(score) else score,
                "recipe": recipe.to_toml(),
            }
            write_whole(kept, lambda file: file.write(json.dumps(record).encode()))
            shutil.rmtree(folder)
        self._ended(what, {"map_class": score})
        return score

    def _recipe(self, rate: float, seed: int) -> Recipe:
        """The recipe of one training, complete, validating only what the last epoch leaves."""
        recipe = self.contender.recipe
        changed = {
            "optimizer": {"learning_rate": rate},
            "schedule": {"validate_every": recipe.schedule.epochs},
            "train": {"seed": seed},
        }
        return recipe.with_values(changed).suited(
            images=self.data.train_count, labels=self.data.labels
        )

    def _run(self, folder: Path, recipe: Recipe, splits: tuple[str, ...]) -> Run:
        """The run in a folder, which is made where it is not there."""
        if self.ranks.first:
            if (folder / "recipe.toml").is_file():
                self._check_recipe(folder, recipe, Run.open(folder).recipe)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                write_splits(folder, self.data.images, splits)
                Run(folder, recipe).write_recipe()
        self.ranks.gather(None)
        return Run(folder, recipe)

    def _trained(self, run: Run, what: str) -> Trainer:
        """Train a run to its end, going on where an earlier call was interrupted."""
        if self.ranks.first:
            self.watcher.training_began(self.contender.name, what, run.recipe.schedule.epochs)
        resumed = self.ranks.any((run.folder / "state.pt").exists())
        trainer = Trainer(run, self.ranks, self.watcher, resumed=resumed)
        trainer.train(self.should_stop)
        return trainer

    def _ended(self, what: str, scores: Mapping[str, float]) -> None:
        if self.ranks.first:
            self.watcher.training_ended(self.contender.name, what, scores)

    def _check_recipe(self, place: Path, wanted: Recipe, there: Recipe) -> None:
        """Raise TwlError where an earlier call trained under another recipe."""
        values = wanted.values()
        for key, value in there.values().items():
            if key not in values or value != values[key]:
                raise TwlError(f"{place}: was trained with {key} = {value}; choose another --out")


def _rounded(rate: float) -> float:
    """To two digits, as a rate is printed and names its folder."""
    return float(f"{rate:.2g}")


def _or_worst(score: float) -> float:
    return -math.inf if math.isnan(score) else score
