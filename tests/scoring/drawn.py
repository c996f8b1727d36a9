"""Scores and targets for the tests: drawn with a seed, and as Hypothesis strategies."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays


def draw_logits(
    seed: int = 0,
    *,
    images: int = 400,
    labels: int = 6,
    rate: float = 0.2,
    unknown: float = 0.1,
    separation: float = 2.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, C) float32 and targets (N, C) int8; the logits have a constant of their own."""
    generator = np.random.default_rng(seed)
    targets = (generator.random((images, labels)) < rate).astype(np.int8)
    logits = generator.normal(size=(images, labels)) + separation * targets
    logits = logits * generator.uniform(0.5, 2, labels) + generator.normal(scale=5, size=labels)
    targets[generator.random((images, labels)) < unknown] = -1
    return logits.astype(np.float32), targets


@st.composite
def scores_and_targets(draw, *, tied: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Small matrices; scores from a coarse grid, so that many are tied, or all different."""
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 6)))
    targets = draw(arrays.arrays(np.int8, shape, elements=st.integers(-1, 1)))
    if tied:
        grid = draw(arrays.arrays(np.int64, shape, elements=st.integers(-4, 4)))
        return grid / 4, targets
    order = draw(st.permutations(range(shape[0] * shape[1])))
    return np.array(order, dtype=float).reshape(shape), targets
