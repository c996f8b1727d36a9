"""Losses that compare an image's present labels with its absent ones pair by pair: WARP and RML.

Both weigh a present label j by L(r_j) = 1 + 1/2 + ... + 1/r_j, where r_j is the number of absent
labels that violate the margin of 1: those k with 1 - x_j + x_k > 0. No gradient passes through r_j.

With M present labels in the batch the memory is that of M x C numbers, never N x C x C. Because M
depends on the targets, `torch.vmap` over targets is an error; over logits alone it works.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 (the name that torch's own documentation uses)
from torch import Tensor

from twlcli.losses.batch import batch_mean, wide_logits


def warp_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    sampled: bool = False,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Weighted approximate ranking loss (WARP).

    Gong et al., "Deep Convolutional Ranking for Multilabel Image Annotation", 2014, sec. 3.3.3,
    after Weston et al., "WSABIE", 2011:

        sum_{j in P} sum_{k in N} L(r_j) max(0, 1 - x_j + x_k)

    Gong's is the sum over the images; here it is divided by the number of images with a present
    label. An image without absent labels counts and adds 0.

    Args:
        logits: (N, C), any real; computed in at least float32.
        targets: (N, C) of 1 present, 0 absent, -1 unknown; bool, integer or float.
        sampled: estimate the rank as Gong does, from torch's default generator: for each j draw
            absent labels without replacement until one violates, after s draws; then
            r_j = floor(|N| / s), and the drawn pair's L(r_j) max(0, 1 - x_j + x_k) stands for the
            sum over k, so the loss is some r_j times smaller. Gong's floor((C - 1) / s) also
            counts the other present labels, and unknown ones, among those drawn from.
        group: ranks that hold the slices of one global batch. Each gets the global loss; the mean
            over ranks of their gradients is the gradient of the global loss.

    Returns:
        A scalar >= 0, float32 or float64. Where no image has a label it is 0 with gradient 0.

    Raises:
        ValueError: shapes differ or are not (N, C), or a target is another number.

    Example:
        >>> import torch
        >>> warp_loss(torch.zeros(1, 3), torch.tensor([[1, 0, 0]]))
        tensor(3.)
    """
    gaps, absent = _pairs(wide_logits(logits, targets), targets)
    hinges = (1 + gaps).relu().masked_fill(~absent, 0)
    if sampled:
        losses = _drawn(hinges, absent)
    else:
        losses = _rank_weights((hinges > 0).sum(1), hinges) * hinges.sum(1)
    return batch_mean(losses.sum(), (targets == 1).any(1).sum(), group)


def rml_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    ramp: float = -0.8,
    kappa: float = 2.0,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Robust multi-label loss (RML): WARP with a bounded hinge, and a bounded hinge per label.

    After Cevikalp et al., "Semi-Supervised Robust Deep Neural Networks for Multi-Label
    Classification", CVPR workshops 2019, without its propagation of labels:

        sum_{j in P} sum_{k in N} L(r_j) R_s(x_j - x_k) + kappa sum_c R_s(y_c x_c)

    with R_s(t) = min(1 - s, max(0, 1 - t)) and y_c = 1 of a present label, -1 of an absent one.
    Past t < s the ramp is flat and teaches nothing: entries far on the wrong side count as noise.
    Ours are the values of s and kappa (the paper's were not at hand), the exact ranks, and the mean
    over the images with a known label. Those without a present one teach through the second sum.

    Args:
        logits: (N, C), any real; computed in at least float32.
        targets: (N, C) of 1 present, 0 absent, -1 unknown; bool, integer or float.
        ramp: s < 1, where the ramp turns flat.
        kappa: at least 0, weight of the sum over labels.
        group: ranks that hold the slices of one global batch. Each gets the global loss; the mean
            over ranks of their gradients is the gradient of the global loss.

    Returns:
        A scalar >= 0, float32 or float64. Where nothing is known it is 0 with gradient 0.

    Raises:
        ValueError: shapes differ or are not (N, C), a target is another number, or an option is
            out of its range.

    Example:
        >>> import torch
        >>> rml_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(5.)
    """
    if not (ramp < 1 and kappa >= 0):
        raise ValueError(f"expected a ramp below 1 and kappa >= 0, got {ramp} and {kappa}")
    wide = wide_logits(logits, targets)
    gaps, absent = _pairs(wide, targets)
    ramps = _ramp(gaps, ramp).masked_fill(~absent, 0)
    of_pairs = _rank_weights((ramps > 0).sum(1), ramps) * ramps.sum(1)
    known = (targets == 0) | (targets == 1)
    of_labels = _ramp(torch.where(targets == 1, -wide, wide), ramp).masked_fill(~known, 0)
    total = of_pairs.sum() + kappa * of_labels.sum()
    return batch_mean(total, known.any(1).sum(), group)


def _pairs(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """x_k - x_j of every present label j against all labels k of its image, and which are absent.

    Both (M, C), one row for each present label of the batch.
    """
    images, labels = (targets == 1).nonzero().unbind(1)
    return logits[images] - logits[images, labels].unsqueeze(1), targets[images] == 0


def _ramp(violation: Tensor, ramp: float) -> Tensor:
    """R_s(t) of t = -violation."""
    return (1 + violation).clamp(max=1 - ramp).relu()


def _rank_weights(ranks: Tensor, like: Tensor) -> Tensor:
    """L(r) = sum_{t <= r} 1 / t of ranks from 0 to C, in the dtype of `like` (M, C)."""
    terms = torch.arange(1, like.shape[1] + 1, dtype=like.dtype, device=like.device).reciprocal()
    return F.pad(terms.cumsum(0), (1, 0))[ranks]


def _drawn(hinges: Tensor, absent: Tensor) -> Tensor:
    """Gong's estimate for each of M present labels, (M,); 0 where no absent label violates."""
    if not hinges.numel():  # without labels there is no minimum
        return hinges.sum(1)
    order = torch.rand_like(hinges).masked_fill(~absent, torch.inf)
    first, drawn = order.masked_fill(hinges <= 0, torch.inf).min(1, keepdim=True)
    trials = (order <= first).sum(1)
    weights = _rank_weights(absent.sum(1) // trials, hinges)
    return weights * hinges.gather(1, drawn).squeeze(1)
