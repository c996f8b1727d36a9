"""Folders of image classifiers as Hugging Face's libraries write them: transformers and timm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twlcli.errors import ModelError
from twlcli.io import parse_json
from twlcli.model.foreign.form import Described, Form, text_of
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import MAX_NUMBER

CONFIG = "config.json"
PROCESSOR = "preprocessor_config.json"
THRESHOLDS = "thresholds.json"  # as `twl export --bundle hf` writes it

_THRESHOLD = 0.5
_RESAMPLING = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_FITS = {"center": "crop", "squash": "stretch"}  # timm's crop modes
_STRETCHED_BELOW = 384  # pixels: ConvNeXt's processor cuts smaller images, and stretches others
# Processors that stretch where a size is one number; others resize the shorter side.
_STRETCHING = ("ViT", "DeiT", "Beit", "Swin", "BEiT")


def described_by_config(folder: Path) -> Described:
    """A model with a `config.json`.

    Args:
        folder: where it lies.

    Raises:
        ModelError: a file is not there or damaged, the labels are not named, or images go in as twl
            cannot prepare them.
    """
    path = folder / CONFIG
    config = _read(path)
    is_timm = isinstance(config.get("pretrained_cfg"), Mapping)
    files: tuple[Path, ...] = (path,)
    try:
        if is_timm:
            preprocessing = _of_timm(config["pretrained_cfg"])
        else:
            files = (path, folder / PROCESSOR)
            preprocessing = _of_processor(_read(folder / PROCESSOR))
        labels = _labels(config)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(f"{path}: cannot be used: {_text(error)}") from None
    several = config.get("problem_type") == "multi_label_classification"
    thresholds = _thresholds(folder / THRESHOLDS, labels)
    return Described(
        kind="timm" if is_timm else "transformers",
        labels=labels,
        preprocessing=preprocessing,
        form=Form(channels_first=True, is_bgr=False, gives="logits" if several else "classes"),
        thresholds=thresholds or (_THRESHOLD,) * len(labels),
        files=(*files, folder / THRESHOLDS) if thresholds else files,
    )


def _thresholds(path: Path, labels: tuple[str, ...]) -> tuple[float, ...]:
    """The number that a file has for each label; none where it is another program's file."""
    if not path.is_file():
        return ()
    content = _read(path)
    values: list[Any] = [content.get(name) for name in labels]
    if not all(type(value) in (int, float) and abs(value) < MAX_NUMBER for value in values):
        return ()
    return tuple(map(float, values))


def _text(error: Exception) -> str:
    return f"there is no key {error}" if isinstance(error, KeyError) else str(error)


def _read(path: Path) -> Mapping[str, Any]:
    text = text_of(path)
    try:
        content = parse_json(text)
    except ValueError as error:
        raise ModelError(f"{path}: cannot be read ({error})") from None
    if not isinstance(content, Mapping):
        raise ModelError(f"{path}: expected an object of JSON")
    return content


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    if isinstance(names := config.get("label_names"), list):  # timm's
        labels = names
    else:
        by_number = {int(key): name for key, name in config["id2label"].items()}
        labels = [by_number[number] for number in range(len(by_number))]
    if not all(isinstance(name, str) for name in labels):
        raise ValueError("a label is no text")
    return tuple(labels)


def _of_timm(config: Mapping[str, Any]) -> Preprocessing:
    """As timm's `create_transform` prepares images for evaluation."""
    _, height, width = config["input_size"]
    side = _one_side(height, width)
    mode = config.get("crop_mode") or "center"
    if mode not in _FITS:
        raise ValueError(f"crop_mode is '{mode}'; expected center or squash")
    return Preprocessing(
        resize=int(side / (config.get("crop_pct") or 0.875)),
        crop=side,
        interpolation=_interpolation(config.get("interpolation", "bilinear")),
        mean=_three(config["mean"]),
        std=_three(config["std"]),
        fit="stretch" if mode == "squash" else "crop",
    )


def _of_processor(config: Mapping[str, Any]) -> Preprocessing:
    """As an image processor of transformers prepares images."""
    name = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    size = config["size"]
    resampling = _RESAMPLING.get(config.get("resample", 2))
    if resampling is None:
        raise ValueError(
            f"resample is {config.get('resample')}; expected 2 or 3 (bilinear, bicubic)"
        )
    if isinstance(size, int):
        is_stretched = name.startswith(_STRETCHING)
        size = {"height": size, "width": size} if is_stretched else {"shortest_edge": size}
    fit, resize = "crop", size.get("shortest_edge")
    if resize is None:
        fit, resize = "stretch", _one_side(size["height"], size["width"])
    crop = resize
    if config.get("do_center_crop"):
        cut = config["crop_size"]
        crop = cut if isinstance(cut, int) else _one_side(cut["height"], cut["width"])
    elif fit == "crop" and "crop_pct" in config:  # ConvNeXt's
        if crop >= _STRETCHED_BELOW:
            fit = "stretch"
        else:
            resize = int(crop / config["crop_pct"])
    elif fit == "crop":
        raise ValueError("images go in as they are shaped; expected a square")
    # (value * factor - mean) / std, with values of 0..1
    whole = 255 * (config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0)
    mean, std = (0.0,) * 3, (1.0,) * 3
    if config.get("do_normalize", True):
        mean, std = _three(config["image_mean"]), _three(config["image_std"])
    return Preprocessing(
        resize=resize,
        crop=crop,
        interpolation=resampling,
        mean=_three([each / whole for each in mean]),
        std=_three([each / whole for each in std]),
        fit="stretch" if fit == "stretch" else "crop",
    )


def _one_side(height: Any, width: Any) -> int:
    if height != width or type(height) is not int:
        raise ValueError(f"images are {height} x {width}; expected a square")
    return height


def _interpolation(name: str) -> str:
    if name not in _RESAMPLING.values():
        raise ValueError(f"interpolation is '{name}'; expected bilinear or bicubic")
    return name


def _three(values: Any) -> tuple[float, float, float]:
    first, second, third = map(float, values)
    return first, second, third
