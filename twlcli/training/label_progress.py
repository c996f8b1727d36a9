"""How well a network in training ranks the images of each label, from validation to validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelScores:
    """Average precision of each label after an epoch, in 0..1; NaN where it says nothing."""

    epoch: int = 0  # none yet
    values: tuple[float, ...] = ()

    def of(self, column: int) -> float:
        """That of a label; NaN where no epoch was scored."""
        return self.values[column] if self.values else math.nan


NONE = LabelScores()


@dataclass(frozen=True)
class LabelProgress:
    """The scores of three epochs: scored last, before that, and with the best mAP@class."""

    last: LabelScores = NONE
    before: LabelScores = NONE
    best: LabelScores = NONE

    def after(self, epoch: int, by_label: NDArray[np.float64], *, best: bool) -> LabelProgress:
        """What it is when another epoch was scored.

        Example:
            >>> first = LabelProgress().after(1, np.array([0.5]), best=True)
            >>> second = first.after(2, np.array([0.25]), best=False)
            >>> (second.last.epoch, second.before.epoch, second.best.epoch, second.change(0))
            (2, 1, 1, -0.25)
        """
        now = LabelScores(epoch, tuple(by_label.tolist()))
        return LabelProgress(now, self.last, now if best else self.best)

    def change(self, column: int) -> float:
        """By how much the score of a label changed with the last epoch; NaN where it is not known.

        Two scores are compared that are those of two epochs.
        """
        return self.last.of(column) - self.before.of(column)

    def state(self) -> dict[str, Any]:
        """What `read` makes it of again."""
        return {name: {**each, "values": [*each["values"]]} for name, each in asdict(self).items()}

    @classmethod
    def read(cls, state: Mapping[str, Any], *, labels: int) -> LabelProgress:
        """What a run's state holds of it.

        Raises:
            KeyError, TypeError, ValueError: it is not what `state` gives for that many labels.
        """
        return cls(**{name: _scores(state[name], labels) for name in ("last", "before", "best")})


def _scores(state: Mapping[str, Any], labels: int) -> LabelScores:
    epoch, values = int(state["epoch"]), tuple(map(float, state["values"]))
    if len(values) != (labels if epoch else 0):
        raise ValueError(f"{len(values)} scores for {labels} labels")
    return LabelScores(epoch, values)
