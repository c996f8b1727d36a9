"""The images that all of several models could read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.errors import AnnotationError
from twlcli.images.image_file import Failure
from twlcli.inference.scored import ScoredImages, targets_of
from twlcli.labels import counted, some_of
from twlcli.model.spec import ModelSpec


@dataclass(frozen=True)
class CommonImages:
    """What several models said of the N images that all could read.

    Attributes:
        scored: of each model, with its own unreadable images.
        annotations: the N images.
        targets: of the K labels that all models know, (N, K).
        unreadable: the other images, each once.
        note: which images only some could read; empty where there is none.
    """

    scored: tuple[ScoredImages, ...]
    annotations: Annotations
    targets: NDArray[np.int8]
    unreadable: tuple[Failure, ...]
    note: str


def common_images(
    annotations: Annotations,
    scorers: Sequence[Callable[[Annotations], ScoredImages]],
    specs: Sequence[ModelSpec],
) -> CommonImages:
    """Let models score images one after the other, and keep what all of them could read.

    Args:
        annotations: the images, with the K labels that all models know.
        scorers: the models.
        specs: theirs.

    Raises:
        AnnotationError: there is no image that all could read.
    """
    found = []
    for score, spec in zip(scorers, specs, strict=True):
        scored = score(annotations)
        columns = [spec.vocabulary.column(label) for label in annotations.vocabulary]
        if columns != list(range(len(spec.vocabulary))):
            scored = replace(scored, logits=scored.logits[:, columns])
        found.append(replace(scored, targets=np.empty((0, 0), dtype=np.int8)))
    unreadable = {each.image: each for scored in reversed(found) for each in scored.unreadable}
    rows = [row for row, image in enumerate(annotations.images) if image not in unreadable]
    if not rows:
        first = next(iter(unreadable.values()))
        raise AnnotationError(
            f"{annotations.source}: there is no image that all models could read "
            f"(the first: {first.image}: {first.reason})"
        )
    common = annotations.select(rows)
    targets = targets_of(annotations, rows)
    in_order = [each for each in annotations.images if each in unreadable]
    return CommonImages(
        tuple(_of_images(each, tuple(common.images), targets) for each in found),
        common,
        targets,
        tuple(unreadable[image] for image in in_order),
        _note(found, in_order),
    )


def _of_images(
    scored: ScoredImages, images: tuple[str, ...], targets: NDArray[np.int8]
) -> ScoredImages:
    logits = scored.logits
    if len(images) < len(scored.images):
        row_of = {image: row for row, image in enumerate(scored.images)}
        logits = logits[[row_of[image] for image in images]]
    return replace(scored, images=images, logits=logits, targets=targets)


def _note(found: Sequence[ScoredImages], unreadable: Sequence[str]) -> str:
    """Which of the unreadable images a model could read."""
    failed = [{each.image for each in scored.unreadable} for scored in found]
    some = [image for image in unreadable if not all(image in each for each in failed)]
    if not some:
        return ""
    images = counted(len(some), "image is", "images are")
    return f"{images} in no score, because not all of the models have scored " + (
        f"{'it' if len(some) == 1 else 'them'}: {some_of(some)}"
    )
