"""Training from the first step to the model that is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from twlcli import __version__
from twlcli.annotations.annotations import Annotations
from twlcli.annotations.missing import check_images
from twlcli.errors import AnnotationError, DivergedError, InterruptedRunError
from twlcli.inference.scored import ScoredImages
from twlcli.model.backbones import WeightsReport, build_backbone, load_weights
from twlcli.model.checkpoint import write_checkpoint
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.pages.curves import CURVES_NAME, write_curves
from twlcli.recipe import Recipe, portable_tables
from twlcli.runs.run_folder import Run
from twlcli.scoring.evaluation import map_scores
from twlcli.scoring.fit import fit
from twlcli.training.devices import (
    Ranks,
    autocast_dtype,
    check_batch,
    loader_workers,
    memory_errors,
    own_torch_state,
)
from twlcli.training.loader import EpochOrder, TrainingImages, TrainingLoader
from twlcli.training.step import Stepper
from twlcli.training.validation import validate

_STEPS_BETWEEN_LOOKS = 10  # reading the loss waits for the GPU, so not at every step


@dataclass(frozen=True)
class TrainStart:
    """A training that is about to begin.

    Attributes:
        run: its folder and complete recipe.
        device: what trains.
        precision: `float32` or `bfloat16`.
        ranks: how many processes train together.
        weights: what of the pretrained weights fitted; None where there were none.
        training: number of training images.
        validation: number of validation images.
        resumed: whether it continues an earlier one.
    """

    run: Run
    device: str
    precision: str
    ranks: int
    weights: WeightsReport | None
    training: int
    validation: int
    resumed: bool


class Watcher(Protocol):
    """What the trainer tells whoever shows its progress; only the first rank does."""

    def began(self, start: TrainStart) -> None:
        """The network is built and the data are open."""

    def epoch_began(self, epoch: int, steps: int, first: int) -> None:
        """Epoch `epoch`, counted from 0, has `steps` steps and begins with step `first`."""

    def step_ended(self, images: int, loss: float | None) -> None:
        """A step over `images` images ended; the mean loss so far, now and then."""

    def validated(self, done: int) -> None:
        """So many more validation images are done."""

    def epoch_ended(self, record: dict[str, Any], best: bool) -> None:
        """The line of `metrics.jsonl`, and whether this epoch is the best so far."""


class Silent:
    """A `Watcher` that says nothing."""

    def began(self, start: TrainStart) -> None:
        """Say nothing."""

    def epoch_began(self, epoch: int, steps: int, first: int) -> None:
        """Say nothing."""

    def step_ended(self, images: int, loss: float | None) -> None:
        """Say nothing."""

    def validated(self, done: int) -> None:
        """Say nothing."""

    def epoch_ended(self, record: dict[str, Any], best: bool) -> None:
        """Say nothing."""


@dataclass
class _Progress:
    """How far a run is; saved with every checkpoint."""

    epoch: int = 0
    step: int = 0  # the next one of the epoch
    loss_sum: float = 0.0
    loss_steps: int = 0
    best: float = -math.inf
    history: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


class Trainer:
    """A run in training: its data, network and progress.

    Args:
        run: the run folder.
        ranks: this process among those of the run.
        watcher: told about the progress.
        resumed: go on where the last checkpoint left the run.
        data: the run's, where they are read already.

    The caller's random numbers and number of threads are what they were before.

    Raises:
        AnnotationError: the data cannot be read, or an image is missing.
        RecipeError: the recipe names a network, loss or size that there is not.
        ModelError: the pretrained weights, or the state to resume, cannot be read.
    """

    def __init__(
        self,
        run: Run,
        ranks: Ranks,
        watcher: Watcher,
        *,
        resumed: bool = False,
        data: Annotations | None = None,
    ) -> None:
        self.ranks = ranks
        self.watcher = watcher
        # One rank writes what has to be decided, split, batch size and rate; the others read it.
        if ranks.first:
            self.train_data, self.validation_data = _checked(run, data)
            labels = len(self.train_data.vocabulary)
            run = run.suited(images=len(self.train_data), labels=labels)
        ranks.gather(None)
        if not ranks.first:
            run = Run.open(run.folder)
            self.train_data, self.validation_data = run.split_data()
        self.run = run
        recipe = run.recipe
        check_batch(recipe.schedule.batch_size, ranks)
        self.spec = _new_spec(recipe, self.train_data)
        labels = len(self.spec.vocabulary)
        with own_torch_state(ranks.device, recipe.train.threads):
            torch.manual_seed(recipe.train.seed)
            network = build_backbone(recipe.model.backbone, labels, image_size=recipe.image.size)
            weights = "none" if resumed else recipe.model.weights
            report = load_weights(network, recipe.model.backbone, weights)
            self.stepper = Stepper(network, recipe, self.spec.preprocessing, ranks)
        self.loader = _loader(recipe, self.train_data, ranks)
        self.progress = _Progress()
        self._validation: ScoredImages | None = None
        if resumed:
            state = run.read_state(ranks.device)
            self.progress = _Progress(**state.pop("progress"))
            self.stepper.load_state(state)
        if ranks.first:
            watcher.began(self._start(report, resumed=resumed))

    def _start(self, report: WeightsReport | None, *, resumed: bool) -> TrainStart:
        dtype = autocast_dtype(self.run.recipe.train.precision, self.ranks.device)
        return TrainStart(
            self.run,
            str(self.ranks.device),
            str(dtype or torch.float32).removeprefix("torch."),
            self.ranks.world,
            report,
            len(self.train_data),
            len(self.validation_data),
            resumed,
        )

    def train(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Train to the last epoch, validating and saving after each.

        Args:
            should_stop: asked between steps; on True the state is saved and training stops.

        Raises:
            InterruptedRunError: `should_stop` said so.
            DivergedError: the loss is not a number any more.
            DeviceError: out of memory.
        """
        epochs = self.run.recipe.schedule.epochs
        own_state = own_torch_state(self.ranks.device, self.run.recipe.train.threads)
        with own_state, memory_errors(self.stepper.images_at_once):
            while self.progress.epoch < epochs:
                started, first = time.monotonic(), self.progress.step
                self._train_epoch(should_stop)
                steps = self.progress.step - first
                rate = steps * self.loader.order.batch_size / (time.monotonic() - started)
                self._validation = self._validate() if self._validates() else None
                self._end_epoch(self._validation, rate)

    def _train_epoch(self, should_stop: Callable[[], bool]) -> None:
        progress, steps = self.progress, len(self.loader)
        if self.ranks.first:
            self.watcher.epoch_began(progress.epoch, steps, progress.step)
        losses: list[Tensor] = []
        all_steps = steps * self.run.recipe.schedule.epochs
        for batch in self.loader.epoch(progress.epoch, first=progress.step):
            progress.unreadable += batch.unreadable
            if not len(batch):
                raise AnnotationError(f"no image of a batch can be read: {batch.unreadable[0]}")
            step = progress.epoch * steps + progress.step
            losses.append(self.stepper(batch, step, all_steps))
            progress.step += 1
            looks = progress.step % _STEPS_BETWEEN_LOOKS == 0 or progress.step == steps
            if looks or self.ranks.device.type == "cpu":
                self._take_losses(losses)
            if self.ranks.first:
                self.watcher.step_ended(len(batch) * self.ranks.world, self._mean_loss())
            if looks or self.ranks.world == 1:
                self._stop_if(should_stop)

    def _take_losses(self, losses: list[Tensor]) -> None:
        """Add up losses that were left on the device."""
        values = torch.stack(losses).tolist()
        losses.clear()
        self.progress.loss_sum += sum(values)
        self.progress.loss_steps += len(values)
        if not math.isfinite(self.progress.loss_sum):
            raise DivergedError(
                f"the loss became {self.progress.loss_sum} in epoch {self.progress.epoch + 1}, "
                f"step {self.progress.step}; try a lower learning rate "
                f"(it is {self.run.recipe.optimizer.learning_rate:g})"
            )

    def _mean_loss(self) -> float | None:
        progress = self.progress
        return progress.loss_sum / progress.loss_steps if progress.loss_steps else None

    def _stop_if(self, should_stop: Callable[[], bool]) -> None:
        if self.ranks.any(should_stop()):
            self._save()
            progress = self.progress
            raise InterruptedRunError(
                f"interrupted in epoch {progress.epoch + 1} after step {progress.step}",
                self.run.folder,
            )

    def _validate(self) -> ScoredImages:
        self.stepper.share_statistics()
        return validate(
            self.stepper.best_network,
            self.spec,
            self.validation_data,
            self.ranks,
            self.watcher.validated if self.ranks.first else lambda done: None,
        )

    def last_validation(self) -> ScoredImages:
        """Scores of the network as the last epoch left it; every rank has to ask."""
        if self._validation is None:
            self._validation = self._validate()
        return self._validation

    def _validates(self) -> bool:
        schedule, epoch = self.run.recipe.schedule, self.progress.epoch + 1
        return epoch % schedule.validate_every == 0 or epoch == schedule.epochs

    def _end_epoch(self, validation: ScoredImages | None, images_per_second: float) -> None:
        progress = self.progress
        record: dict[str, Any] = {
            "epoch": progress.epoch + 1,
            "loss": self._mean_loss(),
            **(map_scores(validation) if validation else {}),
            "images_per_second": images_per_second,
        }
        # The score is NaN where no validation image has a label; then the last epoch is kept.
        best = validation is not None and not record["map_class"] <= progress.best
        progress.best = record["map_class"] if best else progress.best
        progress.history.append(record)
        progress.epoch += 1
        progress.step, progress.loss_sum, progress.loss_steps = 0, 0.0, 0
        if best and validation and self.ranks.first:
            self._keep(validation, record)
        self._save()
        if self.ranks.first:
            self.watcher.epoch_ended(record, best)

    def _keep(self, validation: ScoredImages, record: dict[str, Any]) -> None:
        """Write the weights with calibration and thresholds fitted to the validation images."""
        fitted = fit(validation.logits, validation.targets, self.spec)
        measured = {"epoch": record["epoch"]} | {
            key: round(record[key], 6) for key in ("map_class", "map_sample")
        }
        spec = replace(fitted, provenance={**self.spec.provenance, "validation": measured})
        write_checkpoint(self.stepper.best_network, spec, self.run.checkpoint)

    def _save(self) -> None:
        """Write everything that `resume` needs; only the first rank does."""
        reasons = self.ranks.gather(self.progress.unreadable)
        everywhere = sorted({reason for part in reasons for reason in part})
        if self.ranks.first:
            self.progress.unreadable = everywhere
            self.run.write_state({**self.stepper.state(), "progress": vars(self.progress)})
            self.run.write_metrics(self.progress.history)
            write_curves(self.run.folder / CURVES_NAME, self.progress.history)
            if everywhere:
                self.run.write_unreadable(everywhere)


def _checked(run: Run, data: Annotations | None) -> tuple[Annotations, Annotations]:
    train, validation = run.split_data(data)
    for part in (train, validation):
        check_images(part)
    return train, validation


def _new_spec(recipe: Recipe, data: Annotations) -> ModelSpec:
    image, loss = recipe.image, recipe.loss
    preprocessing = Preprocessing(
        resize=image.resize, crop=image.size, interpolation=image.interpolation
    )
    loss_used = {"name": loss.name, "class_scope": loss.class_scope, **loss.options}
    provenance = {
        "twl": __version__,
        "data": data.source.name,
        "loss": loss_used,
        "recipe": portable_tables(recipe),
    }
    return ModelSpec(data.vocabulary, recipe.model.backbone, preprocessing, None, None, provenance)


def _loader(recipe: Recipe, data: Annotations, ranks: Ranks) -> TrainingLoader:
    seed = recipe.train.seed
    images = TrainingImages(data, recipe.augment, recipe.image, seed=seed)
    order = EpochOrder(
        len(data),
        batch_size=recipe.schedule.batch_size,
        seed=seed,
        rank=ranks.rank,
        world=ranks.world,
    )
    workers = loader_workers(recipe.train.workers, ranks)
    return TrainingLoader(images, order, workers=workers, pin_memory=ranks.device.type == "cuda")
