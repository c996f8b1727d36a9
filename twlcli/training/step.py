"""One step of training: a batch of images to changed weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from twlcli.errors import RecipeError, did_you_mean
from twlcli.losses import LOSSES
from twlcli.recipe import LossRecipe, Recipe
from twlcli.spec import Preprocessing
from twlcli.training.augment import change_colour, normalise, to_unit
from twlcli.training.devices import Ranks, autocast_dtype
from twlcli.training.loader import Batch
from twlcli.training.optimizer import build_optimizer, set_rate

_SEED_STRIDE = 1_000_003  # a prime: seeds of neighbouring runs, steps and ranks do not meet


class Stepper:
    """The network in training, its optimizer and the moving average of its weights."""

    def __init__(
        self, network: nn.Module, recipe: Recipe, preprocessing: Preprocessing, ranks: Ranks
    ) -> None:
        self.recipe = recipe
        self.preprocessing = preprocessing
        self.ranks = ranks
        self.network = network.to(ranks.device).to(memory_format=torch.channels_last)
        self.optimizer = build_optimizer(self.network, recipe)
        self.average = _moving_average(self.network, recipe.train.ema)
        self.autocast_dtype = autocast_dtype(recipe.train.precision, ranks.device)
        self.loss = loss_of(recipe.loss, ranks)
        self._forward = self._distributed(self.network)
        if recipe.train.compile:
            self._forward = torch.compile(self._forward)

    @property
    def best_network(self) -> nn.Module:
        """The network to evaluate and keep: the moving average where there is one."""
        return self.network if self.average is None else self.average.module

    def __call__(self, batch: Batch, step: int, steps: int) -> Tensor:
        """Train on one batch; step `step` of `steps`. Returns the loss, still on the device."""
        # Dropout and stochastic depth depend on the step and rank alone, so that a resumed run
        # draws what an uninterrupted one would have.
        place = step * self.ranks.world + self.ranks.rank
        torch.manual_seed((self.recipe.train.seed + _SEED_STRIDE * place) % 2**63)
        set_rate(self.optimizer, self.recipe, step, steps)
        batch = batch.to(self.ranks.device)
        self.network.train()
        logits = self._logits(batch)
        loss = self.loss(logits, batch.targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.recipe.optimizer.clip > 0:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.optimizer.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return loss.detach()

    def share_statistics(self) -> None:
        """Give every rank the first one's batch-norm statistics: all evaluate one network."""
        if self.ranks.group is not None:
            for buffer in self.best_network.buffers():
                dist.broadcast(buffer, 0, group=self.ranks.group)

    def _logits(self, batch: Batch) -> Tensor:
        images = normalise(change_colour(to_unit(batch.images), batch.colour), self.preprocessing)
        device, dtype = self.ranks.device, self.autocast_dtype
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            logits: Tensor = self._forward(images)
        return logits

    def _distributed(self, network: nn.Module) -> Callable[[Tensor], Tensor]:
        if self.ranks.group is None:
            return network
        return DistributedDataParallel(network, process_group=self.ranks.group)

    def state(self) -> dict[str, object]:
        """All that training changes, for a checkpoint."""
        average = None if self.average is None else self.average.state_dict()
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": average,
        }

    def load_state(self, state: dict[str, dict[str, object]]) -> None:
        """Take up a checkpoint's state."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def loss_of(recipe: LossRecipe, ranks: Ranks) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss that a recipe names, with its options, over all ranks or over each on its own.

    Raises:
        RecipeError: there is no such loss.
    """
    options = {
        option.name: getattr(recipe, option.name)
        for option in fields(recipe)
        if option.name not in ("name", "class_scope")
    }
    group = ranks.group if recipe.class_scope == "global" else None
    if recipe.name not in LOSSES:
        hint = did_you_mean(recipe.name, LOSSES) or f" ({', '.join(LOSSES)})"
        raise RecipeError(f"loss.name is '{recipe.name}', which is not a loss{hint}")
    loss = LOSSES[recipe.name]
    return lambda logits, targets: loss(logits, targets, group=group, **options)


def _moving_average(network: nn.Module, decay: float) -> AveragedModel | None:
    if decay == 0:
        return None
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
