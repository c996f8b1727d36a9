"""A loss of the user's own in training: of the batch that all ranks hold together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from twlcli.errors import RecipeError
from twlcli.losses.batch import averaging, widened


class UserLoss:
    """A function `loss(logits, targets, **options) -> scalar` of the whole batch.

    The function gets logits (N, C) in at least float32 and targets (N, C) int8 of 1 present,
    0 absent and -1 unknown. Over ranks, each computes the loss of the whole batch, in which its own
    logits alone have a gradient; so the mean of the ranks' gradients is that of one process.

    Args:
        name: for error messages.
        function: the user's.
        options: its keywords.
        group: ranks that hold a batch together; None where each rank's share is a batch.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        options: dict[str, Any],
        group: dist.ProcessGroup | None,
    ) -> None:
        self.name = name
        self.function = function
        self.options = options
        self.group = group

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of logits (N, C) and targets (N, C), a scalar.

        Raises:
            RecipeError: the function gave something else than a scalar tensor.
        """
        logits = widened(logits)
        if self.group is None:
            return self._of(logits, targets)
        everywhere = _gathered(logits, self.group), _gathered(targets, self.group)
        return averaging(self._of(*map(torch.cat, everywhere)), self.group)

    def _of(self, logits: Tensor, targets: Tensor) -> Tensor:
        loss = self.function(logits, targets, **self.options)
        if not isinstance(loss, Tensor) or loss.ndim:
            what = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise RecipeError(f"loss '{self.name}' gave {what}; expected a tensor of shape ()")
        return loss


def _gathered(own: Tensor, group: dist.ProcessGroup) -> list[Tensor]:
    """The rows of every rank, which may be of different numbers; this one's with their gradient."""
    count = torch.tensor([len(own)], device=own.device)
    counts = [torch.empty_like(count) for _ in range(dist.get_world_size(group))]
    dist.all_gather(counts, count, group=group)
    most = max(map(int, counts))
    padded = own.new_zeros((most, *own.shape[1:]))
    padded[: len(own)] = own.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded, group=group)
    parts = [part[: int(rows)] for part, rows in zip(parts, counts, strict=True)]
    parts[dist.get_rank(group)] = own
    return parts
