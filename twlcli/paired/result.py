"""What two or more models come to on the same images."""

from __future__ import annotations

from dataclasses import dataclass

from twlcli.images.image_file import Failure
from twlcli.scoring.evaluation import Evaluation


@dataclass(frozen=True)
class ScoreDifference:
    """A score of a model minus that of the first, -1..1.

    Attributes:
        value: the difference.
        low: the lower end of its 95 % interval; None where there is none.
        high: the upper end.
        p: two-sided; None where there is no interval.
        adjusted_p: corrected for how many were tested.
        significant: whether it is more than chance: `adjusted_p` is below 0.05.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    adjusted_p: float | None = None
    significant: bool = False


@dataclass(frozen=True)
class LabelDifference:
    """The average precision of a label by a model, and by the first.

    Attributes:
        label: its name.
        support: how many images have it.
        first: its average precision by the first model, 0..1.
        value: and by this one.
        difference: the second minus the first; without an interval where the label was not tested.
    """

    label: str
    support: int
    first: float
    value: float
    difference: ScoreDifference


@dataclass(frozen=True)
class LabelDecision:
    """A label that one of two models gives an image, and the other does not.

    Attributes:
        label: its name.
        present: whether the image has it; None where that is unknown.
        given: whether this model gives it; the first does the opposite.
        first: its probability by the first model.
        value: and by this one.
    """

    label: str
    present: bool | None
    given: bool
    first: float
    value: float


@dataclass(frozen=True)
class ImageDifference:
    """An image that two models give different labels.

    Attributes:
        image: its name, as the data have it.
        present: the labels that it has.
        count: how many labels only one of the models gives it.
        labels: of these the first `MOST_DECISIONS`, those whose probabilities differ most.
    """

    image: str
    present: tuple[str, ...]
    count: int
    labels: tuple[LabelDecision, ...]


@dataclass(frozen=True)
class Disagreement:
    """What two models decide differently, each at its own thresholds.

    Attributes:
        images: how many images they give different labels.
        decisions: how many labels of images only one of the models gives.
        right: of these, in how many the model is right and the first is wrong.
        first_right: in how many it is the other way round; of the rest it is not known.
        worst: the images in which they differ most: by the sum of the differences in probability of
            the labels that only one of them gives.
    """

    images: int
    decisions: int
    right: int
    first_right: int
    worst: tuple[ImageDifference, ...]


@dataclass(frozen=True)
class ModelDifference:
    """A model against the first.

    Attributes:
        name: the model's.
        scores: the difference of each score, by the names of `SCORES`.
        labels: the labels that an image has and another lacks, in the order of the vocabulary.
        disagreement: what the two decide differently.
    """

    name: str
    scores: dict[str, ScoreDifference]
    labels: tuple[LabelDifference, ...]
    disagreement: Disagreement

    @property
    def tested(self) -> int:
        """How many labels have enough images to be tested."""
        return sum(each.difference.p is not None for each in self.labels)

    @property
    def real(self) -> tuple[LabelDifference, ...]:
        """The labels whose difference is more than chance, the largest first."""
        found = [each for each in self.labels if each.difference.significant]
        return tuple(sorted(found, key=lambda each: -abs(each.difference.value)))


@dataclass(frozen=True)
class PairedEvaluation:
    """Two or more models on the images that all could read, and the labels that all know.

    Attributes:
        models: as they were named.
        names: short ones, each once.
        evaluations: of each model, as `evaluate` gives it for these images and labels.
        differences: of each model but the first, to the first.
        labels: the labels that all models know, in the first's order.
        data: where the images came from.
        split: which split of them was scored.
        images: how many were scored.
        resamples: how many draws the intervals come from; 0 where there are none.
        notes: what was left out, and what was decided in reading the data.
        unreadable: the images that a model could not read; they are in no score.
    """

    models: tuple[str, ...]
    names: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    differences: tuple[ModelDifference, ...]
    labels: tuple[str, ...]
    data: str
    split: str
    images: int
    resamples: int
    notes: tuple[str, ...]
    unreadable: tuple[Failure, ...]
