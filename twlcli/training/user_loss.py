"""A loss of the user's own in training: of the batch that all ranks hold together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from twlcli.errors import RecipeError
from twlcli.losses.batch import averaging, widened
from twlcli.model.user_code import kind_of


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
        self._is_checked = False

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of logits (N, C) and targets (N, C), a scalar.

        Raises:
            RecipeError: the function gave something else than a scalar tensor, or one without a
                gradient by the logits.
        """
        logits = widened(logits)
        if self.group is None:
            return self._of(logits, targets)
        everywhere = _gathered(logits, self.group), _gathered(targets, self.group)
        return averaging(self._of(*map(torch.cat, everywhere)), self.group)

    def _of(self, logits: Tensor, targets: Tensor) -> Tensor:
        loss = self.function(logits, targets, **self.options)
        if not isinstance(loss, Tensor) or loss.ndim:
            what = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else kind_of(loss)
            raise RecipeError(f"loss '{self.name}' gave {what}; expected a tensor of shape ()")
        if logits.requires_grad and not self._is_checked:
            self._check_gradient(loss, logits)
            self._is_checked = True
        return loss

    def _check_gradient(self, loss: Tensor, logits: Tensor) -> None:
        """Raise RecipeError where a loss does not follow from the logits, as far as torch knows."""
        gradient = None
        if loss.grad_fn is not None:
            (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True, allow_unused=True)
        if gradient is None:
            raise RecipeError(
                f"loss '{self.name}' gave a number that has no gradient by the logits; expected "
                "one that torch computes of them, neither detached nor under torch.no_grad"
            )


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
