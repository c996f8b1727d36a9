"""Training several losses, or settings of one, under one recipe, split and order, to compare them.

The folder of a comparison holds what is done, so that the same call continues after an
interruption, and more losses or seeds add to it:

split.csv                     where twl held images out for validation
NAME/tuning/RATE.json         scores of a learning rate on held-out training images
NAME/RATE/seed-N/             a finished run, with the scores of its last epoch in scores.npz

Every loss gets its own learning rate, as the gradients of losses differ in scale by an order of
magnitude: the best of a grid around the rate that suits the loss, chosen on a stratified share of
the training images. While the best is the grid's first or last rate, the grid grows there.

A run validates as its recipe says, so that its history shows how it came to its score. What is
compared is the last epoch; as in every run, the weights that are kept are those of the best.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twlcli.comparison.images import ComparedImages
from twlcli.comparison.kept import (
    check_code,
    check_recipe,
    check_splits,
    code_in,
    code_of,
    damage,
    other_images,
    write_code,
)
from twlcli.comparison.plan import GRID_FACTORS, Candidate, Plan, Training
from twlcli.comparison.result import History, RunScores, Trained
from twlcli.comparison.watcher import ComparisonWatcher
from twlcli.errors import DivergedError, TwlError
from twlcli.inference.scored import ScoredImages
from twlcli.io import (
    check_not_compressed,
    locked_folder,
    parse_json,
    read_short_text,
    write_errors,
    write_whole,
)
from twlcli.model.checkpoint import read_spec
from twlcli.recipe import Recipe
from twlcli.runs.run_folder import SPLITS_NAME, Run, write_splits
from twlcli.runs.states import has_state, remove_states
from twlcli.scoring.evaluation import map_scores
from twlcli.training.devices import Ranks
from twlcli.training.frozen import train_frozen
from twlcli.training.trainer import Trainer

SCORES_NAME = "scores.npz"  # in a finished run's folder
_MOST_RATES = 7  # of a grid that grows


@dataclass(frozen=True)
class TrainedPlan:
    """All that is to be compared.

    Attributes:
        trained: one for each candidate of the plan.
        recipe: of the first run, complete.
        targets: of the validation images, (N, C).
        labels: the C names.
    """

    trained: tuple[Trained, ...]
    recipe: Recipe
    targets: NDArray[np.int8]
    labels: tuple[str, ...]


def train_plan(
    plan: Plan,
    ranks: Ranks,
    watcher: ComparisonWatcher,
    should_stop: Callable[[], bool],
    features: Path | None = None,
) -> TrainedPlan:
    """Train all that is not trained yet.

    Raises:
        InterruptedRunError: `should_stop` returned True; the same call continues.
        TwlError: the folder holds runs of another recipe or other images, or what training raises.
    """
    images = ComparedImages.of(plan, ranks)
    if ranks.first:
        watcher.planned(plan)
    trained = []
    first: _Scores | None = None
    alone = locked_folder(plan.folder) if ranks.first else nullcontext()
    with alone, _tidied(plan, ranks):
        for candidate in plan.candidates:
            training = _Training(plan, candidate, images, ranks, watcher, should_stop, features)
            frozen = candidate.recipe.model.frozen
            tunes = not frozen and not plan.rate
            value, tried = training.chosen_rate() if tunes else (plan.rate or 0.0, ())
            runs = []
            for seed in plan.seeds:
                scores = training.finished(value, seed)
                first = first or scores
                scores.check_images(first)
                runs.append(scores.run)
            if frozen:
                value, tried = _penalties(runs[0].history)
            trained.append(Trained(candidate, value, tuple(runs), tried))
    assert first is not None  # a plan has candidates and seeds
    recipe, spec = Run.open(first.folder).recipe, read_spec(first.folder)
    return TrainedPlan(tuple(trained), recipe, first.targets, spec.vocabulary.names)


@contextmanager
def _tidied(plan: Plan, ranks: Ranks) -> Iterator[None]:
    """Leave no empty folder behind where a comparison ends early."""
    try:
        yield
    except BaseException:
        if ranks.first:
            _remove_empty(plan)
        raise


@dataclass(frozen=True)
class _Scores:
    """The scores of a finished run, as its folder holds them."""

    folder: Path
    run: RunScores
    images: NDArray[np.str_]
    targets: NDArray[np.int8]

    def check_images(self, first: _Scores) -> None:
        """Raise TwlError where images became unreadable between two runs."""
        if not np.array_equal(self.images, first.images):
            raise TwlError(
                f"{self.folder}: was scored on other images than the runs before it; "
                "remove it, and the same call trains it again"
            )


@dataclass(frozen=True)
class _Training:
    """The trainings of one candidate."""

    plan: Plan
    candidate: Candidate
    images: ComparedImages
    ranks: Ranks
    watcher: ComparisonWatcher
    should_stop: Callable[[], bool]
    features: Path | None = None

    @property
    def place(self) -> Path:
        """The folder of the candidate."""
        return _place(self.plan, self.candidate)

    def chosen_rate(self) -> tuple[float, tuple[tuple[float, float], ...]]:
        """The learning rate with the best mAP@class on held-out training images, and all tried."""
        centre = self._recipe(0.0, self.plan.seeds[0]).optimizer.learning_rate
        found: dict[float, float] = {}
        asked = [_rounded(centre * factor) for factor in GRID_FACTORS]
        while asked and len(found) < _MOST_RATES:
            found |= {rate: self._tuned(rate) for rate in asked}
            best = max(found, key=lambda rate: _or_worst(found[rate]))
            edges = {min(found): best / 3, max(found): best * 3}
            asked = [_rounded(edges[best])] if best in edges else []
        if all(math.isnan(score) for score in found.values()):
            raise TwlError(f"{self.candidate.name}: training diverged at every learning rate tried")
        return best, tuple(sorted(found.items()))

    def finished(self, rate: float, seed: int) -> _Scores:
        """The run with a learning rate and a seed, trained to its end."""
        training = Training(self.candidate.name, "run", rate, seed)
        folder = self.place / (f"{rate:.3g}" if rate else "frozen") / f"seed-{seed}"
        run = self._run(folder, self._recipe(rate, seed), self.images.final)
        if not self.ranks.any((folder / SCORES_NAME).exists()):
            validation = self._validated(run, training, self.images.final)
            arrays: dict[str, Any] = {
                "images": np.array(validation.images),
                "logits": validation.logits,
                "targets": validation.targets,
                **map_scores(validation),
            }
            if self.ranks.first:
                write_whole(folder / SCORES_NAME, lambda file: np.savez(file, **arrays))
                remove_states(folder)
            self.ranks.gather(None)
        kept = folder / SCORES_NAME
        with damage(kept):
            check_not_compressed(kept)
        with damage(kept), kept.open("rb") as file, np.load(file) as arrays:
            known = {key: float(arrays[key]) for key in ("map_class", "map_sample")}
            logits, images, targets = (arrays[key] for key in ("logits", "images", "targets"))
            if logits.shape != targets.shape or images.shape != logits.shape[:1]:
                raise ValueError("arrays of different sizes")
        self._ended(training, known)
        return _Scores(folder, RunScores(seed, logits, run.history()), images, targets)

    def _tuned(self, rate: float) -> float:
        """The mAP@class on held-out training images; NaN where training diverges."""
        seed = self.plan.seeds[0]
        training = Training(self.candidate.name, "tuning", rate, seed)
        recipe = self._recipe(rate, seed)
        recipe = recipe.with_values({"schedule": {"validate_every": recipe.schedule.epochs}})
        kept = self.place / "tuning" / f"{rate:.3g}.json"
        if self.ranks.any(kept.exists()):
            score = self._known_score(kept, recipe)
        else:
            score = self._new_score(kept, recipe, training)
        self._ended(training, {"map_class": score})
        return score

    def _known_score(self, kept: Path, recipe: Recipe) -> float:
        with damage(kept):
            record = dict(parse_json(read_short_text(kept)))
            before, score = str(record["recipe"]), record["map_class"]
            score = math.nan if score is None else float(score)
        check_recipe(kept, recipe, Recipe.from_toml(before, place=str(kept)))
        check_code(kept, recipe, record.get("code", {}))
        digest = self.images.tuning_digest
        if record.get("images", digest) != digest:  # twl 0.1.0 did not write it
            raise other_images(kept)
        return score

    def _new_score(self, kept: Path, recipe: Recipe, training: Training) -> float:
        folder = kept.with_suffix("")
        run = self._run(folder, recipe, self.images.tuning)
        try:
            score = map_scores(self._validated(run, training, self.images.tuning))["map_class"]
        except DivergedError:
            score = math.nan
        if self.ranks.first:
            record = {
                "learning_rate": training.learning_rate,
                "map_class": None if math.isnan(score) else score,
                "images": self.images.tuning_digest,
                "recipe": recipe.to_toml(),
                "code": code_of(recipe),
            }
            write_whole(kept, lambda file: file.write(json.dumps(record).encode()))
            shutil.rmtree(folder, ignore_errors=True)
        return score

    def _recipe(self, rate: float, seed: int) -> Recipe:
        """The complete recipe of one training."""
        changed = {"optimizer": {"learning_rate": rate}, "train": {"seed": seed}}
        if self.candidate.recipe.model.frozen:
            return self.candidate.recipe.with_values(changed)
        return self.candidate.recipe.with_values(changed).suited(
            images=self.images.train_count, labels=len(self.images.data.vocabulary)
        )

    def _run(self, folder: Path, recipe: Recipe, splits: tuple[str, ...]) -> Run:
        """The run in a folder, which is made where it is not there."""
        if self.ranks.first:
            Run(folder, recipe).tidy()
            if (folder / "recipe.toml").is_file():
                check_recipe(folder, recipe, Run.open(folder).recipe)
                check_code(folder, recipe, code_in(folder))
                check_splits(folder, dict(zip(self.images.data.images, splits, strict=True)))
            else:
                with write_errors(folder):
                    folder.mkdir(parents=True, exist_ok=True)
                write_splits(folder / SPLITS_NAME, self.images.data.images, splits)
                write_code(folder, recipe)
                Run(folder, recipe).write_recipe()
        self.ranks.gather(None)
        return Run(folder, recipe)

    def _validated(self, run: Run, training: Training, splits: tuple[str, ...]) -> ScoredImages:
        """Train a run to its end, from where an earlier call was interrupted, and score it."""
        if self.ranks.first:
            self.watcher.training_began(training, run.recipe.schedule.epochs)
        resumed = self.ranks.any(has_state(run.folder))
        data = replace(self.images.data, splits=splits)
        try:
            if run.recipe.model.frozen:
                return train_frozen(
                    *(run, self.watcher),
                    data=data,
                    device=str(self.ranks.device),
                    should_stop=self.should_stop,
                    features=self.features,
                )
            # What code the plan's recipes name was allowed before they were planned.
            trainer = Trainer(
                run, self.ranks, self.watcher, resumed=resumed, data=data, allow_code=True
            )
            trainer.train(self.should_stop)
        except BaseException:
            if self.ranks.first:
                run.discard()  # where nothing was saved, the next call may have another recipe
            raise
        return trainer.last_validation()

    def _ended(self, training: Training, scores: Mapping[str, float]) -> None:
        if self.ranks.first:
            self.watcher.training_ended(training, scores)


def _penalties(history: History) -> tuple[float, tuple[tuple[float, float], ...]]:
    """The penalty of a head by its run's history, and all that were tried, ascending."""
    tried = sorted((float(each["penalty"]), float(each["map_class"])) for each in history)
    return max(tried, key=lambda each: _or_worst(each[1]))[0], tuple(tried)


def _place(plan: Plan, candidate: Candidate) -> Path:
    return plan.folder / candidate.name.replace("/", "_")


def _remove_empty(plan: Plan) -> None:
    """Remove folders without files, and the split that was made for runs that are not there."""
    places = [_place(plan, candidate) for candidate in plan.candidates]
    folders = [folder for place in places for folder in (place, *place.rglob("*"))]
    for folder in sorted(folders, reverse=True):
        with suppress(OSError):  # files, and folders that hold some
            folder.rmdir()
    if {path.name for path in plan.folder.iterdir()} <= {SPLITS_NAME}:
        (plan.folder / SPLITS_NAME).unlink(missing_ok=True)
        plan.folder.rmdir()


def _rounded(rate: float) -> float:
    """To two digits, as a rate is printed and names its folder."""
    return float(f"{rate:.2g}")


def _or_worst(score: float) -> float:
    return -math.inf if math.isnan(score) else score
