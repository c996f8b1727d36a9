"""What there is to say of a run's labels before it begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.labels import some_of

FEW_IMAGES = 10  # of a label, to learn from it


def label_notes(train: Annotations, validation: Annotations) -> Iterator[str]:
    """Which labels can hardly be learned from these images, or not be measured on them.

    Args:
        train: the training images.
        validation: the validation images, with the same vocabulary.
    """
    names = train.vocabulary.names
    present = train.labels.present_per_label()
    rare = sorted((int(present[column]), names[column]) for column in _where(present < FEW_IMAGES))
    if rare:
        counted = [f"{name} {count}" for count, name in rare]
        have = "1 label has" if len(rare) == 1 else f"{len(rare):,} labels have"
        yield f"{have} fewer than {FEW_IMAGES} training images: {some_of(counted)}"
    everywhere = (train.labels.absent_per_label() == 0) & (present > 0)
    if always := [names[column] for column in _where(everywhere)]:
        yield (
            f"{_labels_are(always)} on all training images, as far as is known, so that images "
            f"without {_them(always)} cannot be told apart: {some_of(always)}"
        )
    positive = validation.labels.present_per_label() > 0
    negative = validation.labels.absent_per_label() > 0
    for where, lacking in (
        ("on no validation image", ~positive),
        ("on all validation images, as far as is known", positive & ~negative),
    ):
        if missing := [names[column] for column in _where(lacking)]:
            yield (
                f"{_labels_are(missing)} {where}, so that mAP@class leaves {_them(missing)} out: "
                f"{some_of(missing)}"
            )


def _where(chosen: NDArray[np.bool_]) -> list[int]:
    return list(np.flatnonzero(chosen).tolist())


def _labels_are(some: Sequence[str]) -> str:
    return "1 label is" if len(some) == 1 else f"{len(some):,} labels are"


def _them(some: Sequence[str]) -> str:
    return "it" if len(some) == 1 else "them"
