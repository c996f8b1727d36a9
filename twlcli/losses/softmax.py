"""The softmax baseline: each present label of an image against all its known ones."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from twlcli.losses.batch import batch_mean, wide_logits


def softmax_loss(
    logits: Tensor, targets: Tensor, *, group: dist.ProcessGroup | None = None
) -> Tensor:
    """Softmax loss: an image's target probability is spread evenly over its present labels.

    Gong et al., "Deep Convolutional Ranking for Multilabel Image Annotation", 2014, sec. 3.3.1:
    the mean over the images with a present label of

        -1 / |P| sum_{p in P} log softmax(x)_p

    The softmax runs over the known labels alone. Kobayashi, CVPR 2023, compares with a softmax
    loss and does not state how it is normalised.

    Args:
        logits: (N, C), any real; computed in at least float32.
        targets: (N, C) of 1 present, 0 absent, -1 unknown; bool, integer or float.
        group: ranks that hold the slices of one global batch. Each gets the global loss; the mean
            over ranks of their gradients is the gradient of the global loss.

    Returns:
        A scalar >= 0, float32 or float64. Where no image has a label it is 0 with gradient 0.

    Raises:
        ValueError: shapes differ or are not (N, C), or a target is another number.

    Example:
        >>> import torch
        >>> softmax_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(0.6931)
    """
    logits = wide_logits(logits, targets)
    positives = targets == 1
    known = positives | (targets == 0)
    # -inf leaves an entry out exactly: exp(-inf) is 0 in value and in gradient.
    normaliser = torch.logsumexp(logits.masked_fill(~known, -torch.inf), 1, keepdim=True)
    surprises = (normaliser - logits).masked_fill(~positives, 0)
    counts = positives.sum(1)
    losses = surprises.sum(1) / counts.clamp(min=1)
    return batch_mean(losses.sum(), (counts > 0).sum(), group)
