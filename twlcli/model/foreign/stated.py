"""Models of which nothing is written down: whoever uses one says how images go in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from twlcli.errors import ModelError, TwlError
from twlcli.model.foreign.form import Described, Form, Gives
from twlcli.model.preprocessing import FITS, Preprocessing
from twlcli.model.spec import MAX_SIZE

THRESHOLD = 0.5
_CROPPED = 0.875  # of the shorter side, as is usual
# Mean and deviation of values from 0 to 1.
_VALUES = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "unit": ((0.0,) * 3, (1.0,) * 3),  # 0 to 1
    "centred": ((0.5,) * 3, (0.5,) * 3),  # -1 to 1
    "bytes": ((0.0,) * 3, (1 / 255,) * 3),  # 0 to 255
}
_LAYOUTS, _ORDERS = ("nchw", "nhwc"), ("rgb", "bgr")
_INTERPOLATIONS = ("bilinear", "bicubic")
# Each of them once, in any order; the first is what is meant where none is named.
_CHOICES = (_LAYOUTS, _ORDERS, tuple(_VALUES), FITS, _INTERPOLATIONS, get_args(Gives))


@dataclass(frozen=True)
class Stated:
    """What somebody says of a model.

    Attributes:
        labels: in the order of its outputs.
        form: how images go in; see `described_as`.
    """

    labels: tuple[str, ...]
    form: str

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal."""
        return hashlib.sha256(json.dumps([self.labels, self.form]).encode()).hexdigest()


def described_as(
    text: str, labels: Sequence[str], *, path: Path, shape: Sequence[Any]
) -> Described:
    """A model whose images go in as a text says, such as `nchw,rgb,imagenet,crop,logits`.

    Args:
        text: words with commas between: nchw or nhwc; rgb or bgr; imagenet, unit, centred or bytes
            (what the values are); crop, pad or stretch; bilinear or bicubic; logits, probabilities
            or classes (what comes out). The first of each is meant where none is named.
        labels: in the order of the outputs.
        path: of the model.
        shape: of its input.

    Raises:
        TwlError: a word is not known, or two of a kind are there.
        ModelError: the size of the images is not fixed.
    """
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    known = [word for choices in _CHOICES for word in choices]
    for word in words:
        if word not in known:
            raise TwlError(f"input '{word}' is not known; expected some of {', '.join(known)}")
    chosen = []
    for choices in _CHOICES:
        named = [word for word in words if word in choices]
        if len(named) > 1:
            raise TwlError(f"input '{named[0]}' and '{named[1]}' exclude each other")
        chosen.append(named[0] if named else choices[0])
    layout, order, values, fit, interpolation, gives = chosen
    side = shape[2]
    if not isinstance(side, int) or not 1 <= side <= MAX_SIZE:
        raise ModelError(f"{path}: takes images {list(shape)}; expected a fixed number of pixels")
    mean, std = _VALUES[values]
    return Described(
        kind="other",
        labels=tuple(labels),
        preprocessing=Preprocessing(
            resize=round(side / _CROPPED) if fit == "crop" else side,
            crop=side,
            interpolation=interpolation,
            mean=(mean[0], mean[1], mean[2]),
            std=(std[0], std[1], std[2]),
            fit=next(each for each in FITS if each == fit),
        ),
        form=Form(
            channels_first=layout == "nchw",
            is_bgr=order == "bgr",
            gives=next(each for each in get_args(Gives) if each == gives),
        ),
        thresholds=(THRESHOLD,) * len(labels),
        files=(),
    )
