"""The two-way multi-label loss of T. Kobayashi, CVPR 2023, and its two halves.

One line of a batch (a row over its classes, or a column over its samples) has positives P and
negatives N; unknowns are in neither. Its loss is

    l(P, N) = softplus( T_N log sum_{n in N} exp(x_n / T_N)
                      + T_P log sum_{p in P} exp(-x_p / T_P) + margin )        eqs. (14), (iii)

so every positive is asked to exceed every negative of its line. A mean of l runs over the lines
with a positive; a line without negatives counts and adds 0.

An anchor is one more member on both sides of every line, of the constant logit 0: both sums start
from exp(0) = 1, so that positives are also asked to exceed 0 and negatives to stay below it. Then
a line teaches whatever its labels, and the mean runs over the lines with a known entry.

Over several ranks (`group`) the batch is the global one. Rows are complete on their rank and share
only their sum and count; a column is spread over ranks, and its log-sum-exps are the log-sum-exp
of the ranks' log-sum-exps, so 2C + 2 numbers leave each rank whatever its batch. With the class
scope "local" each rank compares its own images alone, as if it had no others, and the class-wise
loss is the mean over ranks of theirs; the rows do not change.

Value and gradient are taken together, in the forward pass; between the passes one matrix (N, C) is
kept beside the logits and targets. Where that does not do, for a second derivative and under the
transforms of `torch.func`, autograd derives the loss from its equation, at several times the cost.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 (the name that torch's own documentation uses)
from torch import Tensor

from twlcli.losses.batch import check_shapes, widened
from twlcli.losses.lines import (
    CLASSES,
    SAMPLES,
    ClassScope,
    Comparison,
    derivable_value,
    value_and_gradient,
)
from twlcli.losses.targets import check_marks


def two_way_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    positive_temperature: float = 4.0,
    negative_temperature: float = 1.0,
    margin: float = 0.0,
    anchor: bool = False,
    class_scope: ClassScope = "global",
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Two-way loss: `sample_wise_loss` + `class_wise_loss`.

    Kobayashi, "Two-Way Multi-Label Loss", CVPR 2023, eq. (17), the plain sum of the two means.

    Args:
        logits: (N, C), any real; computed in at least float32.
        targets: (N, C) of 1 present, 0 absent, -1 unknown; bool, integer or float.
        positive_temperature: T_P > 0.
        negative_temperature: T_N > 0. T_P = T_N = 1 with a margin is the margin-bias loss of
            section A.1.
        margin: added to each line's argument, eq. (iii).
        anchor: whether every line has one more member on both sides, of the constant logit 0.
        class_scope: over ranks, whether a column is compared over the "global" batch or each rank
            compares its "local" images alone; the class-wise loss is then the mean over ranks.
        group: ranks that hold the slices of one global batch. Each gets the global loss; the mean
            over ranks of their gradients is the gradient of the global loss.

    Returns:
        A scalar >= 0, float32 or float64. Where no image has a label, or with an anchor where all
        is unknown, it is 0 with gradient 0.

    Raises:
        ValueError: shapes differ or are not (N, C), a target is another number, a temperature is
            not positive, or the class_scope is another word.

    Example:
        >>> import torch
        >>> two_way_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(0.6931)
    """
    comparison = Comparison(
        positive_temperature, negative_temperature, margin, anchor, group, class_scope
    )
    return _compared(logits, targets, (CLASSES, SAMPLES), comparison)


def sample_wise_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    positive_temperature: float = 4.0,
    negative_temperature: float = 1.0,
    margin: float = 0.0,
    anchor: bool = False,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Sample-wise loss: each image's present labels against its absent ones.

    Kobayashi, CVPR 2023, eq. (15): the mean of l over the rows with a positive.
    Arguments, result and errors are those of `two_way_loss`.

    With an anchor, T_P = T_N = 1 and margin 0, a row's loss is softplus(z), where
    z = log(1 + sum_{n in N} exp(x_n)) + log(1 + sum_{p in P} exp(-x_p)) >= 0 is its ZLPR loss
    (Su et al., arXiv 2208.02955). So z < softplus(z) <= z + log 2, and the gradient is
    sigmoid(z), from 1/2 to 1, times that of ZLPR: the same direction, at half the length for a
    row that is right and at full length for one that is wrong.
    """
    comparison = Comparison(positive_temperature, negative_temperature, margin, anchor, group)
    return _compared(logits, targets, (CLASSES,), comparison)


def class_wise_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    positive_temperature: float = 4.0,
    negative_temperature: float = 1.0,
    margin: float = 0.0,
    anchor: bool = False,
    class_scope: ClassScope = "global",
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Class-wise loss: the images that have a label against those of the batch that have not.

    Kobayashi, CVPR 2023, eq. (16): the mean of l over the columns with a positive.
    Arguments, result and errors are those of `two_way_loss`.
    """
    comparison = Comparison(
        positive_temperature, negative_temperature, margin, anchor, group, class_scope
    )
    return _compared(logits, targets, (SAMPLES,), comparison)


def _compared(
    logits: Tensor, targets: Tensor, along: tuple[int, ...], comparison: Comparison
) -> Tensor:
    check_shapes(logits, targets)
    check_marks(targets)
    if logits.numel() == 0:
        # A rank may have no images: one unknown line takes their place and changes nothing.
        images, labels = logits.shape
        logits = F.pad(logits, (0, int(labels == 0), 0, int(images == 0)))
        targets = torch.full_like(logits, -1)
    # torch asks the same before it lets a Function like the one below refuse them.
    if torch._C._are_functorch_transforms_active():
        return derivable_value(widened(logits), targets, along, comparison)
    if torch.is_grad_enabled() and logits.requires_grad:
        loss: Tensor = _OnePass.apply(logits, targets, along, comparison)
        return loss
    return value_and_gradient(widened(logits), targets, along, comparison, with_gradient=False)[0]


class _OnePass(torch.autograd.Function):
    """The value and its gradient at once; the backward pass only scales what is there."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, targets: Tensor, along: tuple[int, ...], comparison: Comparison
    ) -> Tensor:
        value, gradient = value_and_gradient(
            widened(logits), targets, along, comparison, with_gradient=True
        )
        ctx.save_for_backward(gradient, logits, targets)
        ctx.along, ctx.comparison = along, comparison
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        gradient, logits, targets = ctx.saved_tensors
        # The saved gradient is a constant to autograd: its derivative would silently be wrong.
        # Gradients are enabled here only with create_graph; compiled graphs refuse by themselves.
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            value = derivable_value(widened(logits), targets, ctx.along, ctx.comparison)
            (gradient,) = torch.autograd.grad(value, logits, create_graph=True)
        return (upstream * gradient).to(logits.dtype), None, None, None
