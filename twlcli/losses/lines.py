"""The lines of a batch compared: the two-way losses' value and their gradient in one pass.

A line (a row over its classes, or a column over its samples) has two sides, its positives with the
scaled values z = -x / T_P and its negatives with z = x / T_N. With L_P and L_N the sides'
log-sum-exps, a = T_N L_N + T_P L_P + margin and the loss l = softplus(a), section A.1 has

    dl / dx_n = sigmoid(a) exp(z_n - L_N)      dl / dx_p = -sigmoid(a) exp(z_p - L_P)    (iv), (v)

so the exponentials that give the value give the gradient too, and nothing else has to be kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 (the name that torch's own documentation uses)
from torch import Tensor

from twlcli.losses.batch import batch_sum

ClassScope = Literal["global", "local"]
SAMPLES, CLASSES = 0, 1  # the dimensions of logits (N, C)
POSITIVES, NEGATIVES = 0, 1  # the first dimension of members (2, N, C)


@dataclass(frozen=True)
class Comparison:
    """How the members of a line are compared; the arguments of `two_way_loss`."""

    positive_temperature: float
    negative_temperature: float
    margin: float
    anchor: bool
    group: dist.ProcessGroup | None
    class_scope: ClassScope = "global"

    def __post_init__(self) -> None:
        if not (self.positive_temperature > 0 and self.negative_temperature > 0):
            raise ValueError("expected temperatures above 0")
        if self.class_scope not in ("global", "local"):
            raise ValueError(f"expected a class_scope of global or local, got '{self.class_scope}'")

    def group_along(self, dimension: int) -> dist.ProcessGroup | None:
        """The ranks whose lines count together; None where each rank is on its own."""
        is_own = dimension == SAMPLES and self.class_scope == "local"
        return None if is_own else self.group


def value_and_gradient(
    logits: Tensor,
    targets: Tensor,
    along: tuple[int, ...],
    comparison: Comparison,
    *,
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """The sum of the mean losses of the lines that run along each dimension, and its gradient.

    Beside the gradient it holds two more matrices of the logits' size.

    Args:
        logits: (N, C), float32 or float64, not empty.
        targets: (N, C) of 1 present, 0 absent and -1 unknown.
        along: CLASSES for the rows, SAMPLES for the columns, or both.
        comparison: temperatures, margin, anchor and ranks.
        with_gradient: False leaves the gradient out.

    Returns:
        A scalar over all ranks, and the gradient (N, C) whose mean over ranks is the global one.
    """
    members = logits.new_empty((2, *logits.shape))
    marks = _pair(logits, 1, 0)
    divisors = _pair(logits, -comparison.positive_temperature, comparison.negative_temperature)
    gradient = torch.zeros_like(logits) if with_gradient else None
    value = logits.new_zeros(())
    for dimension in along:
        # Each side's scaled logits, and -inf for what is not on that side: exp(-inf) is 0 in value
        # and in gradient, so an entry that is left out is left out exactly. Arithmetic instead of
        # boolean masks, which CPUs do not vectorise: measured up to five times faster.
        # Twice the largest float is infinite, while 0 stays 0.
        members.copy_(targets).ne_(marks).mul_(-torch.finfo(logits.dtype).max).mul_(2)
        members.addcdiv_(logits, divisors)
        mean = _add_lines(members, dimension, comparison, gradient)
        if comparison.group is not None and comparison.group_along(dimension) is None:
            mean = batch_sum(mean, comparison.group) / dist.get_world_size(comparison.group)
        value = value + mean
    return value, gradient


def derivable_value(
    logits: Tensor, targets: Tensor, along: tuple[int, ...], comparison: Comparison
) -> Tensor:
    """The same value by operations that autograd can derive again and `torch.vmap` can batch.

    Raises:
        RuntimeError: over ranks, whose sums neither can see through.
    """
    if comparison.group is not None:
        raise RuntimeError(
            "over ranks the two-way loss has no second derivative (create_graph=True) and no "
            "torch.func transforms: give it no group"
        )
    is_positive, is_negative = targets == 1, targets == 0
    of_positives = -logits / comparison.positive_temperature
    of_negatives = logits / comparison.negative_temperature
    value = logits.new_zeros(())
    for dimension in along:
        sides = torch.stack(
            (
                _log_sum_exp(of_positives, is_positive, dimension),
                _log_sum_exp(of_negatives, is_negative, dimension),
            )
        )
        taught = is_positive.any(dimension)
        if comparison.anchor:
            taught = taught | is_negative.any(dimension)
            sides = F.softplus(sides, threshold=40)  # log(exp(L) + exp(0))
        losses = F.softplus(_argument(sides, comparison), threshold=40).where(taught, 0)
        value = value + losses.sum() / taught.sum().clamp(min=1)
    return value


def _log_sum_exp(values: Tensor, is_member: Tensor, dimension: int) -> Tensor:
    """The log-sum-exp of the members along a dimension; -inf with all derivatives 0 without any."""
    has_members = is_member.any(dimension, keepdim=True)
    # Of -inf alone a second derivative would be NaN.
    members = values.where(is_member, -torch.inf).where(has_members, 0)
    return members.logsumexp(dimension).where(has_members.squeeze(dimension), -torch.inf)


def _pair(like: Tensor, positives: float, negatives: float) -> Tensor:
    """One number for each side, (2, 1, 1); made on the device, which copies would wait for."""
    pair = like.new_full((2, 1, 1), negatives)
    pair[POSITIVES].fill_(positives)
    return pair


def _add_lines(
    members: Tensor, dimension: int, comparison: Comparison, gradient: Tensor | None
) -> Tensor:
    """The mean loss of the lines along one dimension; adds to the gradient, consumes the members.

    Each side of each line has its own maximum, so that no line underflows beside another.
    """
    # A side without members has the maximum -inf, which cannot be subtracted from itself.
    largest = members.amax(dimension + 1, keepdim=True).clamp_(min=torch.finfo(members.dtype).min)
    # Not exp, which x86 CPUs slow down at -inf: measured three to five times.
    exponentials = members.sub_(largest).mul_(1 / math.log(2)).exp2_()
    sums = exponentials.sum(dimension + 1, keepdim=True)
    own = largest + sums.log()  # L_P and L_N of this rank
    group = comparison.group_along(dimension)
    shared = group if dimension == SAMPLES else None  # columns are spread over ranks, rows are not
    everywhere = own if shared is None else _over_ranks(own, shared)
    taught = (everywhere.amax(0) if comparison.anchor else everywhere[POSITIVES]) != -torch.inf
    if comparison.anchor:
        # After the ranks are joined, so that it is one member and not one per rank.
        everywhere = torch.logaddexp(everywhere, torch.zeros_like(everywhere))
    argument = _argument(everywhere, comparison)
    # A line without positives or without negatives has the argument -inf, and adds 0.
    # softplus turns linear at 20 unless told otherwise, which float64 would see.
    losses = F.softplus(argument, threshold=40)
    if comparison.anchor:
        losses = losses.where(taught, 0)  # a line of unknowns has its anchor alone
    total, count = losses.sum(), taught.sum()
    if group is not None and shared is None:
        total, count = batch_sum(torch.stack((total, count.to(total.dtype))), group).unbind()
    count = count.clamp(min=1)
    if gradient is not None:
        weights = argument.sigmoid() / count / sums.clamp_(min=1)  # with members it is at least 1
        if group is not None:
            weights *= dist.get_world_size(group)  # so that it outlives the averaging over ranks
        if everywhere is not own:
            weights *= (own - everywhere).where(own != -torch.inf, -torch.inf).exp()
        gradient.addcmul_(exponentials[POSITIVES], weights[POSITIVES], value=-1)
        gradient.addcmul_(exponentials[NEGATIVES], weights[NEGATIVES])
    return total / count


def _argument(log_sums: Tensor, comparison: Comparison) -> Tensor:
    """T_N L_N + T_P L_P + margin of each line, from both sides' log-sum-exps."""
    positives, negatives = log_sums.unbind()
    rest = comparison.negative_temperature * negatives + comparison.margin
    return rest.add(positives, alpha=comparison.positive_temperature)


def _over_ranks(own: Tensor, group: dist.ProcessGroup) -> Tensor:
    """The log-sum-exp of all ranks' log-sum-exps."""
    ranks = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(ranks, own.contiguous(), group=group)
    return torch.logsumexp(torch.stack(ranks), 0)
