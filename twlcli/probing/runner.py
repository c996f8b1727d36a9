"""Every model on every image set; needs torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from twlcli.annotations.annotations import Annotations
from twlcli.errors import InterruptedRunError
from twlcli.features import network as networks
from twlcli.features.about import About
from twlcli.features.cache import FeatureCache
from twlcli.features.extract import Extracted, Stopped, extract
from twlcli.model.backbones import build_backbone
from twlcli.model.checkpoint import load_checkpoint
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.torch import pick_device
from twlcli.model.weights import load_weights
from twlcli.probing.kept import KeptResults, key_of
from twlcli.probing.linear import Evaluation, Part, evaluate_features, has_single_labels
from twlcli.probing.plan import ImageSet, Model
from twlcli.probing.report import left_out
from twlcli.probing.result import ProbeResult
from twlcli.runs.run_folder import check_training
from twlcli.training.devices import own_torch_state
from twlcli.training.trainer import preprocessing_of


class ProbeWatcher(Protocol):
    """Told about a linear evaluation."""

    def began(self, model: str, data: str, number: int, total: int) -> None:
        """A model begins on an image set, the one of that number, from 1, of so many."""

    def extracted(self, done: int, total: int) -> None:
        """So many images went through the network, of so many that had no features yet."""

    def solved(self, done: int, total: int) -> None:
        """So many heads are found, of so many."""

    def noted(self, note: str) -> None:
        """Something that whoever started it should know."""

    def ended(self, result: ProbeResult, kept: bool) -> None:
        """A model is done with an image set; or was already, and the result was kept."""


class SilentProbe:
    """A `ProbeWatcher` that says nothing."""

    def began(self, model: str, data: str, number: int, total: int) -> None:
        """Say nothing."""

    def extracted(self, done: int, total: int) -> None:
        """Say nothing."""

    def solved(self, done: int, total: int) -> None:
        """Say nothing."""

    def noted(self, note: str) -> None:
        """Say nothing."""

    def ended(self, result: ProbeResult, kept: bool) -> None:
        """Say nothing."""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """What is the same for all models and image sets.

    Attributes:
        evaluation: how features are evaluated.
        out: the output folder.
        features: of the cache of features.
        device: `auto`, `cuda`, `cuda:1`, `mps` or `cpu`.
        watcher: told about the progress.
        should_stop: asked now and then.
        allow_code: import the network that a checkpoint names.
    """

    evaluation: Evaluation
    out: Path
    features: Path
    device: str
    watcher: ProbeWatcher
    should_stop: Callable[[], bool]
    allow_code: bool

    def run(self, models: Sequence[Model], sets: Sequence[ImageSet]) -> Iterator[ProbeResult]:
        """The results of each model on all image sets.

        Raises:
            InterruptedRunError: `should_stop` said so.
            TwlError: a model cannot be read, or no image of a part.
        """
        device = pick_device(self.device)
        number, total = 0, len(models) * len(sets)
        for model in models:
            with own_torch_state(device, 0):
                network, backbone, preprocessing = self._loaded(model)
            about = networks.about(network, backbone, preprocessing, device)
            for data in sets:
                if self.should_stop():
                    raise self._interrupted()
                number += 1
                self.watcher.began(model.name, data.name, number, total)
                yield self._one(model, data, network, about, device)

    def _one(
        self, model: Model, data: ImageSet, network: nn.Module, about: About, device: torch.device
    ) -> ProbeResult:
        """The result of a model on an image set, kept or computed."""
        single = has_single_labels(data.train, data.test)
        loss = "softmax" if single else self.evaluation.loss
        settings = asdict(self.evaluation)
        del settings["settings"]["block_bytes"]
        kept, key = KeptResults(self.out), key_of(about.key, data, {**settings, "loss": loss})
        if found := kept.read(key, model=model.name, data=data.name):
            self.watcher.ended(found, True)
            return found
        train, test, unreadable = self._parts(data, network, about, device)
        swept = evaluate_features(
            train,
            test,
            self.evaluation,
            device=device,
            solved=self.watcher.solved,
            should_stop=self.should_stop,
        )
        if not swept:
            raise self._interrupted()
        result = ProbeResult(
            model.name,
            data.name,
            len(data.train.vocabulary),
            about.width,
            len(train.data),
            len(test.data),
            unreadable,
            loss,
            swept,
        )
        kept.write(key, result)
        self.watcher.ended(result, False)
        return result

    def _parts(
        self, data: ImageSet, network: nn.Module, about: About, device: torch.device
    ) -> tuple[Part, Part, int]:
        """The training and test images that can be read, and how many cannot."""
        with FeatureCache(self.features, about) as cache:

            def extracted(part: Annotations) -> Extracted:
                return extract(
                    lambda: networks.predictor(network, about, cache.network, device),
                    cache,
                    part,
                    progress=self.watcher.extracted,
                    should_stop=self.should_stop,
                )

            try:
                found = [(part, extracted(part)) for part in (data.train, data.test)]
            except Stopped:
                raise self._interrupted() from None
        parts, unreadable = [], 0
        for part, of_part in found:
            parts.append(Part(part.select(of_part.rows), of_part.features))
            unreadable += len(of_part.unreadable)
            for each in of_part.unreadable[:1]:
                self.watcher.noted(
                    f"{data.name}: {left_out(len(of_part.unreadable))}, such as {each.image}: "
                    f"{each.reason}"
                )
        train, test = parts
        if unreadable:
            check_training(train.data, f"{data.name}, of the images that can be read")
        return train, test, unreadable

    def _loaded(self, model: Model) -> tuple[nn.Module, str, Preprocessing]:
        """A network with any head, its backbone's name, and how images become its input."""
        if model.checkpoint is not None:
            network, spec = load_checkpoint(model.checkpoint, allow_code=self.allow_code)
            return network, spec.backbone, spec.preprocessing
        assert model.recipe is not None
        given, size = model.recipe.model, model.recipe.image.size
        torch.manual_seed(self.evaluation.seed)
        network = build_backbone(
            given.backbone,
            1,
            image_size=size,
            pretrained=given.weights == "default",
            allow_code=True,  # the caller named it
        )
        report = load_weights(network, given.backbone, given.weights, image_size=size)
        if report is not None and report.missing:
            self.watcher.noted(
                f"{model.name}: {len(report.missing):,} of the backbone's tensors are not in the "
                f"weights and stay random, such as {report.missing[0]}"
            )
        return network, given.backbone, preprocessing_of(model.recipe.image)

    def _interrupted(self) -> InterruptedRunError:
        return InterruptedRunError(
            "interrupted; features and results that are done are kept", self.out
        )
