"""Models of other programs as a `Predictor`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import ModelError
from twlcli.model.foreign.form import Described
from twlcli.model.foreign.huggingface import CONFIG, described_by_config
from twlcli.model.foreign.openvino import described_by_model_info
from twlcli.model.foreign.ultralytics import described_by_metadata
from twlcli.model.foreign.wd import MAPPING, TAGS, described_by_mapping, described_by_tags
from twlcli.model.onnx import OnnxSession
from twlcli.model.spec import MAX_SIZE, SPEC_KEY, ModelSpec

IN_FOLDER = ("model.onnx", "onnx/model.onnx", "model_optimized.onnx")
_SUM = 1e-3  # by which probabilities that are rounded may differ from 1 together
_BESIDE = (TAGS, MAPPING, CONFIG)
_TYPES: dict[str, type[np.floating[Any]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}


def model_in(folder: Path) -> Path | None:
    """The ONNX file of a folder that says what is in it; None where it is no such folder."""
    if not any((folder / name).is_file() for name in _BESIDE):
        return None
    return next((folder / name for name in IN_FOLDER if (folder / name).is_file()), None)


class ForeignPredictor:
    """A model of another program; it may be called from several threads at once."""

    def __init__(
        self, session: OnnxSession, describe: Callable[[Sequence[Any]], Described] | None = None
    ) -> None:
        """Find out what a model is by what stands in it and beside it.

        Args:
            session: the model.
            describe: says it of a model with that shape of its input, where nothing else does.

        Raises:
            ModelError: it is none that twl knows, or takes or gives something else than it says.
        """
        self._session = session
        if len(session.inputs) != 1:
            raise ModelError(f"{session.path}: has {len(session.inputs)} inputs; expected one")
        self._input = next(iter(session.inputs.values()))
        if self._input.type not in _TYPES or len(self._input.shape) != 4:
            raise ModelError(
                f"{session.path}: its input is {self._input.type} {self._input.shape}; expected "
                "images of float32 or float16"
            )
        shape = self._input.shape
        self.described = describe(shape) if describe else _described(session, shape)
        self._spec = self.described.spec(session.path)
        self._output = self._find_output()
        self._check_side()
        if self.described.form.gives == "classes" and self._gives_shares():
            form = replace(self.described.form, gives="probabilities")
            self.described = replace(self.described, form=form)

    def _find_output(self) -> str:
        """The output with a number for each label."""
        count = len(self.described.labels)
        for name, each in self._session.outputs.items():
            if len(each.shape) == 2 and (each.shape[1] == count or isinstance(each.shape[1], str)):
                return str(name)
        shapes = ", ".join(f"{name} {each.shape}" for name, each in self._session.outputs.items())
        raise ModelError(
            f"{self._session.path}: gives {shapes}; expected {count:,} values for the "
            f"{count:,} labels"
        )

    def _check_side(self) -> None:
        side = self._spec.preprocessing.crop
        shape = (
            self._input.shape[2:] if self.described.form.channels_first else self._input.shape[1:3]
        )
        if not 1 <= side <= MAX_SIZE or any(isinstance(n, int) and n != side for n in shape):
            raise ModelError(
                f"{self._session.path}: takes images {self._input.shape}; expected {side} pixels"
            )

    def _gives_shares(self) -> bool:
        """Whether the probabilities of classes are softmaxed already, as some exports do it."""
        side = self._spec.preprocessing.crop
        grey = np.full((1, side, side, 3), 128, dtype=np.uint8)
        given = self._given(grey)
        return bool((given >= 0).all() and abs(float(given.sum()) - 1) < _SUM)

    @property
    def path(self) -> Path:
        """The ONNX file."""
        return self._session.path

    @property
    def ends(self) -> tuple[str, str]:
        """The names of the input and the output."""
        return self._input.name, self._output

    @property
    def takes_any_number(self) -> bool:
        """Whether it takes any number of images at once."""
        return isinstance(self._input.shape[0], str)

    @property
    def spec(self) -> ModelSpec:
        """Labels, preprocessing and thresholds of the model."""
        return self._spec

    @property
    def files(self) -> tuple[Path, ...]:
        """All that decides what it says."""
        return (*self._session.files, *self.described.files)

    @property
    def provider(self) -> str:
        """The short name of the execution provider that runs the model."""
        return self._session.provider

    @property
    def batch_size(self) -> int:
        """How many images suit one call: one where the model takes no other number."""
        first = self._input.shape[0]
        return first if isinstance(first, int) and first > 0 else self._session.batch_size

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Uint8 RGB images (N, H, W, 3) to logits (N, C) float32, whose sigmoid is the probability.

        Raises:
            DeviceError: the memory does not suffice for N images.
            ModelError: the model cannot be run, gives something else, or takes too long.
        """
        return self.described.form.logits(self._given(images))

    def _given(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        """What the model itself says of images."""
        form, columns = self.described.form, len(self._spec.vocabulary)
        values = form.taken(images, self._spec.preprocessing, _TYPES[self._input.type])
        first = self._input.shape[0]
        if not self.takes_any_number and first:  # a model that takes no other number of images
            parts = [
                self._run(values[start : start + first], columns, whole=first)
                for start in range(0, len(values), first)
            ]
            return np.concatenate(parts)
        return self._session.run(self._output, {self._input.name: values}, columns=columns)

    def _run(self, values: NDArray[Any], columns: int, *, whole: int) -> NDArray[Any]:
        """Of fewer images than the model takes, filled up with nothing."""
        count = len(values)
        if count < whole:
            nothing = np.zeros((whole - count, *values.shape[1:]), dtype=values.dtype)
            values = np.concatenate((values, nothing))
        return self._session.run(self._output, {self._input.name: values}, columns=columns)[:count]

    def stop(self, *, late: bool = False) -> None:
        """End the calls that go on in other threads; see `Stoppable`."""
        self._session.stop(late=late)


def _described(session: OnnxSession, shape: list[Any]) -> Described:
    path = session.path
    folder = path.parent.parent if path.parent.name == "onnx" else path.parent
    if (folder / TAGS).is_file():
        return described_by_tags(folder / TAGS, _side(path, shape[1]))
    if (folder / MAPPING).is_file():
        return described_by_mapping(folder / MAPPING, _side(path, shape[2]))
    if described := described_by_metadata(path, session.metadata()):
        return described
    if described := described_by_model_info(path, session.metadata(), shape):
        return described
    if (folder / CONFIG).is_file():
        return described_by_config(folder)
    raise ModelError(
        f"{path}: has no '{SPEC_KEY}' metadata, so its labels and preprocessing are unknown; "
        f"expected a model written by twl export, {TAGS}, {MAPPING} or {CONFIG} beside it, or a "
        "classifier of Ultralytics or OTX"
    )


def _side(path: Path, size: Any) -> int:
    """The side of the images, which a model of this kind names itself."""
    if not isinstance(size, int):
        return 448  # as the authors' programs have it
    if not 1 <= size <= MAX_SIZE:
        raise ModelError(f"{path}: takes images of {size} pixels; expected 1 to {MAX_SIZE}")
    return size
