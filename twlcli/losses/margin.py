"""The margin-bias loss, a baseline: the sample-wise loss before it had temperatures."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor

from twlcli.losses.two_way import sample_wise_loss


def margin_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    margin: float = 1.0,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Margin-bias loss: an image's present labels exceed its absent ones by a margin.

    Kobayashi, "Two-Way Multi-Label Loss", CVPR 2023, section A.1, eq. (iii), which writes the
    loss of its reference [12] so: the mean over the images with a present label of

        softplus(log sum_{n in N} exp(x_n) + log sum_{p in P} exp(-x_p) + margin)

    `sample_wise_loss` with both temperatures 1.

    Args:
        logits: (N, C), any real; computed in at least float32.
        targets: (N, C) of 1 present, 0 absent, -1 unknown; bool, integer or float.
        margin: the paper's difference of biases; the value behind its table is not stated, and
            the default is ours.
        group: ranks that hold the slices of one global batch. Each gets the global loss; the mean
            over ranks of their gradients is the gradient of the global loss.

    Returns:
        A scalar >= 0, float32 or float64. Where no image has a label it is 0 with gradient 0.

    Raises:
        ValueError: shapes differ or are not (N, C), or a target is another number.

    Example:
        >>> import torch
        >>> margin_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(1.3133)
    """
    return sample_wise_loss(
        logits,
        targets,
        positive_temperature=1.0,
        negative_temperature=1.0,
        margin=margin,
        group=group,
    )
