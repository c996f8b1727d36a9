"""What a model says of labelled images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.missing import check_images
from twlcli.annotations.vocabulary import with_vocabulary
from twlcli.errors import AnnotationError
from twlcli.images.decoding import USUAL, Caveat, Decoding
from twlcli.images.image_file import Failure, ImageFile
from twlcli.images.sandbox import decoder_processes
from twlcli.inference.stream import stream
from twlcli.labels import UNKNOWN
from twlcli.model.predictor import Predictor
from twlcli.parallel import usable_cores


@dataclass(frozen=True)
class ScoredImages:
    """What a model said of the n images that could be read, in the order of the data.

    Attributes:
        images: their names, as the label file has them.
        logits: (n, C) float32.
        targets: (n, C) int8 of 1 present, 0 absent, -1 unknown.
        unreadable: the other images.
        caveats: how many of the images each has to be said of.
    """

    images: tuple[str, ...]
    logits: NDArray[np.float32]
    targets: NDArray[np.int8]
    unreadable: tuple[Failure, ...] = ()
    caveats: Mapping[Caveat, int] = field(default_factory=dict)


def score_images(
    predictor: Predictor,
    annotations: Annotations,
    *,
    batch_size: int | None = None,
    workers: int | None = None,
    decoding: Decoding = USUAL,
    progress: Callable[[int], None] | None = None,
    none_will_do: bool = False,
) -> ScoredImages:
    """Read the images and let the model score them; unreadable ones are left out and named.

    Args:
        predictor: the model.
        annotations: the images; their labels are brought into the model's order.
        batch_size: images in one call of the model; None is what suits the device.
        workers: threads that decode and predict; None is one for each core.
        decoding: the settings that change pixels.
        progress: told how many more images are done.
        none_will_do: give an empty result where no image can be read, as a part of a whole may.

    Raises:
        AnnotationError: a label that is present is not one of the model's, or no image can be
            read.
    """
    annotations = with_vocabulary(annotations, predictor.spec.vocabulary)
    logits = np.empty(annotations.labels.shape, dtype=np.float32)
    unreadable: dict[int, Failure] = {}
    caveats: Counter[Caveat] = Counter()
    rows = iter(range(len(annotations)))
    size = batch_size or predictor.batch_size

    def files_of(group: Sequence[int]) -> list[ImageFile]:
        return [ImageFile(annotations.path(row), annotations.images[row]) for row in group]

    with (
        decoder_processes(workers or usable_cores()) as decoders,
        closing(
            stream(
                iter(lambda: list(islice(rows, size)), []),
                predictor,
                files_of=files_of,
                decoders=decoders,
                decoding=decoding,
            )
        ) as chunks,
    ):
        for chunk in chunks:
            logits[chunk.group] = chunk.logits
            caveats.update(each for caveat in chunk.caveats for each in caveat)
            for row, error in zip(chunk.group, chunk.errors, strict=True):
                if error is not None:
                    unreadable[row] = Failure(annotations.images[row], str(error))
            if progress is not None:
                progress(len(chunk.group))
    if len(unreadable) == len(annotations) and not none_will_do:
        _raise_nothing_readable(annotations, unreadable)
    return assembled(annotations, logits, unreadable, caveats)


def assembled(
    annotations: Annotations,
    logits: NDArray[np.float32],
    unreadable: Mapping[int, Failure],
    caveats: Mapping[Caveat, int] | None = None,
) -> ScoredImages:
    """Logits (N, C) with the targets of the images; the rows that are not `unreadable`.

    Args:
        annotations: N images, with labels in the model's order.
        logits: of all of them.
        unreadable: those that are left out, by their rows.
        caveats: as of `ScoredImages`.
    """
    readable = [row for row in range(len(annotations)) if row not in unreadable]
    return ScoredImages(
        tuple(annotations.images[row] for row in readable),
        logits[readable] if unreadable else logits,
        targets_of(annotations, readable),
        tuple(unreadable.values()),
        caveats or {},
    )


def targets_of(annotations: Annotations, rows: Sequence[int]) -> NDArray[np.int8]:
    """Targets (n, C) of some images; unknown for labels that the label file does not know."""
    targets = annotations.labels.dense(rows)
    targets[:, [annotations.vocabulary.column(name) for name in annotations.unlisted]] = UNKNOWN
    return targets


def _raise_nothing_readable(annotations: Annotations, unreadable: dict[int, Failure]) -> None:
    check_images(annotations)  # where they are missing it says where they were looked for
    if not unreadable:
        raise AnnotationError(f"{annotations.source}: there are no images to evaluate")
    first = next(iter(unreadable.values()))
    raise AnnotationError(
        f"{annotations.source}: none of the {len(unreadable):,} images can be read "
        f"(the first: {first.image}: {first.reason})"
    )
