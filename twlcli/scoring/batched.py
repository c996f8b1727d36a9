"""A metric that batches are added to, whatever it is of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twlcli.scoring.average_precision import checked

Result = TypeVar("Result")


class BatchedMetric(ABC, Generic[Result]):
    """A metric of all batches that it was given.

    What it keeps of them can be added with `+=`: an array of sums, or a list with an entry a batch.
    """

    def __init__(self, **options: object) -> None:
        self._options = options
        self._kept: Any = None
        self._label_count = 0

    def update(self, scores: ArrayLike, targets: ArrayLike) -> None:
        """Add a batch; its arrays may be used for something else afterwards.

        Args:
            scores: (N, C), the logits or probabilities that the metric is of.
            targets: (N, C) of 1 present, 0 absent, -1 unknown.

        Raises:
            ModelError: a score is not finite.
            ValueError: the shapes differ, from each other or in C from those of batches before, or
                a target or probability is out of its range. The batch is not added.
        """
        arrays = checked(scores, targets)
        self._add(self._summary(*arrays), arrays[0].shape[1])

    def compute(self) -> Result:
        """The metric of all batches.

        Raises:
            RuntimeError: there was none.
        """
        return self._result(self._all_batches())

    def reset(self) -> None:
        """Forget all batches."""
        self._kept, self._label_count = None, 0

    def merge_state(self, other: BatchedMetric[Result]) -> None:
        """Add what another metric of the same kind and options has seen.

        Raises:
            ValueError: the other is of another kind, or differs in its options or in C.
        """
        if type(self) is not type(other) or self._options != other._options:
            raise ValueError(
                f"expected another {type(self).__name__} of the same {' and '.join(self._options)}"
            )
        if other._kept is not None:
            self._add(copy(other._kept), other._label_count)

    def _add(self, summary: Any, label_count: int) -> None:
        if self._kept is None:
            self._kept, self._label_count = summary, label_count
        elif label_count != self._label_count:
            raise ValueError(
                f"expected {self._label_count} labels as in the batches before, got {label_count}"
            )
        else:
            self._kept += summary

    def _all_batches(self) -> Any:
        if self._kept is None:
            raise RuntimeError(f"{type(self).__name__} has seen no batch: call update first")
        return self._kept

    @abstractmethod
    def _summary(self, scores: NDArray[np.floating], targets: NDArray[np.int8]) -> Any:
        """What is kept of a batch."""

    @abstractmethod
    def _result(self, kept: Any) -> Result:
        """The metric of what is kept of all."""
