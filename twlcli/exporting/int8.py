"""A run or checkpoint to one int8 ONNX file, if it is nearly as good as the float32 one."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Unpack

import numpy as np

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.read_options import ReadKeywords, ReadOptions
from twlcli.errors import AnnotationError, ModelError, TwlError
from twlcli.exporting.int8_graph import replace_spec, write_int8
from twlcli.exporting.onnx import beside, check_out, export
from twlcli.images.image_file import Failure
from twlcli.inference.scored import ScoredImages, score_images
from twlcli.io import check_count, write_whole
from twlcli.labels import PRESENT
from twlcli.model.checkpoint import read_spec
from twlcli.model.onnx import CPU_BATCH, OnnxPredictor
from twlcli.model.spec import ModelSpec
from twlcli.runs.labelled import Labelled, open_labelled
from twlcli.runs.seen import SEEN_KEY, hashes_of, sample_of, seen_among
from twlcli.scoring.evaluation import map_scores
from twlcli.scoring.fit import fit

RANGE_IMAGES = 256
MAX_DROP = 1.0  # points of mAP@class
_SEED = 0  # of the choice of those images
_TIMED_ROUNDS = 20
_TIMED_SECONDS = 20.0  # after which no other round is begun


@dataclass(frozen=True)
class Measured:
    """One of two models that are compared.

    Attributes:
        size: of the file, bytes.
        images_per_second: on this machine, one thread, batches of `CPU_BATCH`, without decoding.
        map_class: mAP@class on the validation images, 0..1.
        map_sample: mAP@sample on them, 0..1.
    """

    size: int
    images_per_second: float
    map_class: float
    map_sample: float


@dataclass(frozen=True)
class Quantized:
    """What `quantize` made.

    Attributes:
        path: the int8 file.
        spec: that it carries.
        is_fitted: whether calibration and thresholds were fitted to the int8 model's logits. They
            stay those of the float32 model where that was trained on most of the images.
        before: the float32 model.
        after: the int8 model.
        images: how many validation images both were measured on.
        range_images: how many of them gave the ranges of the activations.
        unreadable: validation images that could not be read and are in no figure.
        data: where the images came from.
        split: which split of them.
    """

    path: Path
    spec: ModelSpec
    is_fitted: bool
    before: Measured
    after: Measured
    images: int
    range_images: int
    unreadable: tuple[Failure, ...]
    data: str
    split: str

    @property
    def speedup(self) -> float:
        """The int8 model's images per second over the float32 one's."""
        return self.after.images_per_second / self.before.images_per_second


def export_int8(
    source: Path | str,
    out: Path | str | None = None,
    *,
    data: Path | str | None = None,
    split: str | None = None,
    max_drop: float = MAX_DROP,
    accept_drop: bool = False,
    force: bool = False,
    allow_code: bool = False,
    workers: int | None = None,
    watcher: Callable[[int], AbstractContextManager[Callable[[int], None]]] | None = None,
    **options: Unpack[ReadKeywords],
) -> Quantized:
    """Export to int8, measured against float32 on labelled images; see `quantize`.

    Args:
        source: run folder or `.safetensors` checkpoint.
        out: the ONNX file to write; None is `model.int8.onnx` in the run folder.
        data: labelled images that the model was not trained on; None for the validation split that
            the run had.
        split: a split of the data, or `all`.
        max_drop: the largest loss of mAP@class that is accepted, in points of 0..100.
        accept_drop: accept any loss.
        force: replace an existing file.
        allow_code: import a backbone `module:function` that the checkpoint names.
        workers: threads that decode and predict; None is one for each core.
        watcher: told how many images there are, those of both models counted; gives a context
            whose value is told how many more of them are done.
        options: how the data are read, with the keywords of `read_labels`.

    Raises:
        AnnotationError: the data cannot be read, or have no labels.
        ModelError: the loss is larger, or the model cannot be exported; nothing is written.
        TwlError: the file exists, or cannot be written there.
    """
    check_count("workers", workers)
    if not max_drop >= 0:
        raise TwlError(f"max_drop is {max_drop!r}; expected at least 0")
    source = Path(source)
    out = beside(source, "model.int8.onnx") if out is None else Path(out)
    check_out(out, force=force)
    how = ReadOptions(**options)
    labelled = open_labelled(source, data, split, read_spec(source).vocabulary, how)
    annotations = labelled.annotations
    with nullcontext() if watcher is None else watcher(2 * len(annotations)) as progress:
        return quantize(
            source,
            out,
            labelled,
            max_drop=max_drop,
            accept_drop=accept_drop,
            force=force,
            allow_code=allow_code,
            workers=workers,
            progress=progress or (lambda done: None),
        )


def quantize(
    source: Path,
    out: Path,
    labelled: Labelled,
    *,
    max_drop: float = MAX_DROP,
    accept_drop: bool = False,
    force: bool = False,
    allow_code: bool = False,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Quantized:
    """Export to int8, measure what it costs, and fit calibration and thresholds anew.

    The float32 model is exported to a temporary folder. Both are scored on all of the images as
    `twl eval` does it. A drop of mAP@sample alone refuses nothing. Where the model was trained on
    most of the images, fitting to them would be optimistic, and nothing is fitted.

    Args:
        source: run folder or `.safetensors` checkpoint.
        out: the ONNX file to write.
        labelled: images that the model was not trained on.
        max_drop: the largest loss of mAP@class that is accepted, in points of 0..100.
        accept_drop: accept any loss.
        force: replace an existing file.
        allow_code: import a backbone `module:function` that the checkpoint names.
        workers: threads that decode and predict; None is one for each core.
        progress: told how many more images are done, of twice as many as there are.

    Raises:
        AnnotationError: no image can be read or none has a label, or one is not the model's.
        ModelError: the loss is larger, or the model cannot be exported; nothing is written.
        TwlError: the file exists, or cannot be written there.
    """
    check_out(out, force=force)
    data = labelled.annotations

    def score(model: Path) -> ScoredImages:
        predictor = OnnxPredictor(model, provider="cpu")
        return score_images(predictor, data, workers=workers, progress=progress)

    with TemporaryDirectory(prefix="twl-int8-") as folder:
        float_model, int8_model = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        spec = export(source, float_model, allow_code=allow_code).spec
        before = score(float_model)
        if not (before.targets == PRESENT).any():
            raise AnnotationError(
                f"{data.source}: none of the {len(before.images):,} images has a label; int8 is "
                "measured and fitted on labelled images"
            )
        drawn = _drawn(before, data)
        write_int8(float_model, int8_model, drawn, spec.preprocessing)
        after = score(int8_model)
        maps, maps_int8 = map_scores(before), map_scores(after)
        if not accept_drop:
            _check_drop(source, maps, maps_int8, max_drop)
        made = {
            "data": data.source.name,
            "images": len(after.images),
            "range_images": len(drawn),
            "float32": maps,
            "int8": maps_int8,
        }
        spec = replace(spec, provenance={**spec.provenance, "quantisation": made})
        hashes = hashes_of(data)
        fits = 2 * (seen_among(spec.provenance, hashes).training or 0) <= len(hashes)
        if fits:
            seen = {**spec.provenance.get(SEEN_KEY, {}), "fitted": sample_of(hashes)}
            spec = replace(spec, provenance={**spec.provenance, SEEN_KEY: seen})
            spec = fit(after.logits, after.targets, spec)
        replace_spec(int8_model, spec)
        content = int8_model.read_bytes()
        rates = _images_per_second(float_model, int8_model)
        sizes = float_model.stat().st_size, len(content)
        write_whole(out, lambda file: file.write(content))
    return Quantized(
        out,
        spec,
        fits,
        Measured(sizes[0], rates[0], **maps),
        Measured(sizes[1], rates[1], **maps_int8),
        len(after.images),
        len(drawn),
        after.unreadable,
        str(data.source),
        labelled.split,
    )


def _check_drop(
    source: Path, before: dict[str, float], after: dict[str, float], max_drop: float
) -> None:
    first, second = 100 * before["map_class"], 100 * after["map_class"]
    if not first - second <= max_drop:
        raise ModelError(
            f"{source}: int8 loses {first - second:.2f} points of mAP@class ({first:.2f} to "
            f"{second:.2f}), more than {max_drop:g}; nothing was written",
            hint="{accept_drop} writes it anyway",
        )


def _drawn(scored: ScoredImages, data: Annotations) -> list[Path]:
    """The files of some images that could be read, in the order of the data."""
    unreadable = {each.image for each in scored.unreadable}
    readable = [row for row, name in enumerate(data.images) if name not in unreadable]
    generator = np.random.default_rng(_SEED)
    chosen = generator.choice(readable, min(RANGE_IMAGES, len(readable)), replace=False)
    return [data.path(row) for row in np.sort(chosen)]


def _images_per_second(first: Path, second: Path) -> tuple[float, float]:
    """Of two models on the same images in turn, so that what else runs here slows both alike."""
    predictors = [OnnxPredictor(model, provider="cpu", threads=1) for model in (first, second)]
    side = predictors[0].spec.preprocessing.crop
    shape = (CPU_BATCH, side, side, 3)
    images = np.random.default_rng(_SEED).integers(0, 256, shape, dtype=np.uint8)
    seconds: list[list[float]] = [[], []]
    begun = time.perf_counter()
    for number in range(1 + _TIMED_ROUNDS):
        for predictor, times in zip(predictors, seconds, strict=True):
            start = time.perf_counter()
            predictor(images)
            if number:  # the first call also lays out memory
                times.append(time.perf_counter() - start)
        if number and time.perf_counter() - begun > _TIMED_SECONDS:
            break
    return CPU_BATCH / median(seconds[0]), CPU_BATCH / median(seconds[1])
