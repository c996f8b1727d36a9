"""What all losses share: checked inputs, and means over a batch that ranks hold together.

Over ranks, each gets the global value, and the mean over ranks of their gradients is the gradient
of the global loss, as data-parallel training averages gradients.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from twlcli.losses.targets import check_marks


def wide_logits(logits: Tensor, targets: Tensor) -> Tensor:
    """The logits in at least float32, beside targets of 1, 0 and -1.

    Raises:
        ValueError: shapes differ or are not (N, C), or a target is another number.
    """
    check_shapes(logits, targets)
    check_marks(targets)
    return widened(logits)


def check_shapes(logits: Tensor, targets: Tensor) -> None:
    """Refuse logits and targets that are not both (N, C).

    Raises:
        ValueError: they are not.
    """
    if logits.ndim != 2 or logits.shape != targets.shape:
        raise ValueError(
            "expected logits and targets of one shape (N, C), "
            f"got {tuple(logits.shape)} and {tuple(targets.shape)}"
        )


def widened(logits: Tensor) -> Tensor:
    """The logits in at least float32."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def batch_mean(total: Tensor, count: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """`total / count` over the batch, 0 where nothing counts; both are scalars of this rank."""
    if group is None:
        return total / count.clamp(min=1)
    everywhere = torch.stack((total.detach(), count.to(total.dtype)))
    dist.all_reduce(everywhere, group=group)
    global_total, global_count = everywhere.unbind()
    global_count = global_count.clamp(min=1)
    return averaging(total / global_count, group, value=global_total / global_count)


def batch_sum(total: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """`total` over the batch; a scalar of this rank."""
    if group is None:
        return total
    everywhere = total.detach().clone()
    dist.all_reduce(everywhere, group=group)
    return averaging(total, group, value=everywhere)


def averaging(own: Tensor, group: dist.ProcessGroup, *, value: Tensor | None = None) -> Tensor:
    """A scalar equal to `value` (or `own`) whose gradient outlives the averaging over ranks.

    `own` reaches the parameters through this rank's logits only, so the gradients of all ranks
    have to be added; data-parallel training averages them, hence the factor.
    """
    scaled = dist.get_world_size(group) * (own - own.detach())
    return scaled + (own.detach() if value is None else value)
