"""What two models decide differently, and the images in which they differ most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twlcli.labels import ABSENT, PRESENT, UNKNOWN
from twlcli.model.decisions import calibration_of, decide, probabilities, thresholds_of
from twlcli.paired.draws import ScoredModel
from twlcli.paired.result import Disagreement, ImageDifference, LabelDecision
from twlcli.scoring.average_precision import blocks

MOST_IMAGES = 24  # that are named
MOST_DECISIONS = 20  # of an image that are named


def disagreement_of(
    first: ScoredModel,
    other: ScoredModel,
    images: Sequence[str],
    targets: NDArray[np.int8],
    labels: NDArray[np.intp],
    *,
    threshold: str | float | None = None,
) -> Disagreement:
    """What two models decide differently, each at its own thresholds.

    Args:
        first: the baseline, of K labels.
        other: the model that is compared with it.
        images: names of the N images.
        targets: (N, K) of 1 present, 0 absent, -1 unknown.
        labels: the columns that count.
        threshold: see `decisions.thresholds_of`.
    """
    models = [_Decider(each, labels, threshold) for each in (first, other)]
    counts, strength = np.zeros(len(images), dtype=np.int64), np.zeros(len(images))
    right = first_right = 0
    for block in blocks(len(images), len(labels)):
        (certain, given), (own_certain, own_given) = (each.decided(block) for each in models)
        truth = targets[block][:, labels]
        differs = given != own_given
        counts[block] = differs.sum(axis=1)
        strength[block] = np.where(differs, np.abs(own_certain - certain), 0).sum(axis=1)
        is_right = np.where(own_given, truth == PRESENT, truth == ABSENT)
        right += int((differs & is_right).sum())
        first_right += int((differs & ~is_right & (truth != UNKNOWN)).sum())
    order = np.lexsort((-counts, -strength))[:MOST_IMAGES]
    worst = [row for row in order.tolist() if counts[row]]
    return Disagreement(
        int((counts > 0).sum()),
        int(counts.sum()),
        right,
        first_right,
        tuple(_image(models, images[row], targets, row) for row in worst),
    )


class _Decider:
    """A model's probabilities and decisions of some labels."""

    def __init__(
        self, model: ScoredModel, labels: NDArray[np.intp], threshold: str | float | None
    ) -> None:
        self.labels = labels
        self.names = [model.spec.vocabulary.names[column] for column in labels]
        self._logits = model.logits
        self._calibration = calibration_of(model.spec)
        self._thresholds = thresholds_of(model.spec, threshold)

    def decided(self, rows: slice) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Both (n, labels)."""
        certain = probabilities(self._logits[rows], self._calibration)
        given = decide(certain, self._thresholds)
        return certain[:, self.labels], given[:, self.labels]


def _image(
    models: Sequence[_Decider], image: str, targets: NDArray[np.int8], row: int
) -> ImageDifference:
    (first, given), (value, own) = (
        (part[0] for part in each.decided(slice(row, row + 1))) for each in models
    )
    truth, names = targets[row, models[0].labels], models[0].names
    columns = np.flatnonzero(given != own)
    columns = columns[np.argsort(-np.abs(value - first)[columns], kind="stable")]
    return ImageDifference(
        image,
        tuple(names[column] for column in np.flatnonzero(truth == PRESENT)),
        len(columns),
        tuple(
            LabelDecision(
                names[column],
                None if truth[column] == UNKNOWN else bool(truth[column] == PRESENT),
                bool(own[column]),
                float(first[column]),
                float(value[column]),
            )
            for column in columns[:MOST_DECISIONS]
        ),
    )
