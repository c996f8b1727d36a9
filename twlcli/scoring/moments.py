"""How much each label's score varies over draws, without keeping the draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Moments:
    """Sums over the draws of each label, which its standard deviation is made of; (C,) each."""

    count: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def none(cls, labels: int) -> Moments:
        """Of no draws."""
        return cls(*(np.zeros(labels) for _ in range(3)))

    def add(self, label: int, values: NDArray[np.float64]) -> None:
        """Add draws of a label, by their mean and spread: sums of squares alone cancel out."""
        if not len(values):
            return
        count, total = self.count[label], self.total[label]
        own = float(values.sum())
        self.squares[label] += ((values - own / len(values)) ** 2).sum()
        if count:
            apart = own / len(values) - total / count
            self.squares[label] += apart**2 * count * len(values) / (count + len(values))
        self.count[label] += len(values)
        self.total[label] += own

    def deviation(self) -> NDArray[np.float64]:
        """The standard deviation of each label's draws, (C,); 0 of fewer than two."""
        return np.sqrt(self.squares / np.maximum(1, self.count - 1))
