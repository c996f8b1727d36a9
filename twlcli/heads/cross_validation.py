"""The penalty of a linear head, chosen by cross-validation.

A fold is held out by making its labels unknown, which all losses leave out exactly. So the heads of
all folds are found over the same features at once, and the logits that they give for their own
folds, which no head was fitted to, are at hand: of these calibration and thresholds are not
optimistic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twlcli.heads.lbfgs import Problem, Solution, solve

Loss = Callable[[Tensor, Tensor], Tensor]  # of logits (N, C) and targets (N, C)

# Half decades from strong to weak. Of VOC2007's and others' features the best are 0.01 to 1.
PENALTIES = tuple(10.0 ** (power / 2) for power in range(4, -13, -1))
_WORSE = 2  # so many worse penalties in a row, and the best has been found
_BYTES = 1 << 30  # for what is as large as the logits of the heads that are found at once
_COPIES = 5  # of the logits, while heads are found


@dataclass(frozen=True)
class Tried:
    """Heads with one penalty, each found without one of K folds.

    Attributes:
        penalty: theirs.
        heads: (K, D + 1, C).
        logits: (N, C), of each image by the head that was found without it.
        score: of these logits, the higher the better; NaN where it is not defined.
        gradient_norm: the largest of the heads'.
        converged: whether all did.
        iterations: the most that one took.
    """

    penalty: float
    heads: Tensor
    logits: NDArray[np.float32]
    score: float
    gradient_norm: float
    converged: bool
    iterations: int


@dataclass(frozen=True)
class HeadProblem:
    """What a head is to be found for.

    Attributes:
        features: (V N, D): of N images, V views of each, one view of all after the other.
        targets: (N, C) of 1 present, 0 absent, -1 unknown.
        loss: of logits and targets of all views.
        tolerance: see `solve`.
        most: iterations at most.
    """

    features: Tensor
    targets: Tensor
    loss: Loss
    tolerance: float = 1e-3
    most: int = 1000

    @property
    def zero(self) -> Tensor:
        """A head (D + 1, C) of zeros."""
        return self.features.new_zeros((self.features.shape[1] + 1, self.targets.shape[1]))

    def solved(self, penalty: float, start: Tensor, should_stop: Callable[[], bool]) -> Solution:
        """The head of all images."""
        return self._solve([self._problem(self.targets, penalty)], start[None], should_stop)[0]

    def solved_without(
        self,
        folds: NDArray[np.integer],
        penalty: float,
        starts: Tensor,
        should_stop: Callable[[], bool],
    ) -> list[Solution]:
        """The heads of all images but those of one of K folds.

        Args:
            folds: (N), the fold of each image, from 0 to K - 1.
            penalty: theirs.
            starts: (K, D + 1, C), the heads to begin with.
            should_stop: see `solve`.
        """
        fold_of = torch.from_numpy(folds).to(self.targets.device)
        logits_bytes = len(self.features) * self.targets.shape[1] * self.features.element_size()
        at_once = max(1, _BYTES // (_COPIES * max(1, logits_bytes)))
        found: list[Solution] = []
        for numbers in torch.arange(len(starts)).split(at_once):
            problems = []
            for number in numbers.tolist():
                targets = self.targets.masked_fill((fold_of == number)[:, None], -1)
                problems.append(self._problem(targets, penalty))
            found += self._solve(problems, starts[numbers], should_stop)
        return found

    def _solve(
        self, problems: list[Problem], starts: Tensor, should_stop: Callable[[], bool]
    ) -> list[Solution]:
        return solve(
            self.features,
            problems,
            starts,
            tolerance=self.tolerance,
            most=self.most,
            should_stop=should_stop,
        )

    def _problem(self, targets: Tensor, penalty: float) -> Problem:
        of_views = targets.repeat(len(self.features) // len(targets), 1)
        return Problem(lambda logits: self.loss(logits, of_views), penalty)


def try_penalties(
    problem: HeadProblem,
    folds: NDArray[np.integer],
    score: Callable[[NDArray[np.float32]], float],
    *,
    penalties: Sequence[float] = PENALTIES,
    should_stop: Callable[[], bool] = lambda: False,
    tried: Callable[[Tried], None] = lambda tried: None,
) -> Tried:
    """The best penalty of a descending sequence, by the score of the folds' logits.

    Each begins with the heads of the one before, the first with zeros, and the search ends where
    two in a row are worse than the best.

    Args:
        problem: what the head is for.
        folds: (N), the fold of each image, from 0 to K - 1.
        score: of logits (N, C), the higher the better.
        penalties: from strong to weak.
        should_stop: asked once an iteration; on True the best so far is given as it is.
        tried: told about each penalty.
    """
    count = int(folds.max()) + 1
    heads = problem.zero.expand(count, -1, -1)
    best: Tried | None = None
    worse = 0
    for penalty in penalties:
        solutions = problem.solved_without(folds, penalty, heads, should_stop)
        heads = torch.stack([each.head for each in solutions])
        logits = np.empty(tuple(problem.targets.shape), dtype=np.float32)
        for number, each in enumerate(solutions):
            own = np.flatnonzero(folds == number)
            logits[own] = each.logits[torch.from_numpy(own).to(each.logits.device)].cpu().numpy()
        result = Tried(
            penalty,
            heads,
            logits,
            score(logits),
            max(each.gradient_norm for each in solutions),
            all(each.converged for each in solutions),
            max(each.iterations for each in solutions),
        )
        if should_stop():
            return best or result
        tried(result)
        if best is None or math.isnan(best.score) or result.score > best.score:
            best, worse = result, 0
        else:
            worse += 1
        if worse == _WORSE:
            break
    assert best is not None
    return best
