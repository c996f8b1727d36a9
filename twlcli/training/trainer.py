"""Training from the first step to the model that is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import torch
from torch import nn

from twlcli import __version__
from twlcli.annotations.annotations import Annotations
from twlcli.annotations.missing import check_images
from twlcli.annotations.summary import in_one_line
from twlcli.errors import (
    AnnotationError,
    DeviceError,
    DivergedError,
    InterruptedRunError,
    ModelError,
)
from twlcli.inference.scored import ScoredImages
from twlcli.model.backbones import build_backbone
from twlcli.model.checkpoint import read_checkpoint, write_checkpoint
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.model.weights import WeightsReport, load_weights, origin_of
from twlcli.pages.curves import CURVES_NAME, write_curves
from twlcli.parallel import machine_memory
from twlcli.recipe import ImageRecipe, Recipe, portable_tables
from twlcli.runs.resolve import CHANGEABLE
from twlcli.runs.run_folder import Run
from twlcli.runs.seen import SEEN_KEY, hashes_of, sample_of, with_sample
from twlcli.runs.states import check_identity, data_identity, read_state, write_state
from twlcli.scoring.average_precision import average_precision_per_label
from twlcli.scoring.evaluation import epoch_scores
from twlcli.scoring.fit import fit
from twlcli.training.asynchronous import Losses, on_device
from twlcli.training.devices import (
    Ranks,
    autocast_dtype,
    check_batch,
    check_parallel,
    device_errors,
    images_at_once,
    loader_workers,
    own_torch_state,
)
from twlcli.training.inherited import inherited_images, note_of_inherited
from twlcli.training.label_notes import label_notes
from twlcli.training.loader import (
    SHARED_MEMORY,
    Batch,
    EpochOrder,
    TrainingImages,
    TrainingLoader,
    free_shared_memory,
    loader_errors,
)
from twlcli.training.memory import check_micro_batch, fitting_micro_batch
from twlcli.training.run_page import RunPage
from twlcli.training.step import Stepper
from twlcli.training.validation import note_of_memory, validate
from twlcli.training.watcher import TrainStart, Watcher

_STEPS_BETWEEN_LOOKS = 10  # several ranks look together, for which they wait for each other


@dataclass
class _Progress:
    """How far a run is; saved with every checkpoint."""

    epoch: int = 0
    step: int = 0  # the next one of the epoch
    loss_sum: float = 0.0
    loss_steps: int = 0
    images: int = 0  # of the epoch, that could be read
    profiles_ignored: int = 0  # of the epoch's images
    best: float = -math.inf
    history: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> _Progress:
        """What was saved; KeyError, TypeError or ValueError where it was not twl that saved it."""
        progress = cls(**{"epoch": values["epoch"], **values})
        for name, default in vars(cls()).items():
            value = getattr(progress, name)
            if type(value) is not type(default) or (type(value) is int and value < 0):
                raise ValueError(f"{name} is {value!a}")
        return progress


class Trainer:
    """A run in training: its data, network and progress.

    Args:
        run: the run folder.
        ranks: this process among those of the run.
        watcher: told about the progress.
        resumed: go on where the last checkpoint left the run.
        data: the run's, where they are read already.
        allow_code: a backbone or loss `module:function` of the recipe may be imported.
        writes_page: the first rank writes `report.html` after each epoch.

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
        allow_code: bool = False,
        writes_page: bool = False,
    ) -> None:
        self.ranks = ranks
        # One rank writes what has to be decided, split, batch size and rate; the others read it.
        if ranks.first:
            self.train_data, self.validation_data = checked_data(run, data)
            labels = len(self.train_data.vocabulary)
            run = run.suited(images=len(self.train_data), labels=labels)
        ranks.gather(None)
        if not ranks.first:
            run = Run.open(run.folder)
            self.train_data, self.validation_data = run.split_data()
        self.run = run
        self.page: RunPage | None = None
        if writes_page and ranks.first:
            self.page = RunPage(watcher, self.train_data, self.validation_data)
        self.watcher = watcher = self.page or watcher
        recipe = run.recipe
        check_batch(recipe.schedule.batch_size, len(self.train_data), ranks)
        check_parallel(recipe.train, ranks)
        check_micro_batch(recipe.schedule, ranks.device)
        self._at_once = images_at_once(recipe.schedule, ranks.world)
        self.spec = new_spec(recipe, self.train_data)
        labels = len(self.spec.vocabulary)
        with own_torch_state(ranks.device, recipe.train.threads), self._device_errors():
            torch.manual_seed(recipe.train.seed)
            weights = "none" if resumed else recipe.model.weights
            network = build_backbone(
                recipe.model.backbone,
                labels,
                image_size=recipe.image.size,
                head=recipe.model.head,
                pretrained=weights == "default",
                allow_code=allow_code,
            )
            report = load_weights(
                network,
                recipe.model.backbone,
                weights,
                self.spec.vocabulary.names,
                image_size=recipe.image.size,
            )
            if recipe.schedule.micro_batch == "auto":
                recipe = self._with_micro_batch(network, allow_code=allow_code)
            self.stepper = Stepper(
                network, recipe, self.spec.preprocessing, ranks, allow_code=allow_code
            )
        self.loader = _loader(recipe, self.train_data, ranks)
        self.progress = _Progress()
        self._losses = Losses(ranks.device)
        self._validation: ScoredImages | None = None
        self._has_validated = False
        self._seen: dict[str, Any] = {}
        self._inherited = inherited_images(recipe.model.weights)
        self._saved = time.monotonic()
        self._told_of_pipes = False
        self._identity = data_identity(self.train_data, self.validation_data)
        if ranks.first:
            watcher.began(self._start(report, resumed=resumed))
            if self.run.recipe.schedule.micro_batch == "auto":
                watcher.noted(self._note_of_micro_batch())
            if recipe.train.sync_batch_norm and ranks.world == 1:
                note = "train.sync_batch_norm does nothing with one process"
                watcher.noted(note, "torchrun starts several")
            weights = recipe.model.weights
            if note := note_of_inherited(weights, self._inherited, self.validation_data):
                watcher.noted(note, f"{{splits}} {weights} uses its split again")
            if note := note_of_memory(len(self.validation_data), labels, machine_memory()):
                watcher.noted(note, "a smaller data.holdout or validation split takes less")
            for note in (
                *self.train_data.notes,
                *label_notes(self.train_data, self.validation_data),
            ):
                watcher.noted(note)
        if resumed:
            self._take_up()
            if self._is_done() and ranks.first:
                watcher.noted("nothing is left to train", "a larger {epochs} goes on")
                self.run.write_metrics(self.progress.history)  # which may have been removed

    def _is_done(self) -> bool:
        return self.progress.epoch >= self.run.recipe.schedule.epochs

    def _with_micro_batch(self, network: nn.Module, *, allow_code: bool) -> Recipe:
        """The recipe with the number of images that fit; the run's stays, for other machines."""
        recipe, data = self.run.recipe, self.train_data
        rows = [row % len(data) for row in range(self._at_once)]
        self._at_once = fitting_micro_batch(
            network,
            recipe,
            self.spec.preprocessing,
            self.ranks,
            torch.from_numpy(data.labels.dense(rows)),
            allow_code=allow_code,
        )
        return recipe.with_values({"schedule": {"micro_batch": self._at_once}})

    def _note_of_micro_batch(self) -> str:
        share = images_at_once(self.run.recipe.schedule, self.ranks.world)
        images = f"all {share}" if share == self._at_once else f"{self._at_once} of {share}"
        of_rank = " of a rank" if self.ranks.world > 1 else ""
        return f"{images} images{of_rank} fit in the GPU's memory at once (micro-batch auto)"

    def _take_up(self) -> None:
        """Go on where the last state left the run."""
        with self._device_errors():
            saved = read_state(self.run.folder, self.ranks.device)
            state, own = saved.values, self._identity
            try:
                was = state.pop("data", own)  # twl 0.1.0 did not keep it
                check_identity(was, own, source=self.train_data.source)
                self._check_recipe(state.pop("recipe", {}))
                of_page = state.pop("page", {})
                self.progress = _Progress.read(state.pop("progress"))
                self.stepper.load_state(state)
            except RuntimeError as error:
                recipe = self.run.folder / "recipe.toml"
                raise ModelError(
                    f"{self.run.folder}: what was saved is of another network than {recipe} names"
                ) from error
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                raise ModelError(
                    f"{self.run.folder}: what was saved to resume it is not twl's ({error})"
                ) from error
        if saved.note and self.ranks.first:
            self.watcher.noted(saved.note)
        if self.page:
            self.page.take_up(self.progress.history, of_page)
        self._check_kept()

    def _check_kept(self) -> None:
        """See that the best weights are there; without them the best epoch is yet to come.

        Raises:
            ModelError: they are not, and no epoch is left.
        """
        if self.progress.best == -math.inf:
            return
        lost = ""
        if self.ranks.first:
            try:
                read_checkpoint(self.run.checkpoint)
            except ModelError as error:
                lost = str(error)
        lost = self.ranks.gather(lost)[0]
        if not lost:
            return
        if self._is_done():
            raise ModelError(lost, hint="more {epochs} make another")
        self.progress.best = -math.inf
        if self.ranks.first:
            self.watcher.noted(f"{lost}; the best of the epochs to come is kept")

    def _lasting(self) -> dict[str, Any]:
        """What of the recipe makes the run what it is."""
        values = self.run.recipe.values().items()
        return {key: value for key, value in values if key not in CHANGEABLE}

    def _check_recipe(self, saved: Mapping[str, Any]) -> None:
        """Raise ModelError where the recipe was edited since a state was saved."""
        now = self._lasting()
        for key, value in saved.items():
            if key in now and now[key] != value:
                raise ModelError(
                    f"{self.run.folder / 'recipe.toml'}: {key} is {now[key]}; the run began with "
                    f"{value}"
                )

    def _device_errors(self) -> AbstractContextManager[None]:
        return device_errors(self._at_once, self.run.recipe.image.size)

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
            self.run.has_held_out,
            in_one_line(self.train_data, self.validation_data),
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
        own_state = own_torch_state(self.ranks.device, self.run.recipe.train.threads)
        following = self.page.following() if self.page else nullcontext()
        with following, own_state, self._device_errors(), loader_errors(), closing(self.loader):
            self._look(should_stop)  # from here on a signal is asked for, and interrupts nothing
            while not self._is_done():
                started, first = time.monotonic(), self.progress.step
                self._train_epoch(should_stop)
                steps = self.progress.step - first
                images = steps * self.loader.order.batch_size
                rate = images / (time.monotonic() - started) if images else None
                self._validation = None  # which makes room for the next
                if self._validates():
                    self._validation = self._validate(should_stop)
                self._end_epoch(self._validation, rate)

    def _train_epoch(self, should_stop: Callable[[], bool]) -> None:
        progress, steps = self.progress, len(self.loader)
        if self.ranks.first:
            self.watcher.epoch_began(progress.epoch, steps, progress.step)

        def waiting(seconds: float) -> None:
            self._wait(seconds, should_stop)

        batches = self.loader.epoch(progress.epoch, first=progress.step, waiting=waiting)
        for batch in on_device(batches, self.ranks.device):
            self._note(batch)
            # Alone, a batch without images is no step, nor is one for batch norm.
            enough = len(batch) >= min(2, self.loader.order.batch_size)
            if enough or self.ranks.group is not None:
                step = progress.epoch * steps + progress.step
                all_steps = steps * self.run.recipe.schedule.epochs
                self._losses.add(self.stepper(batch, step, all_steps))
            progress.step += 1
            looks = progress.step % _STEPS_BETWEEN_LOOKS == 0 or progress.step == steps
            self._take_losses(wait=progress.step == steps)
            if self.ranks.first:
                self.watcher.step_ended(len(batch) * self.ranks.world, self._mean_loss())
            if looks or self.ranks.world == 1:
                self._look(should_stop)
        if not self.ranks.any(progress.images > 0):
            raise AnnotationError(f"no training image can be read: {progress.unreadable[0]}")

    def _note(self, batch: Batch) -> None:
        """Count the images of a batch, and tell once where it did not fit in shared memory."""
        self.progress.images += len(batch)
        self.progress.profiles_ignored += batch.profiles_ignored
        self.progress.unreadable += batch.unreadable
        if batch.piped and self.ranks.first and not self._told_of_pipes:
            self._told_of_pipes = True
            self.watcher.noted(
                f"a batch of {batch.images.nbytes / 2**20:.1f} MB does not fit in {SHARED_MEMORY}, "
                f"which has {free_shared_memory() / 2**20:.1f} MB left, or is above the limit for "
                "one file; batches go through pipes, which is slower",
                "more shared memory (of a container: --shm-size=1g) or fewer {workers} avoid it",
            )

    def _wait(self, seconds: float, should_stop: Callable[[], bool]) -> None:
        """Called every second in which no batch comes."""
        if self.ranks.world == 1:  # several ranks can save between steps only
            self._look(should_stop)
        if seconds > self.loader.patience:
            if self.ranks.world == 1:
                self._take_losses(wait=True)
                self._save()
            raise DeviceError(
                f"no images came for {seconds / 60:.0f} minutes; is the disk that holds them there?"
            )

    def _take_losses(self, *, wait: bool) -> None:
        """Add up losses that have arrived from the device, or all."""
        values = self._losses.all() if wait else self._losses.arrived()
        self.progress.loss_sum += sum(values)
        self.progress.loss_steps += len(values)

    def _mean_loss(self) -> float | None:
        progress = self.progress
        return progress.loss_sum / progress.loss_steps if progress.loss_steps else None

    def _look(self, should_stop: Callable[[], bool]) -> None:
        """Stop all ranks where one has to, and save now and then; every rank has to look."""
        progress, minutes = self.progress, self.run.recipe.train.save_minutes
        due = bool(minutes) and time.monotonic() - self._saved >= 60 * minutes
        looks = self.ranks.gather((should_stop(), due))
        stops, saves = any(stop for stop, _ in looks), looks[0][1]
        self._take_losses(wait=stops or saves)  # what is saved has all of them, and is sound
        losses = self.ranks.gather(progress.loss_sum)
        if wrong := [loss for loss in losses if not math.isfinite(loss)]:
            raise DivergedError(
                f"the loss became {wrong[0]} in epoch {progress.epoch + 1}, step {progress.step}; "
                f"try a lower learning rate (it is {self.run.recipe.optimizer.learning_rate:g})"
            )
        if stops:
            self._interrupt()
        if saves:
            self._save()

    def _interrupt(self) -> NoReturn:
        self._save()
        progress = self.progress
        raise InterruptedRunError(
            f"interrupted in epoch {progress.epoch + 1} after step {progress.step}",
            self.run.folder,
        )

    def _validate(self, should_stop: Callable[[], bool] = lambda: False) -> ScoredImages:
        self.stepper.share_statistics()
        scored = validate(
            self.stepper.best_network,
            self.spec,
            self.validation_data,
            self.ranks,
            self.watcher.validated if self.ranks.first else lambda done: None,
            should_stop,
            # A CPU scores in float32, to which scores and thresholds are then exact: most of its
            # time goes into decoding anyway.
            precision=None if self.ranks.device.type == "cpu" else self.stepper.autocast_dtype,
        )
        if scored is None:
            self._interrupt()
        if scored.unreadable and not self._has_validated and self.ranks.first:
            first = scored.unreadable[0]
            self.watcher.noted(
                f"{len(scored.unreadable):,} of {len(self.validation_data):,} validation images "
                f"cannot be read, and are in no score (the first: {first.image}: {first.reason})"
            )
        self._has_validated = True
        return scored

    def last_validation(self) -> ScoredImages:
        """Scores of the network as the last epoch left it; every rank has to ask."""
        if self._validation is None:
            self._validation = self._validate()
        return self._validation

    def _validates(self) -> bool:
        schedule, epoch = self.run.recipe.schedule, self.progress.epoch + 1
        return epoch % schedule.validate_every == 0 or epoch == schedule.epochs

    def _end_epoch(self, validation: ScoredImages | None, images_per_second: float | None) -> None:
        progress = self.progress
        by_label, scores = None, {}
        if validation:
            by_label = average_precision_per_label(validation.logits, validation.targets)
            scores = epoch_scores(validation, by_label)
        record: dict[str, Any] = {
            "epoch": progress.epoch + 1,
            "loss": self._mean_loss(),
            **scores,
        }
        if images_per_second is not None:
            record["images_per_second"] = images_per_second
        # The score is NaN where no validation image has a label; then the last epoch is kept.
        best = validation is not None and not record["map_class"] <= progress.best
        progress.best = record["map_class"] if best else progress.best
        progress.history.append(record)
        progress.epoch += 1
        self._note_profiles()
        progress.step, progress.loss_sum, progress.loss_steps = 0, 0.0, 0
        progress.images = progress.profiles_ignored = 0
        if best and validation and self.ranks.first:
            self._keep(validation, record["epoch"], scores)
        if self.page and validation and by_label is not None:
            self.page.scored(validation, by_label, self.spec, record["epoch"], best=best)
        self._save()
        if self.ranks.first:
            self.watcher.epoch_ended(record, best)

    def _note_profiles(self) -> None:
        """Say of the first epoch's images, which come again in each, what was ignored."""
        count = sum(self.ranks.gather(self.progress.profiles_ignored))
        if count and self.progress.epoch == 1 and self.ranks.first:
            self.watcher.noted(
                f"{count:,} training images were read without the embedded colour profile, which "
                "is damaged or does not fit"
            )

    def _keep(self, validation: ScoredImages, epoch: int, scores: Mapping[str, float]) -> None:
        """Write the weights with calibration and thresholds fitted to the validation images."""
        fitted = fit(validation.logits, validation.targets, self.spec)
        measured = {"epoch": epoch} | {key: round(value, 6) for key, value in scores.items()}
        self._seen = self._seen or {
            "training": with_sample(sample_of(hashes_of(self.train_data)), self._inherited),
            "fitted": sample_of(hashes_of(self.validation_data)),
        }
        provenance = {**self.spec.provenance, "validation": measured, SEEN_KEY: self._seen}
        spec = replace(fitted, provenance=provenance)
        write_checkpoint(self.stepper.best_network, spec, self.run.checkpoint)

    def _save(self) -> None:
        """Write everything that `resume` needs; only the first rank does."""
        reasons = self.ranks.gather(self.progress.unreadable)
        everywhere = sorted({reason for part in reasons for reason in part})
        if self.ranks.first:
            self.progress.unreadable = everywhere
            state = {
                "progress": vars(self.progress),
                "data": self._identity,
                "recipe": self._lasting(),
                "page": self.page.kept() if self.page else {},
            }
            # First, as a run with metrics and no state counts as one whose state was removed.
            write_state(self.run.folder, {**self.stepper.state(), **state})
            self.run.write_metrics(self.progress.history)
            write_curves(self.run.folder / CURVES_NAME, self.progress.history)
            if everywhere:
                self.run.write_unreadable(everywhere)
        self._saved = time.monotonic()


def checked_data(run: Run, data: Annotations | None) -> tuple[Annotations, Annotations]:
    """The training and validation images, that are there."""
    train, validation = run.split_data(data)
    for part in (train, validation):
        check_images(part)
    return train, validation


def new_spec(recipe: Recipe, data: Annotations) -> ModelSpec:
    """What a model carries before it is trained."""
    loss = recipe.loss
    loss_used = {"name": loss.name, "class_scope": loss.class_scope, **loss.options}
    provenance = {
        "twl": __version__,
        "data": data.source.name,
        "loss": loss_used,
        "recipe": portable_tables(recipe),
    }
    if weights := origin_of(recipe.model.backbone, recipe.model.weights):
        provenance["weights"] = weights
    return ModelSpec(
        data.vocabulary,
        recipe.model.backbone,
        preprocessing_of(recipe.image),
        provenance=provenance,
        head=recipe.model.head,
    )


def preprocessing_of(image: ImageRecipe) -> Preprocessing:
    """How images become the input of a network that is trained by a recipe."""
    return Preprocessing(
        resize=image.resize,
        crop=image.size,
        interpolation=image.interpolation,
        mean=image.mean,
        std=image.std,
    )


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
