"""ZLPR, a baseline: present labels above 0, absent ones below, by log-sum-exp."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 (the name that torch's own documentation uses)
from torch import Tensor

from twlcli.losses.batch import batch_mean, wide_logits


def zlpr_loss(logits: Tensor, targets: Tensor, *, group: dist.ProcessGroup | None = None) -> Tensor:
    """Zero-bounded log-sum-exp and pairwise rank-based loss.

    Su et al., "ZLPR: A Novel Loss for Multi-label Classification", 2022, arXiv 2208.02955:

        log(1 + sum_{n in N} exp(x_n)) + log(1 + sum_{p in P} exp(-x_p))

    The mean runs over the images with a known label; that one is ours. Unlike in the sample-wise
    loss, the ones hold the logits to an absolute scale on which 0 decides, and images without a
    present label teach too.

    Args:
        logits: (N, C), any real; computed in at least float32.
        targets: (N, C) of 1 present, 0 absent, -1 unknown; bool, integer or float.
        group: ranks that hold the slices of one global batch. Each gets the global loss; the mean
            over ranks of their gradients is the gradient of the global loss.

    Returns:
        A scalar >= 0, float32 or float64. Where nothing is known it is 0 with gradient 0.

    Raises:
        ValueError: shapes differ or are not (N, C), or a target is another number.

    Example:
        >>> import torch
        >>> zlpr_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(1.3863)
    """
    logits = wide_logits(logits, targets)
    positives, negatives = targets == 1, targets == 0
    # -inf leaves an entry out exactly: exp(-inf) is 0 in value and in gradient. The 1 is the pad's.
    above = F.pad(logits.where(negatives, -torch.inf), (0, 1)).logsumexp(1)
    below = F.pad((-logits).where(positives, -torch.inf), (0, 1)).logsumexp(1)
    return batch_mean((above + below).sum(), (positives | negatives).any(1).sum(), group)
