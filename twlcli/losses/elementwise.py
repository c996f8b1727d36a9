"""Losses that treat every entry as a yes-or-no question of its own: BCE, focal and ASL baselines.

All are computed from log-sigmoids, so that no probability is rounded to 0 or 1 before its logarithm
is taken.

A target t between 0 and 1 says that the label is present with probability t, and has the expected
loss t l(1) + (1 - t) l(0): the mean of n equal entries of which t n are marked 1 and the rest 0.

`reduction` is the same in all:

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

from twlcli.losses.batch import batch_mean, batch_sum, check_shapes, widened
from twlcli.losses.targets import shares_and_known

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

    p = sigmoid(x); with a target t between 0 and 1 it is -(w t log p + (1 - t) log(1 - p)). As in
    torch's, the mean divides by the number of entries, not by their weights.

    Args:
        logits: (N, C), any real; computed in at least float32.
        targets: (N, C) from 0 absent to 1 present, or -1 unknown; bool, integer or float.
        positive_weight: w >= 0, one number or (C,); 1 where not given.
        reduction: "mean", "sum" or "image", see above.
        group: ranks that hold the slices of one global batch. Each gets the global loss; the mean
            over ranks of their gradients is the gradient of the global loss.

    Returns:
        A scalar >= 0, float32 or float64. Where nothing is known it is 0 with gradient 0.

    Raises:
        ValueError: shapes differ or are not (N, C), or a target or an option is out of its range.

    Example:
        >>> import torch
        >>> bce_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(0.6931)
        >>> bce_loss(torch.tensor([[2.0]]), torch.tensor([[0.9]]))  # a smoothed label
        tensor(0.3269)
    """
    logits, shares, known = _known(logits, targets)
    of_present, of_absent = F.logsigmoid(logits), F.logsigmoid(-logits)
    if positive_weight is not None:
        of_present = of_present * _weight_of_positives(positive_weight, logits)
    return _reduced(of_present, of_absent, shares, known, reduction, group)


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

    Ours is the form for a target t between 0 and 1, the expected loss (see above):

        -(t (1 - p)^gamma log p + (1 - t) p^gamma log(1 - p))

    It is not the quality focal loss of Li et al., NeurIPS 2020, which is 0 at p = t.

    Args:
        logits: (N, C), any real; computed in at least float32.
        targets: (N, C) from 0 absent to 1 present, or -1 unknown; bool, integer or float.
        gamma: at least 0; 0 is binary cross-entropy.
        alpha: from 0 to 1; weighs present labels by alpha and absent ones by 1 - alpha.
        reduction: "mean", "sum" or "image", see above.
        group: ranks that hold the slices of one global batch. Each gets the global loss; the mean
            over ranks of their gradients is the gradient of the global loss.

    Returns:
        A scalar >= 0, float32 or float64. Where nothing is known it is 0 with gradient 0.

    Raises:
        ValueError: shapes differ or are not (N, C), or a target or an option is out of its range.

    Example:
        >>> import torch
        >>> focal_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(0.1733)
    """
    if not (gamma >= 0 and 0 <= (alpha or 0) <= 1):
        raise ValueError(f"expected gamma >= 0 and alpha from 0 to 1, got {gamma} and {alpha}")
    logits, shares, known = _known(logits, targets)
    log_present, log_absent = F.logsigmoid(logits), F.logsigmoid(-logits)
    of_present = _power(log_absent, gamma) * log_present
    of_absent = _power(log_present, gamma) * log_absent
    if alpha is not None:
        of_present, of_absent = alpha * of_present, (1 - alpha) * of_absent
    return _reduced(of_present, of_absent, shares, known, reduction, group)


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
    adds 18.4 and no gradient; here the loss goes on linearly. A target t between 0 and 1 has the
    expected loss, t and 1 - t times the two; that is ours.

    Args:
        logits: (N, C), any real; computed in at least float32.
        targets: (N, C) from 0 absent to 1 present, or -1 unknown; bool, integer or float.
        gamma_negative: at least 0.
        gamma_positive: at least 0.
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
        ValueError: shapes differ or are not (N, C), or a target or an option is out of its range.

    Example:
        >>> import torch
        >>> asymmetric_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(0.7177)
    """
    if not (gamma_negative >= 0 and gamma_positive >= 0 and 0 <= clip < 1):
        raise ValueError(
            "expected gammas >= 0 and a clip from 0 to below 1, "
            f"got {gamma_negative}, {gamma_positive} and {clip}"
        )
    logits, shares, known = _known(logits, targets)
    log_absent = F.logsigmoid(-logits)
    of_present = _power(log_absent, gamma_positive, focus_gradient) * F.logsigmoid(logits)
    probabilities = torch.sigmoid(logits)
    counts = probabilities > clip
    # Entries that do not count get a 1 here: the logarithm of 0 would make their gradient NaN.
    log_shifted = torch.where(counts, probabilities - clip, 1).log()
    # Made on the device: a copy, as of new_tensor, would be waited for.
    log_clip = logits.new_full((), math.log(clip) if clip > 0 else -math.inf)
    # 1 - p_m = (1 - p) + clip; in logarithms, because 1 - p may be too small to hold.
    log_shifted_absent = torch.logaddexp(log_absent, log_clip)
    of_absent = _power(log_shifted, gamma_negative, focus_gradient) * log_shifted_absent
    of_absent = of_absent.masked_fill(~counts, 0)
    return _reduced(of_present, of_absent, shares, known, reduction, group)


def _known(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The logits in at least float32, the shares of present, both 0 where unknown; the known."""
    check_shapes(logits, targets)
    logits = widened(logits)
    shares, known = shares_and_known(targets, logits.dtype)
    return logits.where(known, 0), shares, known


def _weight_of_positives(weight: Tensor | float, logits: Tensor) -> Tensor | float:
    """The weight as a number, or as a tensor beside the logits, () or (C,)."""
    if not isinstance(weight, Tensor):
        if not weight >= 0:
            raise ValueError(f"expected a positive_weight >= 0, got {weight}")
        return weight  # as a tensor it would be copied to the device, which copies wait for
    weights = weight.to(dtype=logits.dtype, device=logits.device)
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
    of_present: Tensor,
    of_absent: Tensor,
    shares: Tensor,
    known: Tensor,
    reduction: Reduction,
    group: dist.ProcessGroup | None,
) -> Tensor:
    """One number of the known entries' expected losses.

    Both sides come as minus the loss, which is what logarithms of probabilities are.
    """
    gains = torch.lerp(of_absent, of_present, shares)  # exactly one of the two at 0 and 1
    total = 0 - gains.where(known, 0).sum()  # where nothing is known, 0 and not -0
    if reduction == "mean":
        return batch_mean(total, known.sum(), group)
    if reduction == "sum":
        return batch_sum(total, group)
    if reduction == "image":
        return batch_mean(total, known.any(1).sum(), group)
    raise ValueError(f"expected a reduction of mean, sum or image, got '{reduction}'")
