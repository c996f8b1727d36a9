"""A grid of penalties for one linear head: all at once, and one fit after the other.

    python benchmarks/heads.py
    python benchmarks/heads.py --images 5000 --features 1280 --labels 20 --penalties 45 --intelex

The heads of independent labels (BCE, one against the rest) for penalties equally spaced on a log
scale, found by `twlcli.heads` in one go and by scikit-learn's LogisticRegression (L-BFGS, float32)
label by label; the same objective, the same penalties, and scikit-learn's tolerance. Features are
drawn, like those of a network: not negative, correlated, standardised. A column says by how much
twl's objective is above scikit-learn's, relatively; below 0 it is the lower one. They run in
turns, a part of the penalties each, and times are added up. With --intelex the same class of
scikit-learn-intelex, which has to be installed, takes scikit-learn's place.
"""

from __future__ import annotations

import argparse
import time
import warnings
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch

from twlcli.heads.lbfgs import Problem, solve
from twlcli.heads.standard import Standard
from twlcli.losses import bce_loss

TURNS = 5
STRONGEST, WEAKEST = 10.0, 1e-4


def drawn(images: int, features: int, labels: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(images, 100, generator=generator)
    noise = torch.randn(images, features, generator=generator)
    matrix = (hidden @ torch.randn(100, features, generator=generator) / 10 + noise).relu()
    logits = 3 * hidden[:, :labels] + torch.randn(images, labels, generator=generator) - 4
    return Standard.of(matrix).apply_(matrix), (logits > 0).long()


def of_twl(matrix: torch.Tensor, targets: torch.Tensor, penalties: list[float]) -> list[float]:
    loss = partial(bce_loss, targets=targets, reduction="image")
    start = matrix.new_zeros((len(penalties), matrix.shape[1] + 1, targets.shape[1]))
    solutions = solve(matrix, [Problem(loss, each) for each in penalties], start, tolerance=1e-4)
    return [each.objective for each in solutions]


def one_by_one(
    regression: Any, matrix: torch.Tensor, targets: torch.Tensor, penalties: list[float]
) -> list[float]:
    objectives = []
    for penalty in penalties:
        logits, square = np.empty(tuple(targets.shape), np.float32), 0.0
        for label in range(targets.shape[1]):
            fitted = regression(C=1 / (penalty * len(matrix)), max_iter=1000)
            fitted.fit(matrix.numpy(), targets[:, label].numpy())
            logits[:, label] = fitted.decision_function(matrix.numpy())
            square += float((fitted.coef_**2).sum())
        loss = bce_loss(torch.from_numpy(logits), targets, reduction="image")
        objectives.append(float(loss) + penalty / 2 * square)
    return objectives


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--features", type=int, default=1280)
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--penalties", type=int, default=45)
    parser.add_argument("--intelex", action="store_true")
    given = parser.parse_args()
    name = "sklearnex" if given.intelex else "sklearn"
    regression = import_module(f"{name}.linear_model").LogisticRegression
    warnings.simplefilter("ignore")  # scikit-learn's, of fits that did not converge
    matrix, targets = drawn(given.images, given.features, given.labels)
    penalties = np.geomspace(STRONGEST, WEAKEST, given.penalties)
    print(f"{'penalties':>20}  {'twl':>8}  {name:>9}  times  objective")
    of_all = [0.0, 0.0]
    for part in (penalties[turn::TURNS].tolist() for turn in range(TURNS)):
        times, objectives = [], []
        for way in (of_twl, partial(one_by_one, regression)):
            began = time.perf_counter()
            objectives.append(way(matrix, targets, part))
            times.append(time.perf_counter() - began)
        of_all = [total + own for total, own in zip(of_all, times, strict=True)]
        above = max(ours / theirs - 1 for ours, theirs in zip(*objectives, strict=True))
        span = f"{len(part)} from {part[0]:.2g} to {part[-1]:.2g}"
        ratio = times[1] / times[0]
        print(f"{span:>20}  {times[0]:7.1f}s  {times[1]:8.1f}s  {ratio:5.1f}  {above:+.1e}")
    ratio = of_all[1] / of_all[0]
    print(f"{'all':>20}  {of_all[0]:7.1f}s  {of_all[1]:8.1f}s  {ratio:5.1f}")


if __name__ == "__main__":
    main()
