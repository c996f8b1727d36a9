"""Comparisons for the tests, drawn with a seed."""

import numpy as np

from tests.scoring.drawn import draw_logits
from twlcli.comparison.plan import Candidate
from twlcli.comparison.result import Comparison, History, RunScores, Trained
from twlcli.comparison.statistics import compare_scores
from twlcli.recipe import Recipe

UGLY = ('<b>bold</b> & "quoted"', "l'été", "猫", "$x^2$ $")
HISTORY: History = (
    {"epoch": 1, "loss": 3.0, "map_class": 0.3, "map_sample": 0.4},
    {"epoch": 2, "loss": 2.0, "map_class": 0.5, "map_sample": 0.6},
)


def candidate(name: str, **options: float) -> Candidate:
    """ASL under some name."""
    return Candidate(name, Recipe().with_values({"loss": {"name": "asl", **options}}))


def comparison_of(
    names: tuple[str, ...] = ("two-way", "asl clip=0.1", "bce"),
    *,
    labels: tuple[str, ...] = UGLY,
    seeds: int = 2,
    rates: tuple[tuple[float, float], ...] = ((0.01, 0.6), (0.03, float("nan"))),
    history: History = HISTORY,
) -> Comparison:
    """The first the best by far, the next ones alike."""
    targets = draw_logits(0, images=60, labels=len(labels), rate=0.4)[1]
    trained = []
    for place, name in enumerate(names):
        generator = np.random.default_rng(place)
        runs = []
        for seed in range(seeds):
            strength = 3 if place == 0 else 1
            logits = generator.normal(size=targets.shape) + strength * (targets == 1)
            runs.append(RunScores(seed, logits.astype(np.float32), history))
        trained.append(Trained(candidate(name, clip=0.1), 0.01, tuple(runs), rates))
    return compare_scores(trained, targets, labels)
