"""Several models for the tests: drawn scores of the same images, which may lie on disk."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from twlcli.annotations.annotations import Annotations
from twlcli.inference.scored import ScoredImages
from twlcli.labels import LabelMatrix, Vocabulary
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import Calibration, ModelSpec, Thresholds
from twlcli.paired.draws import ScoredModel
from twlcli.paired.images import CommonImages
from twlcli.paired.result import PairedEvaluation
from twlcli.paired.run import paired_evaluation
from twlcli.runs.labelled import Labelled
from twlcli.scoring.evaluation import score, with_cross_fit, with_intervals


def spec_of(labels: Sequence[str], *, threshold: float = 0.4) -> ModelSpec:
    count = len(labels)
    return ModelSpec(
        Vocabulary(tuple(labels)),
        "drawn",
        Preprocessing(resize=16, crop=12),
        Calibration((1.0,) * count, (-1.0,) * count),
        Thresholds((threshold,) * count),
    )


def draw_models(
    *separations: float | np.ndarray,
    images: int = 200,
    labels: int = 6,
    rate: float = 0.25,
    unknown: float = 0.1,
    shared: float = 0.5,
    seed: int = 0,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Logits (N, C) of a model for each separation, which share noise, and targets (N, C)."""
    generator = np.random.default_rng(seed)
    targets = (generator.random((images, labels)) < rate).astype(np.int8)
    noise = generator.normal(size=targets.shape)
    logits = []
    for separation in separations:
        own = generator.normal(size=targets.shape)
        value = np.sqrt(shared) * noise + np.sqrt(1 - shared) * own + separation * targets
        logits.append(value.astype(np.float32))
    targets[generator.random(targets.shape) < unknown] = -1
    return logits, targets


def scored_model(
    logits: np.ndarray,
    targets: np.ndarray,
    spec: ModelSpec,
    *,
    fitted: bool = False,
    intervals: bool = True,
) -> ScoredModel:
    scored = ScoredImages(tuple(f"{row:04}.png" for row in range(len(logits))), logits, targets)
    evaluation = replace(score(scored, spec), fitted_on=len(logits) if fitted else 0)
    evaluation, decisions = with_cross_fit(evaluation, scored, spec)
    if intervals:
        evaluation = with_intervals(evaluation, scored, decisions)
    return ScoredModel(logits, spec, evaluation, decisions)


def paired_of(
    folder: Path,
    *separations: float | np.ndarray,
    names: Sequence[str] | None = None,
    labels: Sequence[str] = ("cat", "dog", "bird", "car", "tree", "sky"),
    images: Sequence[str] | None = None,
    written: bool = False,
    **drawing: object,
) -> tuple[PairedEvaluation, ModelSpec, Annotations]:
    """An evaluation of drawn models, their spec and the images, made where `written`."""
    images = [f"{number:03}.png" for number in range(80)] if images is None else images
    logits, targets = draw_models(
        *separations,
        images=len(images),
        labels=len(labels),
        **drawing,  # type: ignore[arg-type]
    )
    spec = spec_of(labels)
    annotations = Annotations(
        source=folder / "labels.csv",
        format="csv",
        root=folder,
        images=tuple(images),
        labels=LabelMatrix.from_dense(targets),
        vocabulary=spec.vocabulary,
        splits=("",) * len(images),
    )
    if written:
        for number, name in enumerate(images):
            colour = (3 * number % 256, 7 * number % 256, 90)
            Image.new("RGB", (24, 16), colour).save(folder / name, "PNG")
    models = [scored_model(each, targets, spec) for each in logits]
    named = tuple(names or (f"model{place}.onnx" for place in range(len(models))))
    common = CommonImages((), annotations, targets, (), "")
    paired = paired_evaluation(named, named, models, common, Labelled(annotations, "val"), None)
    return paired, spec, annotations
