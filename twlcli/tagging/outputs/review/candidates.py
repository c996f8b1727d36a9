"""Which images of many are worth a look: those from which a model learns most, once labelled."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ENTRIES = 1 << 20  # of each table of candidates at most, so that memory stays within some 40 MB


@dataclass(frozen=True)
class Chosen:
    """An image that is worth a look.

    Attributes:
        row: its number, in the order of `Candidates.add`.
        column: the label that it was chosen for.
        is_doubtful: whether it is among the least certain of the label, else among the most
            probable.
    """

    row: int
    column: int
    is_doubtful: bool


class Candidates:
    """Takes the probabilities of images one after the other; memory does not grow with them.

    Uncertainty sampling (Lewis and Gale, "A Sequential Algorithm for Training Text Classifiers",
    SIGIR 1994) for many labels at once. The labels take turns: each takes the image that is most
    probable for it, and in its next turn the one about which it is least certain, the probability
    nearest to 1/2. So rare labels get as many images as frequent ones, and examples as well as
    doubts; see `benchmarks/review.py` for what that is worth. The labels begin with those about
    which the images leave most open, by the sum of p (1 - p).
    """

    def __init__(self, label_count: int, count: int) -> None:
        """Begin without images.

        Args:
            label_count: C.
            count: how many are to be chosen, at least 1.
        """
        self._count = count
        self._each = min(count, max(1, _ENTRIES // label_count))
        self._open = np.zeros(label_count)
        self._probable = _Best(self._each, label_count)
        self._doubtful = _Best(self._each, label_count)
        self._waiting: list[NDArray[np.float32]] = []
        self._taken_in = 0

    def __len__(self) -> int:
        """How many images there were."""
        return self._taken_in + len(self._waiting)

    def add(self, probabilities: NDArray[np.float32]) -> None:
        """Take the probabilities (C,) of the next image."""
        self._waiting.append(probabilities)
        if len(self._waiting) >= max(self._each, 64):
            self._take_in()

    def rows(self) -> AbstractSet[int]:
        """Those of the images that may be chosen, of all so far."""
        self._take_in()
        return {*self._probable.rows(), *self._doubtful.rows()}

    def _take_in(self) -> None:
        if not self._waiting:
            return
        block = np.stack(self._waiting)
        self._waiting = []
        rows = np.arange(self._taken_in, self._taken_in + len(block), dtype=np.int64)
        self._taken_in += len(block)
        self._open += (block * (1 - block)).sum(axis=0, dtype=np.float64)
        self._probable.add(rows, block)
        self._doubtful.add(rows, -np.abs(block - np.float32(0.5)))

    def chosen(self) -> list[Chosen]:
        """The images to look at, as the labels took them; fewer where there are fewer."""
        self._take_in()
        order = np.argsort(-self._open, kind="stable").tolist()
        lists = (self._probable.lists(), self._doubtful.lists())
        found: dict[int, Chosen] = {}
        turns = idle = 0
        while idle < 2 and len(found) < self._count:
            before = len(found)
            for place, column in enumerate(order):
                is_doubtful = bool((turns + place) % 2)
                row = next((row for row in lists[is_doubtful][column] if row not in found), None)
                if row is not None and len(found) < self._count:
                    found[row] = Chosen(row, column, is_doubtful)
            idle = idle + 1 if len(found) == before else 0
            turns += 1
        return list(found.values())


class _Best:
    """The rows with the highest scores of each label, K at most."""

    def __init__(self, most: int, label_count: int) -> None:
        self._most = most
        self._scores = np.empty((0, label_count), dtype=np.float32)
        self._rows = np.empty((0, label_count), dtype=np.int64)

    def add(self, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """Take the scores (n, C) of rows (n,), all later than those before."""
        scores = np.concatenate((self._scores, scores))
        all_rows = np.concatenate(
            (self._rows, np.broadcast_to(rows[:, None], (len(rows), scores.shape[1])))
        )
        order = np.argsort(-scores, axis=0, kind="stable")[: self._most]
        self._scores = np.take_along_axis(scores, order, axis=0)
        self._rows = np.take_along_axis(all_rows, order, axis=0)

    def rows(self) -> list[int]:
        """All of them, each once."""
        found: list[int] = np.unique(self._rows).tolist()
        return found

    def lists(self) -> list[list[int]]:
        """The rows of each label, the best first."""
        found: list[list[int]] = self._rows.T.tolist()
        return found
