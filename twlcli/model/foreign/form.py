"""What has to be known of a model that another program has made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import AnnotationError, ModelError, reason_of
from twlcli.io import check_regular
from twlcli.labels import Vocabulary
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import Calibration, ModelSpec, Thresholds

# What the numbers are that come out: logits of labels on their own, probabilities already, or
# logits of labels of which an image has exactly one.
Gives = Literal["logits", "probabilities", "classes"]
SURE = np.float32(1e-7)  # a probability that is as good as none; its logit is -16
_MOST_BYTES = 64 << 20  # of a file that describes a model


def text_of(path: Path) -> str:
    """What stands in a file beside a model, in UTF-8.

    Raises:
        ModelError: it cannot be read, or is larger than any such file.
    """
    try:
        check_regular(path)
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise ModelError(f"{path}: has {size:,} bytes, the limit is {_MOST_BYTES:,}")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({reason_of(error)})") from None
    except ValueError:
        raise ModelError(f"{path}: cannot be read as text in UTF-8") from None


@dataclass(frozen=True)
class Form:
    """How a model takes images, and what it gives.

    Attributes:
        channels_first: (N, 3, H, W), else (N, H, W, 3).
        is_bgr: whether blue comes first.
        gives: what its output is.
    """

    channels_first: bool
    is_bgr: bool
    gives: Gives

    def taken(
        self, images: NDArray[np.uint8], preprocessing: Preprocessing, kind: type[np.floating]
    ) -> NDArray[np.floating]:
        """Images (N, H, W, 3), uint8 RGB, as the model takes them: (value / 255 - mean) / std."""
        mean, std = (
            np.array(each, dtype=np.float32) for each in (preprocessing.mean, preprocessing.std)
        )
        values = (images.astype(np.float32) / 255 - mean) / std
        if self.is_bgr:
            values = values[..., ::-1]
        if self.channels_first:
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values, dtype=kind)

    def logits(self, given: NDArray[np.floating]) -> NDArray[np.float32]:
        """The output (N, C) as logits whose sigmoid is the probability of each label."""
        values = given.astype(np.float32)
        if self.gives == "logits":
            return values
        if self.gives == "classes":
            values = np.exp(values - values.max(axis=1, keepdims=True))
            values /= values.sum(axis=1, keepdims=True)
        values = values.clip(SURE, 1 - SURE)
        return np.log(values) - np.log1p(-values)


@dataclass(frozen=True)
class Described:
    """What is known of a model apart from its graph.

    Attributes:
        kind: whose it is, in words.
        labels: their names, in the order of the outputs.
        preprocessing: how images become squares, with mean and deviation.
        form: how they go in, and what comes out.
        thresholds: of each label, as the other program has them.
        files: those that say so, beside the model.
    """

    kind: str
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    form: Form
    thresholds: tuple[float, ...]
    files: tuple[Path, ...]

    def spec(self, source: Path) -> ModelSpec:
        """As twl has it, with the other program's thresholds and probabilities.

        Raises:
            ModelError: a label is no text, or is there twice.
        """
        try:
            vocabulary = Vocabulary(self.labels)
        except AnnotationError as error:
            raise ModelError(f"{source}: {error}") from None
        count = len(self.labels)
        return ModelSpec(
            vocabulary=vocabulary,
            backbone=self.kind,
            preprocessing=self.preprocessing,
            calibration=Calibration((1.0,) * count, (0.0,) * count),
            thresholds=Thresholds(self.thresholds),
            provenance={"made_by": self.kind},
        )
