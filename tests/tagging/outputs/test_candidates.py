"""Which images `twl review` chooses, against plain loops over everything."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twlcli.tagging.outputs.review import candidates
from twlcli.tagging.outputs.review.candidates import Candidates


def chosen_by_loops(certain: np.ndarray, count: int) -> list[tuple[int, int, bool]]:
    """As the class says it: labels take turns, the most open first."""
    images, labels = range(len(certain)), range(certain.shape[1])
    openness = [sum(float(certain[i, c] * (1 - certain[i, c])) for i in images) for c in labels]
    order = sorted(labels, key=lambda c: -openness[c])
    probable = [sorted(images, key=lambda i: -certain[i, c]) for c in labels]
    doubtful = [sorted(images, key=lambda i: abs(certain[i, c] - 0.5)) for c in labels]
    found: list[tuple[int, int, bool]] = []
    turn = 0
    while len(found) < min(count, len(certain)):
        for place, column in enumerate(order):
            is_doubtful = (turn + place) % 2 == 1
            ranked = (doubtful if is_doubtful else probable)[column]
            free = [row for row in ranked if row not in [each[0] for each in found]]
            if free and len(found) < count:
                found.append((free[0], column, is_doubtful))
        turn += 1
    return found


def chosen(certain: np.ndarray, count: int) -> list[tuple[int, int, bool]]:
    found = Candidates(certain.shape[1], count)
    for row in certain:
        found.add(row)
    assert len(found) == len(certain)
    picked = found.chosen()
    assert {each.row for each in picked} <= found.rows()
    return [(each.row, each.column, each.is_doubtful) for each in picked]


@settings(deadline=None, max_examples=100)
@given(
    images=st.integers(0, 200),
    labels=st.integers(1, 6),
    count=st.integers(1, 90),
    seed=st.integers(0, 1000),
)
def test_what_plain_loops_choose(images, labels, count, seed):
    rng = np.random.default_rng(seed)
    # Eighths: ties of probabilities, which are exact sums besides.
    certain = (rng.integers(0, 9, size=(images, labels)) / 8).astype(np.float32)
    assert chosen(certain, count) == chosen_by_loops(certain, count)


def test_every_label_gets_its_share_however_rare():
    rng = np.random.default_rng(0)
    certain = rng.random((2000, 10)).astype(np.float32)
    certain[:, 3] *= 0.01  # a rare label, on whose images others are as likely
    taken = [column for _, column, _ in chosen(certain, 200)]
    assert [taken.count(column) for column in range(10)] == [20] * 10


def test_with_more_labels_than_images_the_most_open_are_asked_about():
    certain = np.full((50, 300), 0.01, dtype=np.float32)
    certain[:, 200:205] = np.linspace(0.2, 0.8, 50)[:, None]
    assert {column for _, column, _ in chosen(certain, 5)} == set(range(200, 205))


def test_memory_does_not_grow_with_the_images(monkeypatch):
    monkeypatch.setattr(candidates, "_ENTRIES", 300)
    found = Candidates(100, 40)  # 3 of each label instead of 40
    rng = np.random.default_rng(0)
    for _ in range(1000):
        found.add(rng.random(100).astype(np.float32))
    assert len(found.rows()) <= 2 * 3 * 100
    assert len({each.row for each in found.chosen()}) == 40


@pytest.mark.parametrize("count", [1, 7])
def test_fewer_images_than_asked_for(count):
    certain: Any = np.full((3, 2), 0.5, dtype=np.float32)
    assert len(chosen(certain, count)) == min(count, 3)
    assert chosen(certain[:0], count) == []
