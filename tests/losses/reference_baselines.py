"""The baseline losses again, as plain loops over Python floats, straight from the equations.

And the batches on which the tensors and the loops are compared.
"""

import math
from collections.abc import Callable
from itertools import permutations

import torch
from torch import Tensor

Matrix = list[list[float]]
EntryLoss = Callable[[float, float, int], float]  # of a logit, its target 1 or 0 and its label


def drawn_batch(seed: int, images: int, labels: int, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    """Logits and targets with about 30 % present and 10 % unknown, float64."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(images, labels, generator=generator, dtype=torch.float64)
    draw = torch.rand(images, labels, generator=generator)
    targets = torch.zeros(images, labels, dtype=torch.int8)
    targets[draw < 0.3] = 1
    targets[draw > 0.9] = -1
    return logits, targets


def drawn_soft_batch(
    seed: int, images: int, labels: int, scale: float = 3.0
) -> tuple[Tensor, Tensor]:
    """The same with about 60 % of the known targets somewhere between 0 and 1; both float64."""
    logits, marks = drawn_batch(seed, images, labels, scale)
    generator = torch.Generator().manual_seed(seed + 1)
    shares = torch.rand(images, labels, generator=generator, dtype=torch.float64)
    soft = (torch.rand(images, labels, generator=generator) < 0.6) & (marks != -1)
    return logits, torch.where(soft, shares, marks.double())


def softmax(logits: Matrix, targets: Matrix) -> float:
    """Gong et al. 2014, sec. 3.3.1: -1/|P| sum_P log softmax(x)_p; over rows with a positive."""
    losses = []
    for line, marks in zip(logits, targets, strict=True):
        positives, negatives = sides(line, marks)
        if positives:
            normaliser = log_sum_exp(positives + negatives)
            losses.append(math.fsum(normaliser - x for x in positives) / len(positives))
    return mean(losses)


def bce(
    logits: Matrix,
    targets: Matrix,
    *,
    positive_weight: float | list[float] = 1.0,
    reduction: str = "mean",
) -> float:
    """-w log p, -log(1 - p)."""

    def entry(x: float, t: float, label: int) -> float:
        w = positive_weight[label] if isinstance(positive_weight, list) else positive_weight
        return -w * log_sigmoid(x) if t == 1 else -log_sigmoid(-x)

    return reduced(logits, targets, entry, reduction)


def focal(
    logits: Matrix,
    targets: Matrix,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    reduction: str = "mean",
) -> float:
    """Lin et al. 2017, eqs. (4) and (5): -alpha_t (1 - p_t)^gamma log p_t."""

    def entry(x: float, t: float, _: int) -> float:
        towards = x if t == 1 else -x
        weight = 1.0 if alpha is None else alpha if t == 1 else 1 - alpha
        return -weight * math.pow(sigmoid(-towards), gamma) * log_sigmoid(towards)

    return reduced(logits, targets, entry, reduction)


def asymmetric(
    logits: Matrix,
    targets: Matrix,
    *,
    gamma_negative: float = 4.0,
    gamma_positive: float = 0.0,
    clip: float = 0.05,
    reduction: str = "sum",
    **_: bool,
) -> float:
    """Ridnik et al. 2021: -(1 - p)^g+ log p, -p_m^g- log(1 - p_m), p_m = max(p - m, 0)."""

    def entry(x: float, t: float, _: int) -> float:
        if t == 1:
            return -math.pow(sigmoid(-x), gamma_positive) * log_sigmoid(x)
        shifted = max(sigmoid(x) - clip, 0.0)
        if shifted == 0:
            return 0.0
        log_absent = math.log(min(sigmoid(-x) + clip, 1.0)) if clip else log_sigmoid(-x)
        return -math.pow(shifted, gamma_negative) * log_absent

    return reduced(logits, targets, entry, reduction)


def warp(logits: Matrix, targets: Matrix) -> float:
    """Gong et al. 2014, sec. 3.3.3, with exact ranks; mean over rows with a positive."""
    losses = []
    for line, marks in zip(logits, targets, strict=True):
        positives, negatives = sides(line, marks)
        if positives:
            losses.append(math.fsum(warp_term(x, negatives) for x in positives))
    return mean(losses)


def warp_term(positive: float, negatives: list[float]) -> float:
    """L(r) sum_k max(0, 1 - x_j + x_k) of one positive."""
    rank = sum(1 - positive + x > 0 for x in negatives)
    return rank_weight(rank) * math.fsum(max(0.0, 1 - positive + x) for x in negatives)


def expected_drawn_term(positive: float, negatives: list[float]) -> float:
    """The mean of Gong's estimate over all orders in which the negatives can be drawn."""
    orders = list(permutations(negatives))
    terms = []
    for order in orders:
        for trials, x in enumerate(order, start=1):
            if 1 - positive + x > 0:
                terms.append(rank_weight(len(negatives) // trials) * (1 - positive + x))
                break
    return math.fsum(terms) / len(orders)


def rml(logits: Matrix, targets: Matrix, *, ramp: float = -0.8, kappa: float = 2.0) -> float:
    """Cevikalp et al. 2019, fully supervised; mean over rows with a known entry."""

    def bounded(t: float) -> float:
        return min(1 - ramp, max(0.0, 1 - t))

    losses = []
    for line, marks in zip(logits, targets, strict=True):
        positives, negatives = sides(line, marks)
        loss = 0.0
        for x_j in positives:
            rank = sum(1 - x_j + x_k > 0 for x_k in negatives)
            loss += rank_weight(rank) * math.fsum(bounded(x_j - x_k) for x_k in negatives)
        loss += kappa * math.fsum(bounded(x) for x in positives)
        loss += kappa * math.fsum(bounded(-x) for x in negatives)
        if positives or negatives:
            losses.append(loss)
    return mean(losses)


def zlpr(logits: Matrix, targets: Matrix) -> float:
    """Su et al. 2022: log(1 + sum_N e^x) + log(1 + sum_P e^-x); over rows with a known entry."""
    losses = []
    for line, marks in zip(logits, targets, strict=True):
        positives, negatives = sides(line, marks)
        if positives or negatives:
            losses.append(
                log_sum_exp([0.0, *negatives]) + log_sum_exp([0.0, *(-x for x in positives)])
            )
    return mean(losses)


def reduced(logits: Matrix, targets: Matrix, entry: EntryLoss, reduction: str) -> float:
    """The rows' sums of the known entries' expected losses, put together."""
    rows = []
    for line, marks in zip(logits, targets, strict=True):
        known = [(x, t, c) for c, (x, t) in enumerate(zip(line, marks, strict=True)) if t != -1]
        if known:
            rows.append([t * entry(x, 1, c) + (1 - t) * entry(x, 0, c) for x, t, c in known])
    if reduction == "image":
        return mean([math.fsum(row) for row in rows])
    entries = [loss for row in rows for loss in row]
    return math.fsum(entries) if reduction == "sum" else mean(entries)


def sides(line: list[float], marks: list[float]) -> tuple[list[float], list[float]]:
    """The logits of the positives and of the negatives."""
    positives = [x for x, t in zip(line, marks, strict=True) if t == 1]
    return positives, [x for x, t in zip(line, marks, strict=True) if t == 0]


def rank_weight(rank: int) -> float:
    return math.fsum(1 / t for t in range(1, rank + 1))


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def log_sigmoid(x: float) -> float:
    return min(x, 0.0) - math.log1p(math.exp(-abs(x)))


def log_sum_exp(values: list[float]) -> float:
    largest = max(values)
    return largest + math.log(math.fsum(math.exp(x - largest) for x in values))
