"""Losses that treat every entry as a yes-or-no question of its own: BCE, focal and ASL baselines.

All are computed from log-sigmoids, so that no probability is rounded to 0 or 1 before its logarithm
is taken. `reduction` is the same in all:

- "mean": over all known entries;
- "sum": over all known entries;
- "image": the sum over labels, the mean over images with a known label.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 (the name that torch's own documentation uses)
from torch import Tensor

from twlcli.losses.batch import batch_mean, batch_sum, wide_logits

Reduction = Literal["mean", "sum", "image"]


def bce_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    positive_weight: Tensor | float | None = None,
    reduction: Reduction = "mean",
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Binary cross-entropy: -w log p of a present label and -log(1 - p) of an absent one.

    p = sigmoid(x). As in torch's, the mean divides by the number of entries, not by their weights.

    Args:
        logits: (N, C), any real; computed in at least float32.
        targets: (N, C) of 1 present, 0 absent, -1 unknown; bool, integer or float.
        positive_weight: w >= 0, one number or (C,); 1 where not given.
        reduction: "mean", "sum" or "image", see above.
        group: ranks that hold the slices of one global batch. Each gets the global loss; the mean
            over ranks of their gradients is the gradient of the global loss.

    Returns:
        A scalar >= 0, float32 or float64. Where nothing is known it is 0 with gradient 0.

    Raises:
        ValueError: shapes differ or are not (N, C), or an option is out of its range.

    Example:
        >>> import torch
        >>> bce_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(0.6931)
    """
    logits, known = _known_logits(logits, targets)
    positives = targets == 1
    losses = -F.logsigmoid(torch.where(positives, logits, -logits))
    if positive_weight is not None:
        weight = _weight_of_positives(positive_weight, logits)
        losses = losses * torch.where(positives, weight, torch.ones_like(weight))
    return _reduced(losses, known, reduction, group)


def focal_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    reduction: Reduction = "mean",
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Focal loss: -(1 - p_t)^gamma log p_t, which fades where an entry is already right.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, eq. (4), and (5) with alpha;
    p_t is sigmoid(x) of a present label and 1 - sigmoid(x) of an absent one. Theirs divides by the
    number of objects, for which a label has no counterpart.

    Args:
        logits: (N, C), any real; computed in at least float32.
        targets: (N, C) of 1 present, 0 absent, -1 unknown; bool, integer or float.
        gamma: >= 0; 0 is binary cross-entropy.
        alpha: from 0 to 1; weighs present labels by alpha and absent ones by 1 - alpha.
        reduction: "mean", "sum" or "image", see above.
        group: ranks that hold the slices of one global batch. Each gets the global loss; the mean
            over ranks of their gradients is the gradient of the global loss.

    Returns:
        A scalar >= 0, float32 or float64. Where nothing is known it is 0 with gradient 0.

    Raises:
        ValueError: shapes differ or are not (N, C), or an option is out of its range.

    Example:
        >>> import torch
        >>> focal_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(0.1733)
    """
    if gamma < 0 or not 0 <= (alpha or 0) <= 1:
        raise ValueError(f"expected gamma >= 0 and alpha from 0 to 1, got {gamma} and {alpha}")
    logits, known = _known_logits(logits, targets)
    positives = targets == 1
    towards = torch.where(positives, logits, -logits)
    losses = -_power(F.logsigmoid(-towards), gamma) * F.logsigmoid(towards)
    if alpha is not None:
        losses = torch.where(positives, alpha * losses, (1 - alpha) * losses)
    return _reduced(losses, known, reduction, group)


def asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma_negative: float = 4.0,
    gamma_positive: float = 0.0,
    clip: float = 0.05,
    focus_gradient: bool = False,
    reduction: Reduction = "sum",
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Asymmetric loss (ASL): a focal loss that forgives absent labels more than present ones.

    Ridnik et al., "Asymmetric Loss for Multi-Label Classification", ICCV 2021: with
    p = sigmoid(x) and p_m = max(p - clip, 0),

        present: -(1 - p)^gamma_positive log p        absent: -p_m^gamma_negative log(1 - p_m)

    The defaults are those of the authors' COCO script; their class has gamma_positive = 1. Theirs
    takes logarithms of values held above 1e-8, so that a present label with a logit below -18
    adds 18.4 and no gradient; here the loss goes on linearly.

    Args:
        logits: (N, C), any real; computed in at least float32.
        targets: (N, C) of 1 present, 0 absent, -1 unknown; bool, integer or float.
        gamma_negative: >= 0.
        gamma_positive: >= 0.
        clip: from 0 to below 1; absent labels with a probability up to it add nothing.
        focus_gradient: whether the factors with an exponent have a gradient. The authors'
            AsymmetricLoss and COCO script hold them constant (disable_torch_grad_focal_loss
            is True there); by default their AsymmetricLossOptimized and timm's copies do not.
        reduction: "mean", "sum" or "image", see above. The authors' is the sum.
        group: ranks that hold the slices of one global batch. Each gets the global loss; the mean
            over ranks of their gradients is the gradient of the global loss.

    Returns:
        A scalar >= 0, float32 or float64. Where nothing is known it is 0 with gradient 0.

    Raises:
        ValueError: shapes differ or are not (N, C), or an option is out of its range.

    Example:
        >>> import torch
        >>> asymmetric_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(0.7177)
    """
    if gamma_negative < 0 or gamma_positive < 0 or not 0 <= clip < 1:
        raise ValueError(
            "expected gammas >= 0 and a clip from 0 to below 1, "
            f"got {gamma_negative}, {gamma_positive} and {clip}"
        )
    logits, known = _known_logits(logits, targets)
    log_absent = F.logsigmoid(-logits)
    of_present = _power(log_absent, gamma_positive, focus_gradient) * F.logsigmoid(logits)
    probabilities = torch.sigmoid(logits)
    counts = probabilities > clip
    # Entries that do not count get a 1 here: the logarithm of 0 would make their gradient NaN.
    log_shifted = torch.where(counts, probabilities - clip, 1).log()
    log_clip = logits.new_tensor(math.log(clip) if clip > 0 else -math.inf)
    # 1 - p_m = (1 - p) + clip; in logarithms, because 1 - p may be too small to hold.
    log_shifted_absent = torch.logaddexp(log_absent, log_clip)
    of_absent = _power(log_shifted, gamma_negative, focus_gradient) * log_shifted_absent
    of_absent = of_absent.masked_fill(~counts, 0)
    return _reduced(-torch.where(targets == 1, of_present, of_absent), known, reduction, group)


def _known_logits(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The logits in at least float32, 0 where unknown, and which are known."""
    logits = wide_logits(logits, targets)
    known = (targets == 0) | (targets == 1)
    return logits.masked_fill(~known, 0), known


def _weight_of_positives(weight: Tensor | float, logits: Tensor) -> Tensor:
    """The weight as a tensor beside the logits, () or (C,)."""
    if not isinstance(weight, Tensor) and weight < 0:
        raise ValueError(f"expected a positive_weight >= 0, got {weight}")
    weights = torch.as_tensor(weight, dtype=logits.dtype, device=logits.device)
    if weights.shape not in ((), logits.shape[1:]):
        raise ValueError(
            f"expected a positive_weight of one number or {tuple(logits.shape[1:])}, "
            f"got {tuple(weights.shape)}"
        )
    return weights


def _power(log_base: Tensor, exponent: float, differentiable: bool = True) -> Tensor:
    """base^exponent from the logarithm of the base, which stays finite where the base is 0."""
    power = torch.exp(exponent * log_base)
    return power if differentiable else power.detach()


def _reduced(
    losses: Tensor, known: Tensor, reduction: Reduction, group: dist.ProcessGroup | None
) -> Tensor:
    """One number of the known entries' losses."""
    total = losses.masked_fill(~known, 0).sum()
    if reduction == "mean":
        return batch_mean(total, known.sum(), group)
    if reduction == "sum":
        return batch_sum(total, group)
    if reduction == "image":
        return batch_mean(total, known.any(1).sum(), group)
    raise ValueError(f"expected a reduction of mean, sum or image, got '{reduction}'")
