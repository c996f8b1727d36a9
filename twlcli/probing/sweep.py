"""Linear heads for a whole range of penalties, a block of penalties at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from twlcli.heads.lbfgs import Problem, Solution, solve

BLOCK_BYTES = 3 << 29  # 1.5 GiB, beside the features
LEFT_OUT = -100  # the class of an image that takes no part, as torch's cross-entropy has it

_AT_ONCE = 12  # penalties of three decades: of more, few iterations suit all

# What `solve` holds at once of the size of the logits: for each head its logits, their gradient,
# their change along the direction, and copies while heads that have converged are dropped; and
# while one line search runs, for that head alone, what its trials and autograd hold.
_LOGITS, _LOGITS_OF_ONE = 5, 10
# And of the size of a head: ten pairs, the head, its gradient twice, its direction and products.
_HEADS = 28
# And of the logits of the rows that are multiplied at once.
_ROWS, _PRODUCTS = 8192, 2


@dataclass(frozen=True)
class Settings:
    """How far heads are brought to their minima.

    Attributes:
        tolerance: the norm of the gradient, as a share of that for a head of zeros, at which a head
            has converged.
        most: iterations at most.
        block_bytes: what heads that are found at once may take; one head is found whatever it
            takes.
    """

    tolerance: float = 1e-4
    most: int = 1000
    block_bytes: int = BLOCK_BYTES


def block_size(
    images: int, features: int, labels: int, *, block_bytes: int = BLOCK_BYTES, item: int = 4
) -> int:
    """How many heads are found at once: at least 1, and no more than so many bytes hold.

    Args:
        images: N.
        features: D.
        labels: C.
        block_bytes: beside the features.
        item: bytes of a number.

    Example:
        >>> block_size(75_750, 2_048, 101)  # Food-101, ResNet-50
        7
    """
    logits, head = images * labels * item, (features + 1) * labels * item
    products = min(images, _ROWS) * labels * item
    each = _LOGITS * logits + _HEADS * head + _PRODUCTS * products
    return min(_AT_ONCE, max(1, (block_bytes - _LOGITS_OF_ONE * logits) // each))


def sweep(
    features: Tensor,
    loss: Callable[[Tensor], Tensor],
    penalties: Sequence[float],
    *,
    images: int,
    labels: int,
    settings: Settings | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[float, Solution]]:
    """The heads of all penalties, without their logits, from strong to weak.

    With the mean loss of n images, the head of a penalty λ is that with the least

        sum over images of the loss + λ / 2 |W|^2
        = n (mean loss + (λ / n) / 2 |W|^2)

    so that for the softmax loss λ is 1 / C of scikit-learn's LogisticRegression.

    The penalties are parted into blocks from strong to weak; each begins with the weakest head of
    the one before, which is the nearest that is known. In a block the features are divided by a
    number u with u^2 about s^2 + λ / n, s^2 being their mean square, and the weights are u times as
    large: the objective stays the same, and is about as steep in the weights as in the bias,
    however large features are. The solutions' heads are for the features as they were; the norms
    of their gradients are by the bias and u W.

    Args:
        features: X (N, D), of mean 0 for few iterations; changed while heads are found.
        loss: the mean over images, of logits (N, C).
        penalties: λ, in any order.
        images: n, how many take part.
        labels: C.
        settings: see there.
        should_stop: asked once an iteration; on True nothing more is given.
    """
    settings = settings or Settings()
    count, width = features.shape
    item = features.element_size()
    size = block_size(count, width, labels, block_bytes=settings.block_bytes, item=item)
    square = float(torch.linalg.vector_norm(features)) ** 2 / features.numel()
    descending = sorted(penalties, reverse=True)
    head = features.new_zeros((width + 1, labels))
    for first in range(0, len(descending), size):
        block = descending[first : first + size]
        unit = _power_of_two(square + block[0] / images)
        problems = [Problem(loss, penalty / images / unit**2) for penalty in block]
        features /= unit
        head[:-1] *= unit
        solutions = _solved(
            features, problems, head.expand(len(block), -1, -1), settings, should_stop
        )
        features *= unit
        if should_stop():
            return
        for each in solutions:
            each.head[:-1] /= unit
        head = solutions[-1].head.clone()
        yield from zip(block, solutions, strict=True)


def _power_of_two(square: float) -> float:
    """The one nearest to the root of a positive number; 1 for 0. Products with it are exact."""
    return 2.0 ** round(math.log2(square) / 2) if square > 0 else 1.0


def _solved(
    features: Tensor,
    problems: list[Problem],
    start: Tensor,
    settings: Settings,
    should_stop: Callable[[], bool],
) -> list[Solution]:
    """Solutions; a search that found no better step for rounding begins once more from there.

    It then goes down the gradient itself, and not along what rounded gradients made of the Hessian.
    """

    def solved(problems: list[Problem], start: Tensor) -> list[Solution]:
        return solve(
            features,
            problems,
            start,
            tolerance=settings.tolerance,
            most=settings.most,
            keep_logits=False,
            should_stop=should_stop,
        )

    solutions = solved(problems, start)
    stuck = [
        number
        for number, each in enumerate(solutions)
        if not each.converged and each.iterations < settings.most
    ]
    if stuck and not should_stop():
        starts = torch.stack([solutions[number].head for number in stuck])
        again = solved([problems[number] for number in stuck], starts)
        for number, each in zip(stuck, again, strict=True):
            iterations = solutions[number].iterations + each.iterations
            solutions[number] = replace(each, iterations=iterations)
    return solutions


def softmax_of_classes(classes: Tensor) -> Callable[[Tensor], Tensor]:
    """The mean softmax loss, of logits (N, C), of images of one class (N) each.

    What `losses.softmax_loss` gives of the same images, in half of the memory. Images of class
    `LEFT_OUT` take no part.
    """
    return partial(F.cross_entropy, target=classes, ignore_index=LEFT_OUT)
