"""Classifiers with the metadata of OpenVINO's `model_api`, such as Intel's OTX exports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twlcli.errors import ModelError
from twlcli.io import parse_json
from twlcli.model.foreign.form import Described, Form
from twlcli.model.preprocessing import Fit, Preprocessing

PREFIX = "model_info "
_FITS: dict[str, Fit] = {
    "crop": "crop",
    "standard": "stretch",
    "fit_to_window_letterbox": "pad",
}
_INTERPOLATIONS = {"LINEAR": "bilinear", "CUBIC": "bicubic"}
_TRUE = ("YES", "True")  # as model_api reads them
_WHITE = "255"
# Whole numbers that are 1 after scaling, by the type of the images that go in.
_WHOLE = {"u8": 255.0, "f32": 1.0}


def described_by_model_info(
    path: Path, metadata: Mapping[str, str], shape: Sequence[Any]
) -> Described | None:
    """A classifier that says under `model_info` how it is used; None of another model.

    As the programs that write it, it takes RGB images, and BGR ones where the channels are
    reversed. Mean and scale are of values from 0 to 255.

    Args:
        path: of the model, for errors.
        metadata: its.
        shape: of its input.

    Raises:
        ModelError: it is one of another task, images go in as twl cannot prepare them, or the
            metadata are damaged.
    """
    info = {
        key.removeprefix(PREFIX): value for key, value in metadata.items() if key.startswith(PREFIX)
    }
    if "model_type" not in info:
        return None
    if info["model_type"].lower() != "classification":
        raise ModelError(f"{path}: is a model for '{info['model_type']}'; expected Classification")
    try:
        labels = _labels(info)
        preprocessing, channels_first = _preprocessing(info, shape)
        threshold = float(info.get("confidence_threshold") or 0.5)
        if not 0 <= threshold <= 1:
            raise ValueError(f"confidence_threshold is {threshold:g}; expected 0..1")
        if info.get("hierarchical") in _TRUE:
            raise ValueError("its labels are a hierarchy; expected multilabel or one label")
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: its 'model_info' cannot be used: {error}") from None
    return Described(
        kind="OpenVINO",
        labels=labels,
        preprocessing=preprocessing,
        form=Form(
            channels_first=channels_first,
            is_bgr=info.get("reverse_input_channels") in _TRUE,
            gives="logits" if info.get("multilabel") in _TRUE else "classes",
        ),
        thresholds=(threshold,) * len(labels),
        files=(),
    )


def _labels(info: Mapping[str, str]) -> tuple[str, ...]:
    """The labels with their spaces, where those are written; else words with `_` for a space."""
    words = tuple(info.get("labels", "").split())
    if whole := info.get("label_info"):
        content = parse_json(whole)
        names = content.get("label_names") if isinstance(content, Mapping) else None
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(names)
    if not words:
        raise ValueError("it has no labels")
    return words


def _preprocessing(info: Mapping[str, str], shape: Sequence[Any]) -> tuple[Preprocessing, bool]:
    """How an image becomes a square, and whether its channels come first."""
    resize_type = info.get("resize_type") or "standard"
    fit = _FITS.get(resize_type)
    if fit is None or (fit == "pad" and info.get("pad_value") != _WHITE):
        raise ValueError(
            f"resize_type is '{resize_type}' with pad_value {info.get('pad_value') or 0}; expected "
            f"crop, standard, or fit_to_window_letterbox with pad_value {_WHITE}"
        )
    name = info.get("interpolation_mode") or "LINEAR"
    if name not in _INTERPOLATIONS:
        raise ValueError(f"interpolation_mode is '{name}'; expected LINEAR or CUBIC")
    channels_first = shape[1] in range(1, 5)  # as model_api finds it out
    height, width = shape[2:] if channels_first else shape[1:3]
    if type(height) is not int or height != width:
        raise ValueError(f"images are {height} x {width}; expected a square")
    whole = 255.0 / _unit(info)
    mean = _three(info.get("mean_values"), 0.0)
    scale = _three(info.get("scale_values"), 1.0)
    if 0 in scale:
        raise ValueError("a scale is 0")
    if info.get("reverse_input_channels") in _TRUE:  # mean and scale are of what goes in then
        mean, scale = mean[::-1], scale[::-1]
    return (
        Preprocessing(
            resize=height,
            crop=height,
            interpolation=_INTERPOLATIONS[name],
            mean=(mean[0] / whole, mean[1] / whole, mean[2] / whole),
            std=(scale[0] / whole, scale[1] / whole, scale[2] / whole),
            fit=fit,
        ),
        channels_first,
    )


def _unit(info: Mapping[str, str]) -> float:
    """What values are divided by before mean and scale."""
    mode = info.get("intensity_mode") or "none"
    if mode == "none":
        return 1.0
    if mode != "scale_to_unit":
        raise ValueError(f"intensity_mode is '{mode}'; expected none or scale_to_unit")
    most = info.get("intensity_max_value") or "None"
    value = _WHOLE[info.get("input_dtype") or "u8"] if most == "None" else float(most)
    if not value > 0:
        raise ValueError(f"intensity_max_value is {value:g}")
    return value


def _three(text: str | None, usual: float) -> tuple[float, float, float]:
    values = [*map(float, (text or "").split())] or [usual] * 3
    if len(values) == 1:
        values *= 3
    first, second, third = values
    return first, second, third
