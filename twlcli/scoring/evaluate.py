"""A model's scores on labelled images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.missing import check_images
from twlcli.annotations.open import with_vocabulary
from twlcli.errors import AnnotationError
from twlcli.images.decoder import LocalDecoder
from twlcli.images.found import FoundFile
from twlcli.images.request import Geometry
from twlcli.images.stream import stream
from twlcli.scoring.average_precision import (
    MeanOverLines,
    average_precision_per_image,
    average_precision_per_label,
    mean_over_lines,
)
from twlcli.scoring.calibration import calibration_of, probabilities
from twlcli.scoring.metrics import (
    DecisionScore,
    brier_score,
    calibration_error,
    count_decisions,
    decide_top,
    score_decisions,
)
from twlcli.scoring.predictor import Predictor
from twlcli.scoring.thresholds import BEST_F1, decide, resolve
from twlcli.spec import ModelSpec

TOP = 3  # labels per image of the second set of decisions, as the field reports it


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be read, as the label file names it, and why."""

    image: str
    reason: str


@dataclass(frozen=True)
class ScoredImages:
    """What a model said of the n images that could be read.

    Attributes:
        images: their names, as the label file has them.
        logits: (n, C) float32.
        targets: (n, C) int8 of 1 present, 0 absent, -1 unknown.
        unreadable: the other images.
    """

    images: tuple[str, ...]
    logits: NDArray[np.float32]
    targets: NDArray[np.int8]
    unreadable: tuple[Unreadable, ...] = ()


@dataclass(frozen=True)
class LabelScore:
    """How one label fared.

    Attributes:
        label: its name.
        average_precision: in 0..1; NaN where no image has the label.
        precision: correct / given at the threshold; 0 where no image was given it.
        recall: correct / present at the threshold; 0 where no image has it.
        f1: their harmonic mean.
        support: how many images have the label.
        unknown: for how many images it is unknown; these are left out of the label's scores.
        threshold: the least probability at which it is given.
    """

    label: str
    average_precision: float
    precision: float
    recall: float
    f1: float
    support: int
    unknown: int
    threshold: float


@dataclass(frozen=True)
class Evaluation:
    """All scores of a model on some images, in 0..1.

    Attributes:
        images: number of images that were scored.
        unreadable: images that could not be read and are in no score.
        threshold: what the decisions were made at, as `--threshold` has it.
        map_class: mAP@class, of the logits.
        map_sample: mAP@sample, of the logits.
        at_threshold: scores of the decisions at the thresholds.
        at_top: scores of the decisions for the `TOP` most probable labels of each image.
        brier: Brier score of the calibrated probabilities.
        calibration_error: their expected calibration error.
        labels: the C labels, in the vocabulary's order.
    """

    images: int
    unreadable: tuple[Unreadable, ...]
    threshold: str
    map_class: MeanOverLines
    map_sample: MeanOverLines
    at_threshold: DecisionScore
    at_top: DecisionScore
    brier: float
    calibration_error: float
    labels: tuple[LabelScore, ...]


def evaluate(
    predictor: Predictor,
    annotations: Annotations,
    *,
    threshold: str | None = None,
    batch_size: int,
    workers: int,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Score a model on all of the images; `predict`, then `score`.

    The arguments and errors are theirs. A threshold that means nothing, or a model without
    calibration, is an error before the first image is read.
    """
    check_scorable(predictor.spec, threshold)
    scored = predict(
        predictor, annotations, batch_size=batch_size, workers=workers, progress=progress
    )
    evaluation = score(scored.logits, scored.targets, predictor.spec, threshold=threshold)
    return replace(evaluation, unreadable=scored.unreadable)


def check_scorable(spec: ModelSpec, threshold: str | None) -> None:
    """Raise what `score` would of the spec and the threshold, before images are read."""
    resolve(spec, threshold)
    calibration_of(spec)


def predict(
    predictor: Predictor,
    annotations: Annotations,
    *,
    batch_size: int,
    workers: int,
    exact: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ScoredImages:
    """Read the images and let the model score them; unreadable ones are left out and named.

    Args:
        predictor: the model.
        annotations: the images; their labels are brought into the model's order.
        batch_size: images in one call of the predictor.
        workers: threads that decode and predict.
        exact: decode JPEG at full size.
        progress: told how many more images are done.

    Raises:
        AnnotationError: a label that is present is not one of the model's, or no image can be read.
    """
    spec = predictor.spec
    annotations = with_vocabulary(annotations, spec.vocabulary)
    logits = np.empty((len(annotations), len(spec.vocabulary)), dtype=np.float32)
    unreadable: dict[int, Unreadable] = {}
    chunks = stream(
        (FoundFile(annotations.path(row), name) for row, name in enumerate(annotations.images)),
        predictor,
        decoders=[LocalDecoder()] * workers,
        geometry=Geometry.of(spec.preprocessing, exact=exact),
        label_count=len(spec.vocabulary),
        batch_size=batch_size,
    )
    done = 0
    with closing(chunks):
        for chunk in chunks:
            logits[done : done + len(chunk.files)] = chunk.logits
            for row, (file, error) in enumerate(zip(chunk.files, chunk.errors, strict=True)):
                if error is not None:
                    unreadable[done + row] = Unreadable(file.name, str(error))
            done += len(chunk.files)
            if progress is not None:
                progress(len(chunk.files))
    readable = np.array([row for row in range(done) if row not in unreadable], dtype=np.int64)
    if not len(readable):
        _raise_nothing_readable(annotations, unreadable)
    return ScoredImages(
        tuple(annotations.images[row] for row in readable),
        logits[readable] if unreadable else logits,
        annotations.labels.dense(readable),
        tuple(unreadable.values()),
    )


def score(
    logits: NDArray[np.float32],
    targets: NDArray[np.int8],
    spec: ModelSpec,
    *,
    threshold: str | None = None,
) -> Evaluation:
    """All scores of logits (N, C) against targets (N, C) of 1 present, 0 absent, -1 unknown.

    mAP is that of the logits, as the paper has it; decisions, Brier score and calibration error are
    those of the calibrated probabilities. An unknown label that is among an image's most probable
    takes its place there and is neither right nor wrong.

    Args:
        logits: the model's.
        targets: what is true.
        spec: labels, calibration and thresholds.
        threshold: see `thresholds.resolve`.

    Raises:
        ModelError: a logit is not finite, or the spec has no calibration or no such thresholds.
        TwlError: the threshold means nothing.
        ValueError: the shapes differ.
    """
    thresholds, calibration = resolve(spec, threshold), calibration_of(spec)
    by_label = average_precision_per_label(logits, targets)
    by_image = average_precision_per_image(logits, targets)
    certain = probabilities(logits, calibration)
    counts = count_decisions(decide(certain, thresholds), targets)
    columns = (by_label, counts.precision, counts.recall, counts.f1, counts.present, counts.unknown)
    rows = zip(spec.vocabulary, *(c.tolist() for c in (*columns, thresholds)), strict=True)
    return Evaluation(
        images=len(logits),
        unreadable=(),
        threshold=BEST_F1 if threshold is None else threshold.strip(),
        map_class=mean_over_lines(by_label),
        map_sample=mean_over_lines(by_image),
        at_threshold=score_decisions(counts),
        at_top=score_decisions(count_decisions(decide_top(certain, TOP), targets)),
        brier=brier_score(certain, targets),
        calibration_error=calibration_error(certain, targets),
        labels=tuple(LabelScore(*row) for row in rows),
    )


def _raise_nothing_readable(annotations: Annotations, unreadable: dict[int, Unreadable]) -> None:
    check_images(annotations)  # where they are missing it says where they were looked for
    if not unreadable:
        raise AnnotationError(f"{annotations.source}: there are no images to evaluate")
    first = next(iter(unreadable.values()))
    raise AnnotationError(
        f"{annotations.source}: none of the {len(unreadable):,} images can be read "
        f"(the first: {first.image}: {first.reason})"
    )
