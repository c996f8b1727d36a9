"""The images that all of several models could read, and the labels that all of them know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.vocabulary import in_vocabulary, with_vocabulary
from twlcli.errors import AnnotationError, ModelError, TwlError
from twlcli.images.image_file import Failure
from twlcli.inference.scored import ScoredImages, targets_of
from twlcli.labels import Vocabulary, counted, some_of
from twlcli.model.spec import ModelSpec
from twlcli.runs.labelled import Labelled


@dataclass(frozen=True)
class CommonLabels:
    """The labels of several models.

    Attributes:
        all: those that any model knows: the first's in its order, then those of the others.
        shared: those that all models know, in the first's order.
        note: which of them are not shared; empty where all are.
    """

    all: Vocabulary
    shared: Vocabulary
    note: str


def common_labels(specs: Sequence[ModelSpec], names: Sequence[str]) -> CommonLabels:
    """What several models know.

    Args:
        specs: of the models.
        names: of the models, short ones.

    Raises:
        TwlError: they have no label in common.
    """
    vocabularies = [spec.vocabulary for spec in specs]
    every = tuple(dict.fromkeys(label for each in vocabularies for label in each))
    shared = tuple(label for label in every if all(label in each for each in vocabularies))
    if not shared:
        of = "; ".join(
            f"{name}: {some_of(each.names)}" for name, each in zip(names, vocabularies, strict=True)
        )
        raise TwlError(f"the models have no label in common ({of})")
    note = ""
    if alone := [label for label in every if label not in set(shared)]:
        known = "only one of the models knows" if len(specs) == 2 else "not all of the models know"
        labels = counted(len(alone), "label is", "labels are")
        note = f"{labels} in no score, because {known} {'it' if len(alone) == 1 else 'them'}: "
        note += some_of(alone)
    return CommonLabels(Vocabulary(every), Vocabulary(shared), note)


def of_common_labels(labelled: Labelled, labels: CommonLabels) -> Labelled:
    """Labelled images with the labels that all models know.

    Args:
        labelled: with the labels of any model.
        labels: of the models.

    Raises:
        AnnotationError: the data have none of them.
    """
    whole = with_vocabulary(labelled.annotations, labels.all)
    unlisted = tuple(label for label in whole.unlisted if label in labels.shared)
    if len(unlisted) == len(labels.shared):
        raise AnnotationError(
            f"{whole.source}: has none of the labels that all models know "
            f"({some_of(labels.shared.names)})"
        )
    annotations = replace(in_vocabulary(whole, labels.shared), unlisted=unlisted)
    if labels.note:
        annotations = annotations.with_note(labels.note)
    return replace(labelled, annotations=annotations)


def spec_of_labels(spec: ModelSpec, labels: Vocabulary) -> ModelSpec:
    """A model's spec with some of its labels, in their order."""
    if spec.vocabulary == labels:
        return spec
    columns = [spec.vocabulary.column(label) for label in labels]

    def picked(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(values[column] for column in columns)

    calibration, thresholds = spec.calibration, spec.thresholds
    if calibration is not None:
        calibration = replace(
            calibration, slope=picked(calibration.slope), offset=picked(calibration.offset)
        )
    if thresholds is not None:
        by_target = {
            kind: {key: picked(values) for key, values in getattr(thresholds, kind).items()}
            for kind in ("precision", "recall", "f_beta")
        }
        thresholds = replace(thresholds, best_f1=picked(thresholds.best_f1), **by_target)
    return replace(spec, vocabulary=labels, calibration=calibration, thresholds=thresholds)


@contextmanager
def errors_of(model: Path) -> Iterator[None]:
    """A ModelError of the block says which of several models it is of."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{model}: {error}") from error


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
        tuple(_of_images(each, common.images, targets) for each in found),
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
