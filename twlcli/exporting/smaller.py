"""A run or checkpoint as a smaller ONNX file, if that is nearly as good as the float32 one."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.read_options import ReadKeywords, ReadOptions
from twlcli.errors import AnnotationError, ModelError, TwlError
from twlcli.exporting.fp16_graph import write_fp16
from twlcli.exporting.int8_graph import write_int8
from twlcli.exporting.onnx import (
    beside,
    check_out,
    export,
    replace_spec,
    replacing_model,
    size_of,
)
from twlcli.images.image_file import Failure
from twlcli.inference.scored import ScoredImages, score_images
from twlcli.io import check_count
from twlcli.labels import PRESENT
from twlcli.model.checkpoint import read_spec
from twlcli.model.onnx import CPU_BATCH, OnnxPredictor
from twlcli.model.onnx_writer import OPSET
from twlcli.model.spec import ModelSpec
from twlcli.runs.labelled import Labelled, open_labelled
from twlcli.runs.seen import SEEN_KEY, hashes_of, sample_of, seen_among
from twlcli.scoring.evaluation import map_scores
from twlcli.scoring.fit import fit

Kind = Literal["int8", "float16"]
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
class Smaller:
    """What `export_int8` or `export_fp16` made.

    Attributes:
        kind: `int8` or `float16`.
        path: the smaller file.
        spec: that it carries.
        is_fitted: whether calibration and thresholds were fitted to the smaller model's logits.
            They stay those of the float32 model where that was trained on most of the images.
        before: the float32 model.
        after: the smaller model.
        images: how many validation images both were measured on.
        range_images: how many of them gave the ranges of the activations; 0 for float16.
        unreadable: validation images that could not be read and are in no figure.
        data: where the images came from.
        split: which split of them.
    """

    kind: Kind
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
        """The smaller model's images per second over the float32 one's."""
        return self.after.images_per_second / self.before.images_per_second


_Watcher = Callable[[int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """How a smaller model is made.

    Attributes:
        max_drop: the largest loss of mAP@class that is accepted, in points of 0..100.
        accept_drop: accept any loss.
        tags: add an output `tags`; see `export`.
        threshold: which thresholds it has.
        opset: version of ONNX's operators.
        force: replace an existing file.
        allow_code: import a backbone `module:function` that the checkpoint names.
        workers: threads that decode and predict; None is one for each core.
    """

    max_drop: float = MAX_DROP
    accept_drop: bool = False
    tags: bool = False
    threshold: str | float | None = None
    opset: int = OPSET
    force: bool = False
    allow_code: bool = False
    workers: int | None = None


def export_int8(
    source: Path | str,
    out: Path | str | None = None,
    *,
    data: Path | str | None = None,
    split: str | None = None,
    max_drop: float = MAX_DROP,
    accept_drop: bool = False,
    tags: bool = False,
    threshold: str | float | None = None,
    opset: int = OPSET,
    force: bool = False,
    allow_code: bool = False,
    workers: int | None = None,
    watcher: _Watcher | None = None,
    **options: Unpack[ReadKeywords],
) -> Smaller:
    """Export to int8, measured against float32 on labelled images; see `shrink`.

    Args:
        source: run folder or `.safetensors` checkpoint.
        out: the ONNX file to write; None is `model.int8.onnx` in the run folder.
        data: labelled images that the model was not trained on; None for the validation split that
            the run had.
        split: a split of the data, or `all`.
        max_drop: the largest loss of mAP@class that is accepted, in points of 0..100.
        accept_drop: accept any loss.
        tags: add an output `tags`; see `export`.
        threshold: which thresholds `tags` and `margins` have.
        opset: version of ONNX's operators.
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
    wishes = Wishes(
        max_drop=max_drop,
        accept_drop=accept_drop,
        tags=tags,
        threshold=threshold,
        opset=opset,
        force=force,
        allow_code=allow_code,
        workers=workers,
    )
    how = ReadOptions(**options)
    return _export_smaller("int8", source, out, data, split, how, wishes, watcher)


def export_fp16(
    source: Path | str,
    out: Path | str | None = None,
    *,
    data: Path | str | None = None,
    split: str | None = None,
    max_drop: float = MAX_DROP,
    accept_drop: bool = False,
    tags: bool = False,
    threshold: str | float | None = None,
    opset: int = OPSET,
    force: bool = False,
    allow_code: bool = False,
    workers: int | None = None,
    watcher: _Watcher | None = None,
    **options: Unpack[ReadKeywords],
) -> Smaller:
    """Export with weights and activations in float16, measured as `export_int8` does it.

    The file has half the size. Graphics cards and phones are faster with it; on most CPUs ONNX
    Runtime converts to float32 and back, and is slower.

    Args:
        source: run folder or `.safetensors` checkpoint.
        out: the ONNX file to write; None is `model.fp16.onnx` in the run folder.
        data: as for `export_int8`, and so are all others.
        split: a split of the data, or `all`.
        max_drop: the largest loss of mAP@class that is accepted, in points of 0..100.
        accept_drop: accept any loss.
        tags: add an output `tags`; see `export`.
        threshold: which thresholds `tags` and `margins` have.
        opset: version of ONNX's operators.
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
    wishes = Wishes(
        max_drop=max_drop,
        accept_drop=accept_drop,
        tags=tags,
        threshold=threshold,
        opset=opset,
        force=force,
        allow_code=allow_code,
        workers=workers,
    )
    how = ReadOptions(**options)
    return _export_smaller("float16", source, out, data, split, how, wishes, watcher)


_NAMES: dict[Kind, str] = {"int8": "model.int8.onnx", "float16": "model.fp16.onnx"}


def _export_smaller(
    kind: Kind,
    source: Path | str,
    out: Path | str | None,
    data: Path | str | None,
    split: str | None,
    how: ReadOptions,
    wishes: Wishes,
    watcher: _Watcher | None,
) -> Smaller:
    check_count("workers", wishes.workers)
    if not wishes.max_drop >= 0:
        raise TwlError(f"max_drop is {wishes.max_drop!r}; expected at least 0")
    source = Path(source)
    out = beside(source, _NAMES[kind]) if out is None else Path(out)
    check_out(out, force=wishes.force)
    labelled = open_labelled(source, data, split, read_spec(source).vocabulary, how)
    annotations = labelled.annotations
    with nullcontext() if watcher is None else watcher(2 * len(annotations)) as progress:
        return shrink(kind, source, out, labelled, wishes, progress=progress or (lambda done: None))


def shrink(
    kind: Kind,
    source: Path,
    out: Path,
    labelled: Labelled,
    wishes: Wishes,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> Smaller:
    """Export to a smaller form, measure what it costs, and fit calibration and thresholds anew.

    The float32 model is exported to a temporary folder. Both are scored on all of the images as
    `twl eval` does it. A drop of mAP@sample alone refuses nothing. Where the model was trained on
    most of the images, fitting to them would be optimistic, and nothing is fitted.

    Args:
        kind: which form.
        source: run folder or `.safetensors` checkpoint.
        out: the ONNX file to write.
        labelled: images that the model was not trained on.
        wishes: how.
        progress: told how many more images are done, of twice as many as there are.

    Raises:
        AnnotationError: no image can be read or none has a label, or one is not the model's.
        ModelError: the loss is larger, or the model cannot be exported; nothing is written.
        TwlError: the file exists, or cannot be written there.
    """
    check_out(out, force=wishes.force)
    data = labelled.annotations

    def score(model: Path) -> ScoredImages:
        predictor = OnnxPredictor(model, provider="cpu")
        return score_images(predictor, data, workers=wishes.workers, progress=progress)

    with (
        TemporaryDirectory(prefix="twl-smaller-") as folder,
        replacing_model(out, force=wishes.force) as smaller,
    ):
        whole = Path(folder, "float32.onnx")
        spec = export(source, whole, opset=wishes.opset, allow_code=wishes.allow_code).spec
        before = score(whole)
        if not (before.targets == PRESENT).any():
            raise AnnotationError(
                f"{data.source}: none of the {len(before.images):,} images has a label; {kind} is "
                "measured and fitted on labelled images"
            )
        drawn = _drawn(before, data) if kind == "int8" else []
        if kind == "int8":
            write_int8(whole, smaller, drawn, spec.preprocessing)
        else:
            write_fp16(whole, smaller)
        replace_spec(smaller, spec)
        after = score(smaller)
        maps, maps_after = map_scores(before), map_scores(after)
        if not wishes.accept_drop:
            _check_drop(kind, source, maps, maps_after, wishes.max_drop)
        made = {
            "data": data.source.name,
            "images": len(after.images),
            **({"range_images": len(drawn)} if kind == "int8" else {}),
            "float32": maps,
            kind: maps_after,
        }
        spec, is_fitted = _fitted(after, spec, hashes_of(data), made)
        replace_spec(smaller, spec, tags=wishes.tags, threshold=wishes.threshold)
        rates = _images_per_second(whole, smaller)
        sizes = size_of(whole), size_of(smaller)
    return Smaller(
        kind,
        out,
        spec,
        is_fitted,
        Measured(sizes[0], rates[0], **maps),
        Measured(sizes[1], rates[1], **maps_after),
        len(after.images),
        len(drawn),
        after.unreadable,
        str(data.source),
        labelled.split,
    )


def _fitted(
    after: ScoredImages, spec: ModelSpec, hashes: NDArray[np.uint64], made: dict[str, Any]
) -> tuple[ModelSpec, bool]:
    """The spec with what was measured, fitted anew if most of the images were not trained on."""
    spec = replace(spec, provenance={**spec.provenance, "quantisation": made})
    if 2 * (seen_among(spec.provenance, hashes).training or 0) > len(hashes):
        return spec, False
    seen = {**spec.provenance.get(SEEN_KEY, {}), "fitted": sample_of(hashes)}
    spec = replace(spec, provenance={**spec.provenance, SEEN_KEY: seen})
    return fit(after.logits, after.targets, spec), True


def _check_drop(
    kind: Kind, source: Path, before: dict[str, float], after: dict[str, float], max_drop: float
) -> None:
    first, second = 100 * before["map_class"], 100 * after["map_class"]
    if not first - second <= max_drop:
        raise ModelError(
            f"{source}: {kind} loses {first - second:.2f} points of mAP@class ({first:.2f} to "
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
