"""A model to call from Python: images in, labels out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from twlcli.errors import ImageError
from twlcli.images.decode import open_upright, read_upright, upright
from twlcli.images.decoding import MAX_PIXELS, Decoding
from twlcli.images.preprocess import cropped
from twlcli.io import check_count, is_address, listed
from twlcli.model.decisions import (
    calibration_of,
    given_labels,
    probabilities,
    thresholds_of,
    wish_text,
)
from twlcli.model.load import load_predictor
from twlcli.model.predictor import Predictor
from twlcli.model.spec import ModelSpec
from twlcli.parallel import in_threads, usable_cores
from twlcli.stores.address import shown

ImageSource = str | Path | bytes | Image.Image | NDArray[np.uint8]


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image.

    Attributes:
        labels: the labels given, the most probable first; empty where there is an error.
        probabilities: of the labels, calibrated, in 0..1.
        error: why the image cannot be read; None where it could be.
    """

    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, float]:
        """Probabilities by label, the most probable first."""
        return dict(zip(self.labels, self.probabilities, strict=True))


class Tagger:
    """A model that tags images in this process; made by `load_model`.

    Images are paths, the bytes of image files, Pillow images, or uint8 arrays: (H, W, 3) RGB or
    (H, W) grey. The model is loaded when it is first needed, once per process, so a tagger can be
    pickled and sent to workers. It may be called from several threads. Images are decoded in this
    process: for many files of unknown origin, `tag_files` is faster and survives a decoder that
    crashes.
    """

    def __init__(
        self,
        source: Path | str,
        *,
        provider: str | None = None,
        device: str | None = None,
        threshold: str | float | None = None,
        top_k: int | None = None,
        exact: bool = False,
        max_pixels: int | None = None,
        accept_damaged: bool = False,
        batch_size: int | None = None,
        allow_code: bool = False,
    ) -> None:
        """Store the options; see `load_model`."""
        check_count("top_k", top_k)
        check_count("max_pixels", max_pixels)
        check_count("batch_size", batch_size)
        self._source = source if is_address(source) else Path(source)
        self._provider = provider
        self._device = device
        self._threshold = None if top_k is not None and threshold is None else wish_text(threshold)
        self._top_k = top_k
        self._decoding = Decoding(exact, max_pixels or MAX_PIXELS, accept_damaged)
        self._batch_size = batch_size
        self._allow_code = allow_code

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key.startswith("_")}

    def __repr__(self) -> str:
        return f"Tagger({shown(str(self._source))!r})"

    @property
    def labels(self) -> tuple[str, ...]:
        """The C labels of the model, in the order of its columns."""
        return self.spec.vocabulary.names

    @property
    def spec(self) -> ModelSpec:
        """Labels, preprocessing, calibration, thresholds and provenance of the model."""
        return self.predictor.spec

    def tag(self, images: Iterable[ImageSource] | ImageSource) -> list[Prediction]:
        """The labels of each image, in the order given; one image alone is a list of one.

        An image that cannot be read is an error in its place.

        Raises:
            ModelError: the model cannot be loaded or run.
            DeviceError: memory is exhausted.
        """
        predictions: list[Prediction] = []
        for crops, errors in self._decoded(images):
            certain = iter(self._probabilities(crops))
            for error in errors:
                if error is not None:
                    predictions.append(Prediction(error=str(error)))
                else:
                    predictions.append(self._prediction(next(certain)))
        return predictions

    __call__ = tag

    def predict_proba(self, images: Iterable[ImageSource] | ImageSource) -> NDArray[np.float32]:
        """Calibrated probabilities (N, C) float32 in 0..1.

        Raises:
            ImageError: an image cannot be read; says which.
            ModelError: the model cannot be loaded or run.
        """
        rows = [np.empty((0, len(self.labels)), dtype=np.float32)]
        done = 0
        for crops, errors in self._decoded(images):
            for place, error in enumerate(errors):
                if error is not None:
                    raise ImageError(f"image {done + place}: {error}") from error
            rows.append(self._probabilities(crops))
            done += len(errors)
        return np.concatenate(rows)

    @cached_property
    def predictor(self) -> Predictor:
        """What runs the model: uint8 crops (N, H, W, 3) to logits (N, C)."""
        every_core = 0
        return load_predictor(
            self._source,
            provider=self._provider,
            device=self._device,
            threads=every_core,
            allow_code=self._allow_code,
        )

    @cached_property
    def thresholds(self) -> NDArray[np.float32] | None:
        """The threshold of each label, (C,); None where `top_k` alone decides."""
        return None if self._threshold is None else thresholds_of(self.spec, self._threshold)

    def _prediction(self, certain: NDArray[np.float32]) -> Prediction:
        columns = given_labels(certain, self.thresholds, self._top_k)
        labels = tuple(self.labels[column] for column in columns)
        return Prediction(labels, tuple(certain[columns].tolist()))

    def _probabilities(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        calibration = calibration_of(self.spec)
        if not len(crops):
            return np.empty((0, len(self.labels)), dtype=np.float32)
        return probabilities(self.predictor(crops), calibration)

    def _decoded(
        self, images: Iterable[ImageSource] | ImageSource
    ) -> Iterator[tuple[NDArray[np.uint8], list[ImageError | None]]]:
        """Batches: the crops of the readable images, and each image's error."""
        images = _several(images)
        size = self._batch_size or max(self.predictor.batch_size, usable_cores())
        side = self.spec.preprocessing.crop
        crops_of = in_threads(
            self._crop, images, threads=usable_cores(), name="twl-decode", ahead=size
        )
        with closing(crops_of):
            while results := list(islice(crops_of, size)):
                good = [each for each in results if not isinstance(each, ImageError)]
                crops = np.stack(good) if good else np.empty((0, side, side, 3), dtype=np.uint8)
                yield crops, [each if isinstance(each, ImageError) else None for each in results]

    def _crop(self, image: ImageSource) -> NDArray[np.uint8] | ImageError:
        preprocessing = self.spec.preprocessing
        shorter_side = None if self._decoding.exact else preprocessing.resize
        crop = partial(cropped, preprocessing=preprocessing)
        try:
            if isinstance(image, str | Path):
                read = partial(read_upright, image)
            elif isinstance(image, bytes):
                read = partial(open_upright, image)
            else:
                return np.asarray(crop(upright(image)))
            return np.asarray(read(shorter_side=shorter_side, decoding=self._decoding, resize=crop))
        except ImageError as error:
            return error


def _several(images: Iterable[ImageSource] | ImageSource) -> list[ImageSource]:
    """One image as a list; an array of four dimensions is several."""
    if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
        return [images]
    return listed(images)


def load_model(
    source: Path | str,
    *,
    provider: str | None = None,
    device: str | None = None,
    threshold: str | float | None = None,
    top_k: int | None = None,
    exact: bool = False,
    max_pixels: int | None = None,
    accept_damaged: bool = False,
    batch_size: int | None = None,
    allow_code: bool = False,
) -> Tagger:
    """A model to tag images with.

    Args:
        source: an exported `.onnx`, a run folder, a `.safetensors` checkpoint, a folder with a
            model of another program, `hf:ORG/NAME` for one on the Hugging Face hub, or the name of
            a bundled model.
        provider: what runs an `.onnx`, such as `cpu` or `cuda`; None for the fastest available.
        device: what runs a run or checkpoint: `auto` (None), `cpu`, `cuda`, `cuda:1` or `mps`.
        threshold: `best-f1` (None), `precision=0.9`, `recall=0.9`, `f2`, one number in 0..1 for all
            labels, or a `.toml` file with a number for each.
        top_k: at most this many labels, the most probable; without a threshold, exactly this many.
        exact: decode JPEG at full size: slower, and scores barely change.
        max_pixels: refuse larger images, of JPEG by the size that is decoded; None is 178,956,970.
        accept_damaged: take what can be read of a damaged image.
        batch_size: images in one call of the model; None for what suits the device.
        allow_code: import a backbone `module:function` that a run or checkpoint names.

    Raises:
        ModelError: there is no such model, it is damaged or not twl's, or names code that is not
            allowed.
        DeviceError: the provider or device is not available.
        MissingExtraError: a run or checkpoint without the `train` extra.
        TwlError: the threshold is not understood.

    Example:
        tagger = twlcli.load_model("voc.onnx")
        tagger.tag(["a.jpg", "b.jpg"])[0].to_dict()  # {"dog": 0.98, "person": 0.71}
    """
    tagger = Tagger(
        source,
        provider=provider,
        device=device,
        threshold=threshold,
        top_k=top_k,
        exact=exact,
        max_pixels=max_pixels,
        accept_damaged=accept_damaged,
        batch_size=batch_size,
        allow_code=allow_code,
    )
    _ = tagger.predictor, tagger.thresholds  # what is wrong is said here, not at the first image
    return tagger
