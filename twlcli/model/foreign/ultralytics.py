"""Classifiers of Ultralytics: what they are stands in the metadata of the ONNX file."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twlcli.errors import ModelError
from twlcli.model.foreign.form import Described, Form
from twlcli.model.preprocessing import Preprocessing

_THRESHOLD = 0.5
_MOST_TEXT = 1 << 22  # characters of what names the labels


def described_by_metadata(path: Path, metadata: Mapping[str, str]) -> Described | None:
    """A classifier of Ultralytics; None of another model.

    Images are resized by the shorter side and cut, with values from 0 to 1, and it gives
    probabilities of classes.

    Raises:
        ModelError: it is one of another task, or the metadata are damaged.
    """
    if not {"names", "imgsz", "task"} <= metadata.keys():
        return None
    if metadata["task"] != "classify":
        raise ModelError(
            f"{path}: is a model for '{metadata['task']}'; expected one that classifies"
        )
    try:
        names, sizes = _literal(metadata["names"]), _literal(metadata["imgsz"])
        height, width = (sizes, sizes) if isinstance(sizes, int) else sizes
        labels = tuple(names[number] for number in range(len(names)))
        if height != width or not all(isinstance(name, str) for name in labels):
            raise ValueError("expected a square and names")
    except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise ModelError(f"{path}: its metadata are damaged ({error})") from None
    return Described(
        kind="Ultralytics",
        labels=labels,
        preprocessing=Preprocessing(height, height, "bilinear", (0.0,) * 3, (1.0,) * 3),
        form=Form(channels_first=True, is_bgr=False, gives="probabilities"),
        thresholds=(_THRESHOLD,) * len(labels),
        files=(),
    )


def _literal(text: str) -> Any:
    if len(text) > _MOST_TEXT:
        raise ValueError("the text is too long")
    return ast.literal_eval(text)  # as Python prints it, which is how they are written
