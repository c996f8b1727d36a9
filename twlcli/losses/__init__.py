"""Multi-label losses: pure functions of logits (N, C) and targets (N, C).

Targets are 1 present, 0 absent and -1 unknown, of bool, integer or float dtype. Every loss computes
in at least float32 whatever the dtype of the logits, and returns a scalar.
"""

from collections.abc import Callable

from torch import Tensor

from twlcli.losses.two_way import class_wise_loss, sample_wise_loss, two_way_loss

__all__ = ["LOSSES", "Loss", "class_wise_loss", "sample_wise_loss", "two_way_loss"]


Loss = Callable[..., Tensor]  # loss(logits, targets, *, options) -> scalar

LOSSES: dict[str, Loss] = {
    "two-way": two_way_loss,
    "sample-wise": sample_wise_loss,
    "class-wise": class_wise_loss,
}
