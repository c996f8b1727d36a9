"""What linear evaluation found, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

SelectionName = Literal["paper", "validation"]
SELECTIONS: tuple[SelectionName, ...] = ("paper", "validation")
# The scores of a set, the one that penalties are chosen by first.
SINGLE_LABEL = ("accuracy", "class_accuracy")
MULTI_LABEL = ("map_class", "map_sample")
HEADINGS = {
    "accuracy": "accuracy",
    "class_accuracy": "per class",
    "map_class": "mAP@class",
    "map_sample": "mAP@sample",
}


@dataclass(frozen=True)
class Swept:
    """One penalty: what its head, found on all training images, scores on the test images.

    Attributes:
        penalty: λ.
        scores: on the test images, in 0..1, by the names of `SINGLE_LABEL` or `MULTI_LABEL`.
        validation: the first of these on the fifth of the training images that was held out, of a
            head that was found on the others.
        gradient_norm: of the mean objective, by the bias and scaled weights; see `sweep.sweep`.
        converged: whether the norm came down to the tolerance.
        iterations: that the head took.
        validation_converged: the same of the head without the held-out images.
    """

    penalty: float
    scores: Mapping[str, float]
    validation: float
    gradient_norm: float
    converged: bool
    iterations: int
    validation_converged: bool


@dataclass(frozen=True)
class ProbeResult:
    """A model's features on one image set.

    Attributes:
        model: as it was named.
        data: the set, as it was named.
        labels: C.
        features: D.
        train: training images that could be read.
        test: test images that could be read.
        unreadable: images that could not, and take no part.
        loss: that was minimised.
        swept: all penalties, from strong to weak.
    """

    model: str
    data: str
    labels: int
    features: int
    train: int
    test: int
    unreadable: int
    loss: str
    swept: tuple[Swept, ...]

    @property
    def score_names(self) -> tuple[str, ...]:
        """`SINGLE_LABEL` or `MULTI_LABEL`."""
        return SINGLE_LABEL if SINGLE_LABEL[0] in self.swept[0].scores else MULTI_LABEL

    def selected(self, name: SelectionName) -> Swept:
        """The penalty that is best on the test images, or that on the held-out ones; see `Swept`.

        `paper` is what Kobayashi, CVPR 2023, reports: the best of all on the test images
        themselves, which is optimistic. Of equal penalties the strongest is taken.
        """
        return max(self.swept, key=lambda each: self.chosen_by(name, each))

    def chosen_by(self, name: SelectionName, each: Swept) -> float:
        """What a penalty is chosen by, the higher the better."""
        value = each.scores[self.score_names[0]] if name == "paper" else each.validation
        return -math.inf if math.isnan(value) else value


def to_dict(result: ProbeResult) -> dict[str, Any]:
    """The result for JSON: scores as fractions 0..1, null for NaN."""
    selected = {name: asdict(result.selected(name)) for name in SELECTIONS}
    fields: dict[str, Any] = _plain({**asdict(result), "selected": selected})
    return fields


def from_dict(fields: Mapping[str, Any]) -> ProbeResult:
    """What `to_dict` was given.

    Raises:
        ValueError: it is something else.
    """
    try:
        own = {key: value for key, value in fields.items() if key != "selected"}
        swept = tuple(_swept(each) for each in own.pop("swept"))
        result = ProbeResult(**own, swept=swept)
        result.selected("paper")
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        raise ValueError(str(error)) from error
    return result


def _swept(fields: Mapping[str, Any]) -> Swept:
    scores = {name: _number(value) for name, value in fields["scores"].items()}
    return Swept(**{**fields, "scores": scores, "validation": _number(fields["validation"])})


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value


Told = Callable[[int, int], None]  # how many heads are found, and of how many
