"""The two-way multi-label loss of T. Kobayashi, CVPR 2023, and its two halves.

One line of a batch (a row over its classes, or a column over its samples) has positives P and
negatives N; unknowns are in neither. Its loss is

    l(P, N) = softplus( T_N log sum_{n in N} exp(x_n / T_N)
                      + T_P log sum_{p in P} exp(-x_p / T_P) + margin )        eqs. (14), (iii)

so every positive is asked to exceed every negative of its line. A mean of l runs over the lines
with a positive; a line without negatives counts and adds 0.

Over several ranks (`group`) the batch is the global one. Rows are complete on their rank and share
only their sum and count; a column is spread over ranks, and its log-sum-exps are the log-sum-exp
of the ranks' log-sum-exps, so 2C + 2 numbers leave each rank whatever its batch.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 (the name that torch's own documentation uses)
from torch import Tensor

from twlcli.losses.batch import averaging, batch_mean, wide_logits

SAMPLES, CLASSES = 0, 1  # the dimensions of logits (N, C)


def two_way_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    positive_temperature: float = 4.0,
    negative_temperature: float = 1.0,
    margin: float = 0.0,
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
        group: ranks that hold the slices of one global batch. Each gets the global loss; the mean
            over ranks of their gradients is the gradient of the global loss.

    Returns:
        A scalar >= 0, float32 or float64. Where no image has a label it is 0 with gradient 0.

    Raises:
        ValueError: shapes differ or are not (N, C), or a temperature is not positive.

    Example:
        >>> import torch
        >>> two_way_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(0.6931)
    """
    lines = _Lines(logits, targets, positive_temperature, negative_temperature, margin)
    return lines.mean(CLASSES, group) + lines.mean(SAMPLES, group)


def sample_wise_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    positive_temperature: float = 4.0,
    negative_temperature: float = 1.0,
    margin: float = 0.0,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Sample-wise loss: each image's present labels against its absent ones.

    Kobayashi, CVPR 2023, eq. (15): the mean of l over the rows with a positive.
    Arguments, result and errors are those of `two_way_loss`.
    """
    lines = _Lines(logits, targets, positive_temperature, negative_temperature, margin)
    return lines.mean(CLASSES, group)


def class_wise_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    positive_temperature: float = 4.0,
    negative_temperature: float = 1.0,
    margin: float = 0.0,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Class-wise loss: the images that have a label against those of the batch that have not.

    Kobayashi, CVPR 2023, eq. (16): the mean of l over the columns with a positive.
    Arguments, result and errors are those of `two_way_loss`.
    """
    lines = _Lines(logits, targets, positive_temperature, negative_temperature, margin)
    return lines.mean(SAMPLES, group)


class _Lines:
    """A batch whose lines are compared along one dimension or the other."""

    def __init__(
        self,
        logits: Tensor,
        targets: Tensor,
        positive_temperature: float,
        negative_temperature: float,
        margin: float,
    ) -> None:
        logits = wide_logits(logits, targets)
        if positive_temperature <= 0 or negative_temperature <= 0:
            raise ValueError("expected temperatures above 0")
        self.positive_temperature = positive_temperature
        self.negative_temperature = negative_temperature
        self.margin = margin
        # -inf leaves an entry out exactly: exp(-inf) is 0 in value and in gradient.
        self.of_positives = (-logits / positive_temperature).masked_fill(targets != 1, -torch.inf)
        self.of_negatives = (logits / negative_temperature).masked_fill(targets != 0, -torch.inf)

    def mean(self, along: int, group: dist.ProcessGroup | None) -> Tensor:
        """The mean of l over the lines that run along one dimension and have a positive."""
        positives = torch.logsumexp(self.of_positives, along)
        negatives = torch.logsumexp(self.of_negatives, along)
        if group is not None and along == SAMPLES:
            positives, negatives = _global_logsumexp(torch.stack((positives, negatives)), group)
            total, count = self._sum(positives, negatives)
            return averaging(total / count.clamp(min=1), group)
        total, count = self._sum(positives, negatives)
        return batch_mean(total, count, group)

    def _sum(self, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of l over the lines with a positive, and their number."""
        argument = (
            self.negative_temperature * negatives
            + self.positive_temperature * positives
            + self.margin
        )
        # A line without positives or without negatives has the argument -inf, and adds 0.
        # softplus turns linear at 20 unless told otherwise, which float64 would see.
        return F.softplus(argument, threshold=40).sum(), (positives > -torch.inf).sum()


def _global_logsumexp(own: Tensor, group: dist.ProcessGroup) -> Tensor:
    """The log-sum-exp over the ranks' `own`, of the same shape; differentiable in this rank's."""
    ranks = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(ranks, own.detach().contiguous(), group=group)
    ranks[dist.get_rank(group)] = own
    return torch.logsumexp(torch.stack(ranks), 0)
