"""Many linear heads over the same features at once, each to its own minimum, by L-BFGS."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from twlcli.heads.line_search import Trial, strong_wolfe

_PAIRS = 10  # steps and changes of the gradient that are remembered
_ROWS = 8192  # of the features in one product
_ROUNDINGS = 10  # by how many units in the last place a value of the objective may be wrong


Pair = tuple[Tensor, Tensor, Tensor]  # a step s, the gradient's change y, and 1 / (s y)


@dataclass(frozen=True)
class Problem:
    """A linear head to be found: the least f(W, b) = loss(X W + b) + penalty / 2 |W|^2.

    Attributes:
        loss: of logits (N, C), a scalar with a gradient.
        penalty: at least 0. The bias b is not penalised.
    """

    loss: Callable[[Tensor], Tensor]
    penalty: float


@dataclass(frozen=True)
class Solution:
    """A head that was found.

    Attributes:
        head: (D + 1, C): W, and b as the last row.
        logits: (N, C), of the features; (0, C) where they were not to be kept.
        objective: f.
        gradient_norm: Euclidean, of the gradient of f by W and b.
        converged: whether that norm came down to what was asked for.
        iterations: that it took.
    """

    head: Tensor
    logits: Tensor
    objective: float
    gradient_norm: float
    converged: bool
    iterations: int


def solve(
    features: Tensor,
    problems: Sequence[Problem],
    start: Tensor,
    *,
    tolerance: float = 1e-4,
    most: int = 500,
    keep_logits: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Solution]:
    """Find the heads of all problems, with one product of matrices for all in each direction.

    Nocedal & Wright, *Numerical Optimization*, 2nd ed., algorithm 7.5, with a line search for the
    strong Wolfe conditions, and a scale of its own for the biases. Logits are linear in the step,
    so that a line search takes no product of matrices: an iteration takes two, X D for a direction
    and X^T G for a gradient. A problem that has converged takes no further part.

    Args:
        features: X (N, D), float32 or float64; the heads have their dtype and device.
        problems: K of them.
        start: (K, D + 1, C), the heads to begin with.
        tolerance: the norm of the gradient, as a share of its norm for a head of zeros, at which a
            problem has converged.
        most: iterations at most.
        keep_logits: whether the solutions have the logits of the features. They are most of what
            solutions take of memory.
        should_stop: asked once an iteration; on True the heads are given as they are then.

    Returns:
        A solution for each problem. One that has not converged after `most` iterations, or that no
        step makes better within rounding, is given as it is, and says so.
    """
    limits = tolerance * _norms_at_zero(features, problems, labels=start.shape[2])
    search = _Search.begin(features, problems, start)
    found: dict[int, Solution] = {}
    for iteration in range(most + 1):
        converged = search.norms() <= limits[search.numbers]
        ends = converged | search.stuck
        if iteration == most or should_stop():
            ends = torch.ones_like(ends)
        for place in ends.nonzero().flatten().tolist():
            solution = search.solution(place, bool(converged[place]), iteration, keep_logits)
            found[search.numbers[place]] = solution
        if ends.all():
            break
        if ends.any():
            search.keep(~ends)
        search.step(features, problems)
    return [found[number] for number in range(len(problems))]


@dataclass
class _Search:
    """The problems that have not ended, A of them, where they are and what is remembered of them.

    Attributes:
        numbers: which problems they are.
        heads: (A, D + 1, C).
        logits: (A, N, C).
        slopes: (A, N, C), the gradients of the losses by the logits.
        gradients: (A, D + 1, C), of the objectives.
        penalties: (A, 1, 1).
        values: (A), of the objectives.
        stuck: (A), whether no step was found that makes it better.
        pairs: the last ones; 1 / (s y) is 0 where s y is not above 0, which leaves a pair out.
    """

    numbers: list[int]
    heads: Tensor
    logits: Tensor
    slopes: Tensor
    gradients: Tensor
    penalties: Tensor
    values: list[float]
    stuck: Tensor
    pairs: deque[Pair] = field(default_factory=partial(deque, maxlen=_PAIRS))

    @classmethod
    def begin(cls, features: Tensor, problems: Sequence[Problem], start: Tensor) -> _Search:
        logits = forward(features, start)
        slopes = torch.empty_like(logits)
        values = []
        for place, problem in enumerate(problems):
            value, slopes[place] = value_and_gradient(problem.loss, logits[place])
            values.append(value + problem.penalty / 2 * float(start[place, :-1].square().sum()))
        penalties = features.new_tensor([each.penalty for each in problems]).view(-1, 1, 1)
        search = cls(
            numbers=list(range(len(problems))),
            heads=start.clone(),
            logits=logits,
            slopes=slopes,
            gradients=_gradients(features, slopes, start, penalties),
            penalties=penalties,
            values=values,
            stuck=torch.zeros(len(problems), dtype=torch.bool),
        )
        return search

    def norms(self) -> Tensor:
        """(A), of the gradients."""
        norms: Tensor = torch.linalg.vector_norm(self.gradients, dim=(1, 2))
        return norms.cpu()

    def solution(self, place: int, converged: bool, iterations: int, keep_logits: bool) -> Solution:
        """One of them as it is."""
        return Solution(
            self.heads[place].clone(),
            self.logits[place, : None if keep_logits else 0].clone(),
            self.values[place],
            float(self.norms()[place]),
            converged,
            iterations,
        )

    def keep(self, which: Tensor) -> None:
        """Go on with these alone."""
        places = which.nonzero().flatten()
        self.numbers = [self.numbers[place] for place in places.tolist()]
        self.values = [self.values[place] for place in places.tolist()]
        self.stuck = self.stuck[places]
        on_device = places.to(self.heads.device)
        for name in ("heads", "logits", "slopes", "gradients", "penalties"):
            setattr(self, name, getattr(self, name)[on_device])
        kept = [(s[on_device], y[on_device], inverse[on_device]) for s, y, inverse in self.pairs]
        self.pairs = deque(kept, maxlen=_PAIRS)

    def step(self, features: Tensor, problems: Sequence[Problem]) -> None:
        """One iteration of each."""
        directions = self._directions()
        changes = forward(features, directions)
        steps = torch.zeros_like(self.penalties)
        for place, number in enumerate(self.numbers):
            trial = self._searched(place, problems[number], directions[place], changes[place])
            if trial is None:
                self.stuck[place] = True
                continue
            steps[place] = trial.step
            self.values[place], self.slopes[place] = trial.value, trial.extra
        directions *= steps
        self.logits += changes.mul_(steps)
        self.heads += directions
        before = self.gradients
        self.gradients = _gradients(features, self.slopes, self.heads, self.penalties)
        change = self.gradients - before
        curvature = _dot(directions, change)
        usable = curvature > torch.finfo(curvature.dtype).tiny
        self.pairs.append((directions, change, (1 / curvature).where(usable, 0)))

    def _directions(self) -> Tensor:
        """(A, D + 1, C): minus the inverse Hessian, as it is remembered, times the gradients."""
        direction = self.gradients.clone()
        weights = []
        for step, change, inverse in reversed(self.pairs):
            weight = inverse * _dot(step, direction)
            direction -= weight * change
            weights.append(weight)
        if self.pairs:
            self._scale(direction)
        for (step, change, inverse), weight in zip(self.pairs, reversed(weights), strict=True):
            direction += step * (weight - inverse * _dot(change, direction))
        return direction.neg_()

    def _scale(self, direction: Tensor) -> None:
        """Multiply by the inverse Hessian that L-BFGS begins with, s y / y y of the last pair.

        It is diagonal, with a value for the weights and one for the bias: the weights alone are
        penalised, so that their curvature may be ten thousand times the bias's.
        """
        step, change, inverse = self.pairs[-1]
        whole = 1 / (inverse * _dot(change, change))
        for part in (slice(None, -1), slice(-1, None)):
            own = _dot(step[:, part], change[:, part])
            scale = own / _dot(change[:, part], change[:, part])
            direction[:, part] *= scale.where(own > 0, whole).where(inverse > 0, 1)

    def _searched(
        self, place: int, problem: Problem, direction: Tensor, change: Tensor
    ) -> Trial[Tensor] | None:
        """The step along a direction; None where there is none."""
        weights, along = self.heads[place, :-1], direction[:-1]
        linear, square = float(weights.mul(along).sum()), float(along.square().sum())
        logits, value = self.logits[place], self.values[place]
        slope = float(self.gradients[place].mul(direction).sum())
        if not slope < 0:
            return None
        penalised = problem.penalty / 2 * float(weights.square().sum())

        def evaluate(step: float) -> Trial[Tensor]:
            of_loss, slopes = value_and_gradient(problem.loss, logits.add(change, alpha=step))
            return Trial(
                step,
                of_loss + penalised + problem.penalty * step * (linear + step * square / 2),
                float(slopes.mul(change).sum()) + problem.penalty * (linear + step * square),
                slopes,
            )

        length = float(direction.norm())
        first = 1.0 if self.pairs else min(1.0, 1 / length)
        rounding = _ROUNDINGS * torch.finfo(logits.dtype).eps * abs(value)
        start = Trial(0.0, value, slope, self.slopes[place])
        return strong_wolfe(evaluate, start, first, rounding=rounding)


def forward(features: Tensor, heads: Tensor) -> Tensor:
    """The logits (K, N, C) of heads (K, D + 1, C), by one product for all of them."""
    count, _, labels = heads.shape
    weights, bias = heads[:, :-1].transpose(0, 1).flatten(1), heads[:, -1:]
    logits = features.new_empty((count, len(features), labels))
    for part, into in zip(features.split(_ROWS), logits.split(_ROWS, 1), strict=True):
        torch.add((part @ weights).view(-1, count, labels).transpose(0, 1), bias, out=into)
    return logits


def value_and_gradient(loss: Callable[[Tensor], Tensor], logits: Tensor) -> tuple[float, Tensor]:
    """A loss and its gradient by the logits (N, C)."""
    leaf = logits.detach().requires_grad_()
    value = loss(leaf)
    (gradient,) = torch.autograd.grad(value, leaf)
    # Numbers that are too small to be normalised make products of matrices twenty times slower.
    limits = torch.finfo(gradient.dtype)
    gradient = F.hardshrink(gradient, limits.tiny / limits.eps)
    return float(value.detach()), gradient


def _gradients(features: Tensor, slopes: Tensor, heads: Tensor, penalties: Tensor) -> Tensor:
    """(K, D + 1, C): those of the objectives, from those by the logits (K, N, C)."""
    count, _, labels = slopes.shape
    total = features.new_zeros((features.shape[1], count * labels))
    for part, own in zip(features.split(_ROWS), slopes.split(_ROWS, 1), strict=True):
        total.addmm_(part.T, own.transpose(0, 1).reshape(-1, count * labels))
    of_weights = total.view(-1, count, labels).transpose(0, 1)
    gradients = torch.cat((of_weights, slopes.sum(1, keepdim=True)), 1)
    gradients[:, :-1] += penalties * heads[:, :-1]
    return gradients


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """(K, 1, 1): the scalar products of the parts of two tensors (K, D, C)."""
    products: Tensor = torch.linalg.vecdot(first.flatten(1), second.flatten(1))
    return products.view(-1, 1, 1)


def _norms_at_zero(features: Tensor, problems: Sequence[Problem], *, labels: int) -> Tensor:
    """(K), of the gradients for heads of zeros."""
    zeros = features.new_zeros((len(features), labels))
    norms = []
    for problem in problems:
        _, slopes = value_and_gradient(problem.loss, zeros)
        norms.append(torch.hypot((features.T @ slopes).norm(), slopes.sum(0).norm()))
    return torch.stack(norms).cpu()
