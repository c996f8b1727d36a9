"""What linear evaluation compares: the models and the image sets as they are named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import normal_splits
from twlcli.annotations.detect import read_with
from twlcli.annotations.missing import check_images
from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.errors import AnnotationError, ModelError, TwlError
from twlcli.probing.known_sets import KNOWN_SETS, TEST, TRAIN, read_known_set
from twlcli.recipe import Recipe
from twlcli.runs.resolve import resolved_recipe
from twlcli.runs.run_folder import CHECKPOINT_NAME, check_network, check_training

_VALIDATION = "val"
_CHECKPOINT_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Model:
    """A model as it was named.

    Attributes:
        name: the text.
        checkpoint: a run folder or checkpoint; None for a backbone with weights.
        recipe: whose model and image values a backbone takes; None for a checkpoint.
    """

    name: str
    checkpoint: Path | None = None
    recipe: Recipe | None = None


@dataclass(frozen=True)
class ImageSet:
    """Labelled images in two parts.

    Attributes:
        name: as it was named.
        train: N training images.
        test: test images, with the same labels; none of them is a training image.
    """

    name: str
    train: Annotations
    test: Annotations


def plan_models(names: list[str], *, size: int | None = None) -> list[Model]:
    """The models of several names.

    Args:
        names: run folders, checkpoints, and backbones as `NAME`, `NAME=FILE` or `NAME=none`.
        size: side of the square input of the backbones, pixels; None is the recipe's, or what a
            network of timm says.

    Raises:
        TwlError: there are none, or two are the same.
        ModelError: a file is not there.
        RecipeError: there is no such backbone.
    """
    _check_different("model", names)
    return [_model(name, size) for name in names]


def plan_sets(
    names: list[str],
    *,
    train_split: str = TRAIN,
    test_split: str | None = None,
    options: ReadOptions = DEFAULTS,
) -> list[ImageSet]:
    """The image sets of several names, whose images are there.

    Args:
        names: label files and folders, and `SET=FOLDER` for those of `KNOWN_SETS`.
        train_split: of label files and folders.
        test_split: likewise; None is `test`, and `val` where there is no test split.
        options: how label files and folders are read.

    Raises:
        TwlError: there are none, or two are the same.
        AnnotationError: one cannot be read, is not whole, has an image in both parts, or nothing
            that could be told apart.
    """
    _check_different("image set", names)
    return [_image_set(name, normal_splits(train_split), test_split, options) for name in names]


def _check_different(what: str, names: list[str]) -> None:
    if not names:
        raise TwlError(f"no {what} is named")
    if twice := [name for name in names if names.count(name) > 1]:
        raise TwlError(f"{what} '{twice[0]}' is named twice")


def _model(name: str, size: int | None) -> Model:
    path = Path(name)
    if path.is_dir() or (path.suffix == _CHECKPOINT_SUFFIX and "=" not in name):
        if path.is_dir() and not (path / CHECKPOINT_NAME).is_file():
            raise ModelError(f"{name}: has no {CHECKPOINT_NAME}, as a run folder has")
        if not path.exists():
            raise ModelError(f"{name}: no such model")
        return Model(name, checkpoint=path)
    backbone, _, weights = name.partition("=")
    settings = {"model.backbone": backbone, "model.weights": weights or "default"}
    if size is not None:
        settings["image.size"] = str(size)
    recipe = resolved_recipe(".", settings=[f"{key}={value}" for key, value in settings.items()])
    check_network(recipe)
    return Model(name, recipe=recipe)


def _image_set(
    name: str, train_split: str, test_split: str | None, options: ReadOptions
) -> ImageSet:
    known, equals, folder = name.partition("=")
    if equals and not Path(name).exists():
        if known not in KNOWN_SETS:
            raise AnnotationError(f"{name}: '{known}' is none of {', '.join(KNOWN_SETS)}")
        data = read_known_set(known, Path(folder))
        train_split, test_split = TRAIN, TEST
        found = ImageSet(known, data.split(TRAIN), data.split(TEST))
    else:
        data = read_with(name, options)
        if test_split is None:
            test_split = TEST if data.has_split(TEST) else _VALIDATION
        parts = data.split(train_split), data.split(normal_splits(test_split))
        found = ImageSet(name, *parts)
    if both := set(found.train.images) & set(found.test.images):
        raise AnnotationError(
            f"{name}: {len(both):,} images are training and test images, such as {min(both)}"
        )
    check_training(found.train, f"{name}, split '{train_split}'")
    if not found.test.labels.present_per_label().any():
        raise AnnotationError(f"{name}, split '{test_split}': no test image has a label")
    for part in (found.train, found.test):
        check_images(part)
    return found
