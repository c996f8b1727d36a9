"""From logits to probabilities to labels: applying what was fitted and lies in a model's spec."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import ModelError, TwlError
from twlcli.labels import some_of
from twlcli.model.spec import Calibration, ModelSpec, Thresholds

BEST_F1 = "best-f1"
PRECISION, RECALL = "precision=", "recall="
F_BETA = re.compile(r"f([0-9]+(?:\.[0-9]+)?)", re.IGNORECASE | re.ASCII)
SMALLEST_EXPONENT = -87.0  # exp(87) is still a float32


def calibration_of(spec: ModelSpec) -> Calibration:
    """The model's calibration.

    Raises:
        ModelError: it carries none.
    """
    if spec.calibration is None:
        raise ModelError(
            "the model carries no calibration, so its logits are not probabilities; "
            "expected a model whose training finished"
        )
    return spec.calibration


def probabilities(logits: NDArray[np.floating], calibration: Calibration) -> NDArray[np.float32]:
    """Calibrated probabilities of logits, in float32 throughout as in the exported graph.

    Args:
        logits: (N, C).
        calibration: C slopes and offsets.

    Returns:
        (N, C) float32 in 0..1; below 1.7e-38 it stops falling. NaN where a logit is.

    Example:
        >>> calibration = Calibration(slope=(2.0,), offset=(-1.0,))
        >>> probabilities(np.array([[0.5]], dtype=np.float32), calibration).tolist()
        [[0.5]]
    """
    exponent = logits.astype(np.float32)
    exponent *= np.array(calibration.slope, dtype=np.float32)
    exponent += np.array(calibration.offset, dtype=np.float32)
    np.maximum(exponent, SMALLEST_EXPONENT, out=exponent)
    np.negative(exponent, out=exponent)
    np.exp(exponent, out=exponent)
    exponent += 1
    return np.reciprocal(exponent, out=exponent)


def thresholds_of(spec: ModelSpec, wish: str | float | None) -> NDArray[np.float32]:
    """The threshold of each label, (C,) float32.

    Args:
        spec: the model's.
        wish: `best-f1` (or `f1`) or None for the fitted default; `precision=0.9` or `recall=0.9`
            for the fitted thresholds that reached this precision or recall; `f2` or `f0.5` for
            those with the best F-beta; one number in 0..1 for all labels, perhaps as text; or
            `@FILE` or a name that ends in `.toml`, for a file with a number for each label, see
            `read_thresholds`.

    Raises:
        ModelError: the model carries no such thresholds; lists those that it does.
        TwlError: the wish is not understood, says what is accepted; or the file is wrong.
    """
    text = wish_text(wish)
    if path := threshold_file(text):
        from twlcli.model.threshold_file import read_thresholds  # most runs read none

        return read_thresholds(path, spec.vocabulary)
    beta = F_BETA.fullmatch(text)
    if text == BEST_F1 or (beta and float(beta[1]) == 1):
        return np.array(_fitted(spec).best_f1, dtype=np.float32)
    if beta:
        return _stored(_fitted(spec), "f_beta", float(beta[1]))
    for prefix in (PRECISION, RECALL):
        if text.startswith(prefix):
            target = _number(text.removeprefix(prefix), text)
            return _stored(_fitted(spec), prefix.removesuffix("="), target)
    return np.full(len(spec.vocabulary), _number(text, text), dtype=np.float32)


_SHOWN = {"precision": PRECISION, "recall": RECALL, "f_beta": "f"}  # before a target


def _stored(thresholds: Thresholds, kind: str, target: float) -> NDArray[np.float32]:
    """Those of a kind, a name of an attribute, that were fitted for a target."""
    stored: Mapping[str, tuple[float, ...]] = getattr(thresholds, kind)
    for key, values in stored.items():
        if float(key) == target:
            return np.array(values, dtype=np.float32)
    there = ", ".join(stored)
    if not there:  # as in older models
        others = [
            f"{prefix}{key}" for each, prefix in _SHOWN.items() for key in getattr(thresholds, each)
        ]
        there = ", ".join((BEST_F1, *others))
    raise ModelError(f"the model has no thresholds for {_SHOWN[kind]}{target:g} (it has: {there})")


def never_given_note(spec: ModelSpec, wish: str | float | None) -> str:
    """Which labels no probability reaches the threshold of, in words; empty without such labels.

    Args:
        spec: the model's.
        wish: see `thresholds_of`.
    """
    values = thresholds_of(spec, wish)
    names = [name for name, value in zip(spec.vocabulary, values, strict=True) if value > 1]
    if not names:
        return ""
    return (
        f"{len(names):,} of {len(spec.vocabulary):,} labels are never given at {wish_text(wish)}: "
        f"{some_of(names)}"
    )


def decide(
    probabilities: NDArray[np.float32], thresholds: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Which labels each image is given, (N, C): where probability >= threshold.

    Example:
        >>> thresholds = np.array([0.5, 0.7], dtype=np.float32)
        >>> decide(np.array([[0.5, 0.6]], dtype=np.float32), thresholds).tolist()
        [[True, False]]
    """
    return probabilities >= thresholds


def wish_text(wish: str | float | None) -> str:
    """What was asked of `thresholds_of`, as text."""
    return BEST_F1 if wish is None else str(wish).strip()


def threshold_file(wish: str) -> Path | None:
    """The file that is asked for: `@FILE`, or a name that ends in `.toml`; None if none is.

    Example:
        >>> threshold_file("0.5") is None, str(threshold_file("@mine")), str(threshold_file("a.toml"))
        (True, 'mine', 'a.toml')
    """  # noqa: E501 (an example is one line)
    if wish.startswith("@"):
        return Path(wish[1:])
    return Path(wish) if wish.lower().endswith(".toml") else None


def wish_beside(threshold: str | float | None, top_k: int | None) -> str | None:
    """What was asked of `thresholds_of`, as text; None where the `top_k` are given in any case."""
    return None if top_k is not None and threshold is None else wish_text(threshold)


def _fitted(spec: ModelSpec) -> Thresholds:
    if spec.thresholds is None:
        raise ModelError("the model carries no fitted thresholds; give a number in 0..1")
    return spec.thresholds


def _number(text: str, whole: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0 <= number <= 1:
        raise TwlError(
            f"threshold '{whole}': expected a number in 0..1, '{PRECISION}0.9', '{RECALL}0.9', "
            f"'f2' or the like, '{BEST_F1}', or a .toml file"
        )
    return number


def given_labels(
    probabilities: NDArray[np.float32],
    thresholds: NDArray[np.float32] | None,
    top_k: int | None,
) -> NDArray[np.intp]:
    """The columns of the labels that one image is given, the most probable first.

    Args:
        probabilities: (C,), calibrated.
        thresholds: (C,); None gives every label.
        top_k: at most this many; None for any number.

    Example:
        >>> given_labels(np.array([0.2, 0.9, 0.6], dtype=np.float32), None, 2).tolist()
        [1, 2]
    """
    if thresholds is None:
        columns = np.arange(len(probabilities))
    else:
        columns = np.flatnonzero(decide(probabilities, thresholds))
    return columns[np.argsort(-probabilities[columns], kind="stable")][:top_k]


def given_in_rows(
    probabilities: NDArray[np.float32],
    thresholds: NDArray[np.float32] | None,
    top_k: int | None,
) -> Iterator[tuple[list[int], list[float]]]:
    """As `given_labels` of many images at once: the columns of each, and their probabilities.

    Args:
        probabilities: (N, C), calibrated.
        thresholds: (C,); None gives every label.
        top_k: at most this many; None for any number.

    Example:
        >>> list(given_in_rows(np.array([[0.25, 0.5], [0, 0]]), np.array([0.1, 0.1]), None))
        [([1, 0], [0.5, 0.25]), ([], [])]
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    given = np.ones(ranked.shape, dtype=np.bool_)
    if thresholds is not None:
        given = np.take_along_axis(decide(probabilities, thresholds), order, axis=1)
    if top_k is not None:
        given &= np.cumsum(given, axis=1) <= top_k
    columns, values = order[given].tolist(), ranked[given].tolist()
    ends = np.cumsum(given.sum(axis=1)).tolist()
    for start, end in pairwise([0, *ends]):
        yield columns[start:end], values[start:end]
