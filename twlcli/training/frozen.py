"""Training with a frozen backbone: images go through it once, and the head is found exactly."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.split import stratified_folds
from twlcli.annotations.summary import in_one_line
from twlcli.errors import InterruptedRunError, ModelError, RecipeError, TwlError
from twlcli.features import network as networks
from twlcli.features.about import About
from twlcli.features.cache import FeatureCache, default_folder
from twlcli.features.extract import Extracted, Stopped, extract
from twlcli.heads.cross_validation import PENALTIES, HeadProblem, Loss, Tried, try_penalties
from twlcli.heads.lbfgs import Solution
from twlcli.heads.standard import Standard
from twlcli.inference.scored import ScoredImages
from twlcli.losses import LOSSES
from twlcli.model.backbones import build_backbone
from twlcli.model.checkpoint import load_checkpoint, read_spec, write_checkpoint
from twlcli.model.torch import pick_device
from twlcli.model.user_code import load_loss
from twlcli.model.weights import WeightsReport, load_weights
from twlcli.recipe import LossRecipe
from twlcli.recipe.names import is_code
from twlcli.runs.run_folder import CROSS_VALIDATED_NAME, Run, check_training, read_data
from twlcli.runs.seen import SEEN_KEY, hashes_of, sample_of
from twlcli.scoring.average_precision import (
    average_precision_per_image,
    average_precision_per_label,
    mean_over_lines,
    of_labels_with_both,
)
from twlcli.scoring.evaluation import epoch_scores
from twlcli.scoring.fit import fit
from twlcli.scoring.scores_file import write_scores
from twlcli.training.devices import own_torch_state
from twlcli.training.label_notes import label_notes
from twlcli.training.run_page import RunPage
from twlcli.training.trainer import checked_data, new_spec
from twlcli.training.user_loss import UserLoss
from twlcli.training.watcher import TrainStart, Watcher


def train_frozen(
    run: Run,
    watcher: Watcher,
    *,
    data: Annotations | None,
    device: str,
    should_stop: Callable[[], bool],
    features: Path | None = None,
    writes_page: bool = False,
) -> ScoredImages:
    """Find the head of a run's backbone, and write the run's checkpoint.

    Where the run has one already, another is found in its place, as if it had none: labels with
    fewer mistakes than before want a weaker penalty, and no fold may begin with a head that knows
    its images.

    Args:
        run: the run folder.
        watcher: told about the progress.
        data: the run's, where they are read already.
        device: `auto`, `cuda`, `cuda:1`, `mps` or `cpu`.
        should_stop: asked now and then; on True what was computed of features is kept.
        features: the folder of cached features; None is the user's own.
        writes_page: write `report.html` in the end.

    Returns:
        The validation images with the logits of the head.

    Raises:
        InterruptedRunError: `should_stop` said so.
        AnnotationError: the data cannot be read, or an image is missing.
        RecipeError: the recipe asks for what a frozen backbone cannot do.
        ModelError: the pretrained weights cannot be read.
    """
    picked = pick_device(device)
    with own_torch_state(picked, run.recipe.train.threads):
        cached = features or default_folder()
        return _Frozen(run, watcher, data, picked, should_stop, cached, writes_page).train()


@dataclass(frozen=True)
class _Split:
    """The images of a split that could be read, with their features and targets.

    Attributes:
        data: n images.
        features: (V n, D).
        targets: (n, C) of 1 present, 0 absent, -1 unknown.
    """

    data: Annotations
    features: Tensor
    targets: NDArray[np.int8]

    def scored(self, logits: NDArray[np.float32]) -> ScoredImages:
        """What logits (n, C) say of the images."""
        return ScoredImages(tuple(self.data.images), logits, self.targets)


class _Frozen:
    """A run whose head is being found."""

    def __init__(
        self,
        run: Run,
        watcher: Watcher,
        data: Annotations | None,
        device: torch.device,
        should_stop: Callable[[], bool],
        folder: Path,
        writes_page: bool,
    ) -> None:
        self.run = run
        self.device = device
        self.should_stop = should_stop
        self.folder = folder
        self.recipe = run.recipe
        self.train_data, self.validation_data = checked_data(run, data)
        self.page = RunPage(watcher, self.train_data, self.validation_data) if writes_page else None
        self.watcher = self.page or watcher
        self.spec = new_spec(self.recipe, self.train_data)
        self.is_found = run.checkpoint.exists()
        self.history: list[dict[str, Any]] = []
        self.unreadable: list[str] = []
        self.weights: WeightsReport | None = None
        if self.is_found:
            self._continue()
        else:
            self._begin()
        self.head = networks.head_of(self.network, self.recipe.model.backbone)
        self._tell()

    def _begin(self) -> None:
        """Build the network with the recipe's weights."""
        model, size = self.recipe.model, self.recipe.image.size
        names = self.spec.vocabulary.names
        torch.manual_seed(self.recipe.train.seed)
        self.network = build_backbone(
            model.backbone,
            len(names),
            image_size=size,
            pretrained=model.weights == "default",
            allow_code=True,  # it was allowed before the run was begun
        )
        self.weights = load_weights(
            self.network, model.backbone, model.weights, names, image_size=size
        )

    def _continue(self) -> None:
        """Take the network of the run as it is.

        Raises:
            ModelError: it is of other labels or images, or another network than the recipe's.
        """
        backbone, theirs = self.recipe.model.backbone, read_spec(self.run.checkpoint).backbone
        if theirs != backbone:
            raise ModelError(f"{self.run.checkpoint}: its backbone is {theirs}, not {backbone}")
        # The recipe's code was allowed before the run was begun, and this is no other.
        self.network, spec = load_checkpoint(self.run.checkpoint, allow_code=True)
        if spec.vocabulary != self.spec.vocabulary:
            raise ModelError(
                f"{self.run.checkpoint}: has other labels than {self.train_data.source}",
                hint="a new run with {weights} " + f"{self.run.folder} starts from its model",
            )
        self._check_images(spec.provenance)

    def _check_images(self, provenance: Mapping[str, Any]) -> None:
        """Raise ModelError where the head is of other training images than the data have now."""
        try:
            before = provenance["cross_validation"]["images"]  # which a whole network has not
        except (KeyError, TypeError):
            return
        if before != self._names_digest:
            raise ModelError(
                f"{self.train_data.source}: its training images are not those that the run began "
                "with; a head is found anew for the same images",
                hint="a new run uses the features that are there",
            )

    @cached_property
    def _names_digest(self) -> str:
        """A digest of the training images' names, without those that corrections brought."""
        names, data = set(self.train_data.images), self.recipe.data
        if data.corrections:
            names &= set(read_data(data.model_copy(update={"corrections": ""})).images)
        text = "\n".join(sorted(names)).encode("utf-8", "surrogateescape")
        return hashlib.sha256(text).hexdigest()

    def _tell(self) -> None:
        self.watcher.began(
            TrainStart(
                self.run,
                str(self.device),
                "float32",
                1,
                self.weights,
                len(self.train_data),
                len(self.validation_data),
                self.run.has_held_out,
                in_one_line(self.train_data, self.validation_data),
                self.is_found,
            )
        )
        for note in (*self.train_data.notes, *label_notes(self.train_data, self.validation_data)):
            self.watcher.noted(note)

    def train(self) -> ScoredImages:
        """From images to the checkpoint, and what it says of the validation images."""
        train, validation = self._splits()
        standard = Standard.of(train.features)
        problem = HeadProblem(
            standard.apply_(train.features),
            torch.from_numpy(train.targets).to(self.device),
            head_loss(self.recipe.loss),
            tolerance=self.recipe.frozen.tolerance,
        )
        best = self._cross_validated(problem, train, standard)
        solution = problem.solved(best.penalty, best.heads.mean(0), self.should_stop)
        self._look()
        if not (solution.converged and best.converged):
            self.watcher.noted(
                f"a head has not converged: the norm of its gradient is "
                f"{solution.gradient_norm:.2g} after {solution.iterations:,} iterations"
            )
        return self._keep(train, validation, best, solution, standard.folded(solution.head))

    def _splits(self) -> tuple[_Split, _Split]:
        """The images that can be read, with their features."""
        device, backbone = self.device, self.recipe.model.backbone
        about = networks.about(self.network, backbone, self.spec.preprocessing, device)
        with self._cache(about) as cache:

            def extracted(data: Annotations, views: int) -> _Split:
                found = extract(
                    lambda: networks.predictor(self.network, about, cache.network, device),
                    cache,
                    data,
                    views=views,
                    progress=self.watcher.extracted,
                    should_stop=self.should_stop,
                )
                return self._readable(data, found)

            try:
                train = extracted(self.train_data, self.recipe.frozen.views)
                self.run.write_unreadable(self.unreadable)
                validation = extracted(self.validation_data, 1)
                self._note_unreadable(len(self.validation_data) - len(validation.data))
                if len(train.data) < len(self.train_data):
                    source = self.train_data.source
                    check_training(train.data, f"{source}, of the images that can be read")
                return train, validation
            except Stopped:
                self._interrupt()

    def _cache(self, about: About) -> FeatureCache:
        try:
            return FeatureCache(self.folder, about)
        except TwlError as error:
            error.advise("{features} names another folder")
            raise

    def _note_unreadable(self, count: int) -> None:
        if count:
            self.watcher.noted(
                f"{count:,} of {len(self.validation_data):,} validation images cannot be read, and "
                f"are in no score (the first: {self.unreadable[-count]})"
            )

    def _readable(self, data: Annotations, found: Extracted) -> _Split:
        self.unreadable += [f"{each.image}: {each.reason}" for each in found.unreadable]
        readable = data.select(found.rows)
        features = torch.from_numpy(found.features).to(self.device)
        return _Split(readable, features, readable.labels.dense())

    def _cross_validated(self, problem: HeadProblem, train: _Split, standard: Standard) -> Tried:
        """The best penalty, with what heads say of images that they were found without."""
        seed = self.recipe.train.seed
        folds = stratified_folds(train.data, self.recipe.frozen.folds, seed=seed)
        best = -math.inf

        def score(logits: NDArray[np.float32]) -> float:
            if is_code(self.recipe.loss.name) and not np.isfinite(logits).all():
                raise _not_finite(self.recipe.loss.name)
            by_label = average_precision_per_label(logits, train.targets)
            return mean_over_lines(of_labels_with_both(by_label, train.targets)).value

        def tried(result: Tried) -> None:
            nonlocal best
            record = {
                "penalty": result.penalty,
                "map_class": result.score,
                "map_sample": mean_over_lines(
                    average_precision_per_image(result.logits, train.targets)
                ).value,
                "gradient_norm": result.gradient_norm,
                "converged": result.converged,
                "iterations": result.iterations,
            }
            self.history.append(record)
            self.watcher.penalty_tried(record, result.score > best)
            best = max(best, result.score)

        penalty = self.recipe.frozen.penalty
        found = try_penalties(
            problem,
            folds,
            score,
            penalties=(penalty,) if penalty else PENALTIES,
            should_stop=self.should_stop,
            tried=tried,
        )
        self._look()
        return found

    def _keep(
        self, train: _Split, validation: _Split, best: Tried, solution: Solution, head: Tensor
    ) -> ScoredImages:
        """Write the checkpoint, with calibration and thresholds of the folds' logits."""
        scored = validation.scored((validation.features @ head[:-1] + head[-1]).cpu().numpy())
        with torch.no_grad():
            self.head.weight.copy_(head[:-1].T)
            self.head.bias.copy_(head[-1])
        seen = sample_of(hashes_of(self.train_data))
        record = next(each for each in self.history if each["penalty"] == best.penalty)
        crossed = _rounded({name: record[name] for name in ("map_class", "map_sample")})
        is_held_out = not set(train.data.images) & set(validation.data.images)
        provenance = {
            **self.spec.provenance,
            # Of images that the head was found for, only what others say of them counts.
            "validation": _rounded(epoch_scores(scored)) if is_held_out else crossed,
            "cross_validation": {
                "images": self._names_digest,
                "folds": len(best.heads),
                "penalty": best.penalty,
                **crossed,
                "gradient_norm": solution.gradient_norm,
                "converged": solution.converged,
            },
            SEEN_KEY: {"training": seen, "fitted": seen},
        }
        spec = replace(fit(best.logits, train.targets, self.spec), provenance=provenance)
        of_folds = train.scored(best.logits)
        write_scores(of_folds, spec, self.run.folder / CROSS_VALIDATED_NAME)
        self.run.write_metrics(self.history)
        write_checkpoint(self.network, spec, self.run.checkpoint)  # with which the head is there
        self.run.write_recipe()  # of a run that goes on with changes, once it has
        if self.page:
            self.page.head_found(
                self.history, spec, of_folds, train.data, scored if is_held_out else None
            )
        return scored

    def _look(self) -> None:
        if self.should_stop():
            self._interrupt()

    def _interrupt(self) -> NoReturn:
        raise InterruptedRunError(
            "interrupted; features that were computed are kept", self.run.folder
        )


def head_loss(recipe: LossRecipe) -> Loss:
    """The loss of a recipe, with the gradient of its value."""
    options: dict[str, Any] = dict(recipe.options)
    if is_code(recipe.name):
        function = load_loss(recipe.name, options, allowed=True)
        return _Finite(UserLoss(recipe.name, function, options, group=None))
    if "focus_gradient" in options:
        options["focus_gradient"] = True
    return partial(LOSSES[recipe.name], **options)


class _Finite:
    """A loss of the user's, which has to be a number for the head that a search begins with.

    Where a step of the search is too long it need not be one.
    """

    def __init__(self, loss: UserLoss) -> None:
        self._loss = loss
        self._is_checked = False

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        loss = self._loss(logits, targets)
        if not self._is_checked:
            (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)
            if not (loss.isfinite() and gradient.isfinite().all()):
                raise _not_finite(self._loss.name)
            self._is_checked = True
        return loss


def _not_finite(loss: str) -> RecipeError:
    return RecipeError(
        f"loss '{loss}' or its gradient is NaN or infinite; expected finite numbers for any logits "
        "and targets of 1, 0 and -1"
    )


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: round(score, 6) for name, score in scores.items()}
