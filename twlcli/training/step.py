"""One step of training: a batch of images to changed weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from twlcli.losses import LOSSES
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.user_code import load_loss
from twlcli.recipe import LossRecipe, Recipe
from twlcli.recipe.names import is_code
from twlcli.training.augment import network_input
from twlcli.training.buffers import kept_buffers
from twlcli.training.devices import Ranks, autocast_dtype, images_at_once
from twlcli.training.loader import Batch
from twlcli.training.missing_positives import without_likely_present
from twlcli.training.optimizer import build_optimizer, set_rate
from twlcli.training.recomputed import recompute_blocks
from twlcli.training.sync_norm import check_sync_norm, synchronised
from twlcli.training.user_loss import UserLoss

_COMPARE_IMAGES = ("two-way", "class-wise")  # the losses that loss.class_scope is about
_SEED_STRIDE = 1_000_003  # a prime: seeds of neighbouring runs, steps and ranks do not meet


class MovingAverage:
    """A moving average of a network's weights and buffers, with a warm-up.

    After t updates the decay is min(decay, (1 + t) / (10 + t)), as in TensorFlow's
    ExponentialMovingAverage: a short training is not left with its first weights.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = AveragedModel(network, use_buffers=True)
        self._is_empty = True

    @torch.no_grad()
    def update(self, network: nn.Module, updates: int) -> None:
        """Take up the network's weights, after `updates` earlier updates; the first is copied.

        AveragedModel's own update copies its count to the device, and waits for it.
        """
        decay = 0.0 if self._is_empty else min(self.decay, (1 + updates) / (10 + updates))
        for averages, current in self._by_dtype(network):
            get_ema_multi_avg_fn(decay)(averages, current, updates)
        self.model.n_averaged += 1
        self._is_empty = False

    def load(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's state."""
        self.model.load_state_dict(state)
        self._is_empty = not self.model.n_averaged.item()

    def _by_dtype(self, network: nn.Module) -> Iterable[tuple[list[Tensor], list[Tensor]]]:
        """Weights and buffers, averaged and current."""
        groups: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for average, current in zip(
            chain(self.model.module.parameters(), self.model.module.buffers()),
            chain(network.parameters(), network.buffers()),
            strict=True,
        ):
            averages, currents = groups.setdefault(average.dtype, ([], []))
            averages.append(average)
            currents.append(current)
        return groups.values()


class Stepper:
    """The network in training, its optimizer and the moving average of its weights.

    Raises:
        DeviceError: the device does not have what the recipe asks for.
        RecipeError: the network is not one for what the recipe asks for.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        preprocessing: Preprocessing,
        ranks: Ranks,
        *,
        allow_code: bool = False,
    ) -> None:
        check_sync_norm(recipe.train, ranks)
        self.recipe = recipe
        self.preprocessing = preprocessing
        self.ranks = ranks
        self.network = network.to(ranks.device).to(memory_format=torch.channels_last)
        self.optimizer = build_optimizer(self.network, recipe)
        self.average = MovingAverage(self.network, recipe.train.ema) if recipe.train.ema else None
        if recipe.train.sync_batch_norm and ranks.group is not None and ranks.device.type == "cuda":
            self.network = synchronised(self.network, ranks.group)
        if recipe.train.checkpoint_activations:
            recompute_blocks(self.network, recipe)
        self.autocast_dtype = autocast_dtype(recipe.train.precision, ranks.device)
        self.loss = loss_of(recipe.loss, ranks, allow_code=allow_code)
        # The graph is not declared static: its first backward pass must not be under no_sync, and
        # it is for reentrant checkpoints and unused parameters, which there are none of.
        self._distributed = (
            None
            if ranks.group is None
            else DistributedDataParallel(
                self.network,
                process_group=ranks.group,
                gradient_as_bucket_view=True,  # no second copy of the gradients
            )
        )
        self._forward: Callable[[Tensor], Tensor] = self._distributed or self.network
        self._input = network_input
        if recipe.train.compile:
            self._forward = torch.compile(self._forward)
            self._input = torch.compile(network_input)

    @property
    def images_at_once(self) -> int:
        """The most images that are in a rank's memory with all that their gradients need."""
        return images_at_once(self.recipe.schedule, self.ranks.world)

    @property
    def _share(self) -> int:
        """The most images of a batch that a rank has."""
        return -(-self.recipe.schedule.batch_size // self.ranks.world)

    @property
    def best_network(self) -> nn.Module:
        """The network to evaluate and keep: the moving average where there is one."""
        return self.network if self.average is None else self.average.model.module

    def __call__(self, batch: Batch, step: int, steps: int) -> Tensor:
        """Train on one batch; step `step` of `steps`. Returns the loss, still on the device.

        Nothing in a step waits for a GPU, so that its work is queued without a gap.
        """
        set_rate(self.optimizer, self.recipe, step, steps)
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        # All ranks go the same way, as each way has its own order of exchanges between them, and
        # each has an image for it, whatever could be read.
        parts = -(-self._share // self.images_at_once)
        if self.ranks.group is not None:
            batch = batch.padded(parts if len(batch) > 1 else 2 * parts)
        batch = batch.to(self.ranks.device)
        parts = min(parts, len(batch))
        if parts == 1:
            loss = self._backward_whole(batch, step, step / steps)
        else:
            loss = self._backward_split(batch.split(parts), step, step / steps)
        if self.recipe.optimizer.clip > 0:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.optimizer.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network, step)
        return loss

    def _loss(self, logits: Tensor, targets: Tensor, progress: float) -> Tensor:
        """The loss at a progress of 0..1 through the training."""
        share = self.recipe.data.missing_positives * progress
        if share > 0:
            targets = without_likely_present(logits, targets, share, group=self.ranks.group)
        return self.loss(logits, targets)

    def _backward_whole(self, batch: Batch, step: int, progress: float) -> Tensor:
        loss = self._loss(self._logits(batch, step), batch.targets, progress)
        loss.backward()
        return loss.detach()

    def _backward_split(self, parts: list[Batch], step: int, progress: float) -> Tensor:
        """The gradient of the whole batch with the memory of one part, in two passes.

        The loss compares images of different parts. So the first pass collects every part's
        logits without gradients, the loss is differentiated once with respect to all of them,
        and the second pass carries each part's slice of that gradient back through the network.
        """
        # Batch norm's running statistics count every image once.
        with kept_buffers(self.network), torch.no_grad():
            logits = torch.cat(
                [self._logits(part, step, number) for number, part in enumerate(parts)]
            )
        logits.requires_grad_()
        loss = self._loss(logits, torch.cat([part.targets for part in parts]), progress)
        slices = torch.autograd.grad(loss, logits)[0].split([len(part) for part in parts])
        for number, (part, gradient) in enumerate(zip(parts, slices, strict=True)):
            with self._gradients_shared(number == len(parts) - 1):
                self._logits(part, step, number).backward(gradient)
        return loss.detach()

    def share_statistics(self) -> None:
        """Give every rank the first one's batch-norm statistics: all evaluate one network."""
        if self.ranks.group is not None:
            for buffer in self.best_network.buffers():
                dist.broadcast(buffer, 0, group=self.ranks.group)

    def _logits(self, batch: Batch, step: int, part: int = 0) -> Tensor:
        # Dropout and stochastic depth depend on the step, rank and part alone, so that both passes
        # over a part, and a resumed run, draw the same.
        place = step * self.ranks.world + self.ranks.rank
        torch.manual_seed((self.recipe.train.seed + _SEED_STRIDE * place + part) % 2**63)
        images = self._input(batch.images, batch.colour, self.preprocessing)
        device, dtype = self.ranks.device, self.autocast_dtype
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            logits: Tensor = self._forward(images)
        return logits

    def _gradients_shared(self, shared: bool) -> AbstractContextManager[None]:
        """Whether ranks exchange the gradients of a backward pass; once a step is enough."""
        if shared or self._distributed is None:
            return nullcontext()
        return self._distributed.no_sync()

    def state(self) -> dict[str, object]:
        """All that training changes, for a checkpoint."""
        average = None if self.average is None else self.average.model.state_dict()
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": average,
        }

    def load_state(self, state: dict[str, dict[str, object]]) -> None:
        """Take up a checkpoint's state.

        Raises:
            RuntimeError: it is of another network.
        """
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load(state["average"])


def loss_of(
    recipe: LossRecipe, ranks: Ranks, *, allow_code: bool = False
) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss that a recipe names, with its options, of the batch that all ranks hold together.

    Raises:
        ModelError: it is `module:function`, which `allow_code` does not allow.
        RecipeError: there is no such function.
    """
    options: dict[str, Any] = dict(recipe.options)
    if is_code(recipe.name):
        function = load_loss(recipe.name, options, allowed=allow_code)
        group = ranks.group if recipe.class_scope == "global" else None
        return UserLoss(recipe.name, function, options, group)
    if recipe.name in _COMPARE_IMAGES:
        options["class_scope"] = recipe.class_scope
    return partial(LOSSES[recipe.name], group=ranks.group, **options)
