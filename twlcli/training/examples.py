"""The mistakes of a network in training that are worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from twlcli.inference.scored import ScoredImages
from twlcli.labels import PRESENT, Vocabulary
from twlcli.model.decisions import calibration_of, given_labels, probabilities, thresholds_of
from twlcli.model.spec import Calibration, ModelSpec
from twlcli.scoring.fit import fit
from twlcli.scoring.mistakes import Mistakes, worst_mistakes

MOST = 24  # images
FITTED_LABELS, _FITTED_IMAGES = 100, 4000  # that a quick fit is made of, within a second or two
_LABELS = 12  # whose mistakes they are: of each the worst of both kinds
_NAMED = 4  # labels of an image


@dataclass(frozen=True)
class Example:
    """An image and a mistake in it.

    Attributes:
        image: its name.
        label: that the network is wrong about.
        given: whether the label was given and is absent; else it is present and was missed.
        probability: of the label.
        has: the first labels that the image has.
        more_had: how many it has besides.
        gets: the most probable labels that it is given, with their probabilities.
        more_got: how many it is given besides.
    """

    image: str
    label: str
    given: bool
    probability: float
    has: tuple[str, ...]
    more_had: int
    gets: tuple[tuple[str, float], ...]
    more_got: int


def quickly_fitted(scored: ScoredImages, spec: ModelSpec) -> tuple[ScoredImages, ModelSpec]:
    """The labels that most images have, with calibration and thresholds of their own.

    Fitting all of 5,000 labels to 10,000 images takes more than a minute. So it is done with the
    `FITTED_LABELS` that most images have, on some thousands of images that are evenly spread.

    Args:
        scored: n images.
        spec: their labels; what it was fitted to does not matter.

    Returns:
        The n images and the spec, with those labels alone.
    """
    columns = np.sort(_most_frequent(scored.targets, FITTED_LABELS))
    part = replace(scored, logits=scored.logits[:, columns], targets=scored.targets[:, columns])
    count = len(part.images)
    rows = np.linspace(0, count - 1, min(count, _FITTED_IMAGES)).round().astype(np.int64)
    names = tuple(spec.vocabulary.names[column] for column in columns)
    return part, fit(
        part.logits[rows], part.targets[rows], replace(spec, vocabulary=Vocabulary(names))
    )


def _most_frequent(targets: NDArray[np.int8], most: int) -> NDArray[np.intp]:
    """Columns of the labels that most images have, those without any left out."""
    present = np.count_nonzero(targets == PRESENT, axis=0)
    order = np.argsort(-present, kind="stable")[:most]
    frequent: NDArray[np.intp] = order[present[order] > 0]
    return frequent


def worst_examples(scored: ScoredImages, spec: ModelSpec) -> tuple[Example, ...]:
    """The worst mistakes of the labels that most images have, each image once.

    Args:
        scored: n images.
        spec: the labels, with calibration and thresholds.
    """
    columns = _most_frequent(scored.targets, _LABELS).tolist()
    calibration, thresholds = calibration_of(spec), thresholds_of(spec, None)
    certain = probabilities(scored.logits[:, columns], _of(calibration, columns))
    mistakes = [
        worst_mistakes(certain[:, place], scored.targets[:, column], thresholds[column], most=MOST)
        for place, column in enumerate(columns)
    ]
    found: list[Example] = []
    for row, (place, given) in _chosen(mistakes).items():
        names, targets = spec.vocabulary.names, scored.targets[row]
        has = np.flatnonzero(targets == PRESENT)
        own = probabilities(scored.logits[row : row + 1], calibration)[0]
        got = given_labels(own, thresholds, None)
        found.append(
            Example(
                scored.images[row],
                names[columns[place]],
                given,
                float(certain[row, place]),
                tuple(names[column] for column in has[:_NAMED]),
                max(0, len(has) - _NAMED),
                tuple((names[column], float(own[column])) for column in got[:_NAMED]),
                max(0, len(got) - _NAMED),
            )
        )
    return tuple(found)


def _of(calibration: Calibration, columns: Sequence[int]) -> Calibration:
    """The calibration of some labels."""
    slope, offset = (
        tuple(values[each] for each in columns)
        for values in (calibration.slope, calibration.offset)
    )
    return Calibration(slope, offset)


def _chosen(mistakes: Sequence[Mistakes]) -> dict[int, tuple[int, bool]]:
    """Rows with the place of the label and the kind: the worst of all before the second of any.

    They are in the order of the labels, of each those that were given it first.
    """
    kinds = [
        [(row, (place, given)) for row in rows]
        for place, each in enumerate(mistakes)
        for given, rows in ((True, each.given), (False, each.missed))
    ]
    chosen: dict[int, tuple[int, bool]] = {}
    for row, why in (each for turn in zip_longest(*kinds) for each in turn if each is not None):
        if len(chosen) < MOST:
            chosen.setdefault(row, why)
    return dict(sorted(chosen.items(), key=lambda each: (each[1][0], not each[1][1])))
