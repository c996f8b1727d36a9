"""Thresholds that somebody has written down: a TOML file with a number for each label."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import TwlError, did_you_mean
from twlcli.io import read_toml
from twlcli.labels import Vocabulary, some_of

DEFAULT = "default"


def read_thresholds(path: Path, vocabulary: Vocabulary) -> NDArray[np.float32]:
    """The threshold of each label, (C,) float32.

    A key is a label, and its value a number in 0..1. `default` stands for all labels that are not
    named; a label that is itself called `default` is meant by it alone.

    Example:
        default = 0.5
        cat = 0.4
        "red panda" = 0.25

    Raises:
        TwlError: the file cannot be read; a label is not known or has no threshold, or one is not a
            number in 0..1.
    """
    table = read_toml(path, "thresholds")
    has_default = DEFAULT in table and DEFAULT not in vocabulary
    default = _number(table.pop(DEFAULT), DEFAULT, path) if has_default else None
    for name in table:
        if name not in vocabulary:
            hint = did_you_mean(name, (*vocabulary, DEFAULT))
            raise TwlError(f"{path}: label '{name}' is not one of the model's{hint}")
    values = {name: _number(value, name, path) for name, value in table.items()}
    missing = [name for name in vocabulary if name not in values]
    if missing and default is None:
        raise TwlError(_without(missing, vocabulary, path))
    return np.array([values.get(name, default) for name in vocabulary], dtype=np.float32)


def _without(missing: Sequence[str], vocabulary: Vocabulary, path: Path) -> str:
    how = "" if DEFAULT in vocabulary else f"; '{DEFAULT} = 0.5' would stand for them"
    return (
        f"{path}: {len(missing):,} of {len(vocabulary):,} labels have no threshold: "
        f"{some_of(missing)}{how}"
    )


def _number(value: Any, name: str, path: Path) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        dotted = "; a name with dots needs quotes" if isinstance(value, dict) else ""
        shown = json.dumps(value, default=str, ensure_ascii=False)[:60]
        raise TwlError(f"{path}: '{name}' is {shown}, expected a number in 0..1{dotted}")
    return float(value)
