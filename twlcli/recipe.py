"""A recipe: everything that decides how a model is trained, as frozen dataclasses and as TOML.

The defaults are those of the authors of the two-way loss (SGD with Nesterov momentum, cosine
schedule, 224 pixels, crop, flip, colour jitter, lighting), with a warm-up and a bound on the
gradient that keep the loss from collapsing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from twlcli.errors import RecipeError, did_you_mean
from twlcli.io import parse_toml
from twlcli.loss_defaults import Option, checked_option, defaults_of, suitable_rate


@dataclass(frozen=True)
class DataRecipe:
    """`[data]`: what is trained on."""

    path: str = ""  # a label file or folder; see `twl data show`
    format: str = ""  # "" detects it
    images: str = ""  # the folder that image paths are relative to; "" beside the label file
    coco_images: str = ""  # the folder of a COCO file's images; "" the usual place
    separator: str = ""  # between labels in a table's cell; "" detects it
    train_split: str = "train"
    validation_split: str = "val"
    holdout: float = 0.1  # share of the training images held out where no validation split is
    unlabelled: Literal["negative", "drop"] = (
        "negative"  # images without labels: all absent, or out
    )


@dataclass(frozen=True)
class ModelRecipe:
    """`[model]`: what is trained."""

    backbone: str = "resnet50"  # any torchvision classification network
    weights: str = "default"  # "default" torchvision's, "none" random, or a file


@dataclass(frozen=True)
class ImageRecipe:
    """`[image]`: sizes in pixels."""

    size: int = 224  # side of the square that the network sees
    resize: int = 256  # shorter side before the centre crop in evaluation
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


@dataclass(frozen=True)
class AugmentRecipe:
    """`[augment]`: random changes of training images."""

    min_scale: float = 0.08  # smallest share of the image's area that a random crop keeps
    max_stretch: float = 4 / 3  # largest change of a crop's aspect ratio
    flip: float = 0.5  # probability of a mirror image
    jitter: float = 0.4  # brightness, contrast and saturation change by up to this share
    lighting: float = 0.1  # standard deviation of AlexNet's PCA lighting


@dataclass(frozen=True)
class LossRecipe:
    """`[loss]`: a loss and its options, which stand beside the other keys in TOML.

    Another name brings that loss's own options; `LOSS_DEFAULTS` lists them.
    """

    name: str = "two-way"
    # "global" compares samples over all ranks; "local" over each rank's own part of the batch.
    class_scope: Literal["global", "local"] = "global"
    options: Mapping[str, Option] = field(default_factory=lambda: defaults_of("two-way").options)


@dataclass(frozen=True)
class OptimizerRecipe:
    """`[optimizer]`."""

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.0  # of the new head, at its highest; 0 suits the loss
    backbone_rate: float = 0.1  # the backbone's learning rate as a share of the head's
    momentum: float = 0.9  # SGD's, with Nesterov's correction; AdamW's first beta
    weight_decay: float = 1e-4
    clip: float = 20.0  # largest norm of the gradient; 0 does not clip


@dataclass(frozen=True)
class ScheduleRecipe:
    """`[schedule]`: cosine per iteration after a linear warm-up."""

    epochs: int = 40
    batch_size: int = 0  # over all ranks together; 0 suits the data, see `suitable_batch_size`
    micro_batch: int = 0  # images that a rank's memory holds at once; 0 its whole share
    warmup: float = 0.05  # share of all iterations over which the rate rises from 0
    validate_every: int = 1  # epochs; the last one is always validated


@dataclass(frozen=True)
class TrainRecipe:
    """`[train]`: the run itself."""

    seed: int = 0
    precision: Literal["auto", "float32", "bf16"] = "auto"  # auto: bf16 where the device has it
    ema: float = 0.0  # decay of the moving average of the weights per iteration; 0 keeps none
    compile: bool = False  # torch.compile
    threads: int = 0  # of torch on a CPU, on each rank; 0 leaves torch's choice, every core
    workers: int = -1  # image loading processes on each rank; -1 suits the machine


@dataclass(frozen=True)
class Recipe:
    """All sections of a recipe."""

    data: DataRecipe = field(default_factory=DataRecipe)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    image: ImageRecipe = field(default_factory=ImageRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)

    def to_toml(self) -> str:
        """Every section and key, with its value."""
        lines = []
        for section in fields(self):
            lines.append(f"[{section.name}]")
            table = getattr(self, section.name)
            values = {key.name: getattr(table, key.name) for key in fields(table)}
            values |= values.pop("options", {})
            lines += [
                f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None
            ]
            lines.append("")
        return "\n".join(lines)

    def with_settings(self, settings: Iterable[str]) -> Recipe:
        """The recipe with `section.key=value` settings, as `--set` takes them.

        Raises:
            RecipeError: not of that form, an unknown key, or a value that does not fit.
        """
        recipe = self
        for setting in settings:
            key, equals, text = setting.partition("=")
            section, dot, name = key.strip().partition(".")
            if not equals or not dot:
                raise RecipeError(f"--set {setting}: expected section.key=value")
            tables = {section: {name: _value(text.strip())}}
            recipe = recipe.merged(tables, place=f"--set {setting}")
        return recipe

    def merged(self, tables: Mapping[str, Any], *, place: str) -> Recipe:
        """The recipe with some keys changed.

        Args:
            tables: values by section and key.
            place: where they come from, for error messages.

        Raises:
            RecipeError: an unknown key, or a value that does not fit.
        """
        recipe = self
        sections = {section.name for section in fields(self)}
        for name, table in tables.items():
            if name not in sections:
                hint = did_you_mean(name, sections)
                raise RecipeError(f"{place}: no section '{name}' in a recipe{hint}")
            if not isinstance(table, dict):
                raise RecipeError(f"{place}: '{name}' is a section, expected [{name}]")
            fill = _fill_loss if name == "loss" else _fill
            section: Any = fill(getattr(recipe, name), table, place, name)
            recipe = replace(recipe, **{name: section})
        _check(recipe, place)
        return recipe

    def suited(self, *, images: int, labels: int) -> Recipe:
        """The recipe with a batch size and a learning rate where it leaves them open."""
        batch_size = self.schedule.batch_size or suitable_batch_size(images)
        rate = self.optimizer.learning_rate or suitable_rate(
            self.loss.name, self.loss.options, labels=labels, batch_size=min(batch_size, images)
        )
        return replace(
            self,
            schedule=replace(self.schedule, batch_size=batch_size),
            optimizer=replace(self.optimizer, learning_rate=rate),
        )


def suitable_batch_size(images: int) -> int:
    """The largest power of two with a hundred batches in an epoch, from 64 to the authors' 512.

    Example:
        >>> [suitable_batch_size(images) for images in (2_500, 20_000, 82_000)]
        [64, 128, 512]
    """
    batches = max(1, images // 100)
    return min(512, max(64, 1 << (batches.bit_length() - 1)))


def read_recipe(path: Path, *, base: Recipe | None = None) -> Recipe:
    """Read a TOML recipe; keys that it leaves out keep the value of `base`.

    Raises:
        RecipeError: the file is missing or not TOML, has an unknown key, or a value that
            does not fit its key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        tables = parse_toml(text)
    except OSError as error:
        raise RecipeError(f"{path}: cannot read the recipe ({error.strerror})") from error
    except ValueError as error:
        raise RecipeError(f"{path}: not a TOML recipe ({error})") from error
    return (base or Recipe()).merged(tables, place=str(path))


def _fill(section: Any, table: Mapping[str, Any], place: str, name: str) -> Any:
    assert is_dataclass(section) and not isinstance(section, type)
    types = get_type_hints(type(section))
    values = {}
    for key, value in table.items():
        if key not in types:
            hint = did_you_mean(key, types)
            raise RecipeError(f"{place}: no key '{key}' in [{name}]{hint}")
        values[key] = _fitted(value, types[key], f"{place}: {name}.{key}")
    return replace(section, **values)


def _fill_loss(loss: LossRecipe, table: Mapping[str, Any], place: str, name: str) -> LossRecipe:
    own = {key: value for key, value in table.items() if key in ("name", "class_scope")}
    filled: LossRecipe = _fill(loss, own, place, name)
    options = defaults_of(filled.name, f"{place}: loss.name").options
    if filled.name == loss.name:
        options = loss.options
    given = {
        key: checked_option(filled.name, key, value, place)
        for key, value in table.items()
        if key not in own
    }
    return replace(filled, options={**options, **given})


def _fitted(value: Any, kind: Any, place: str) -> Any:
    """The value as its key's type, which may be a Literal."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            hint = did_you_mean(str(value), get_args(kind))
            raise RecipeError(f"{place} is '{value}', expected {' or '.join(get_args(kind))}{hint}")
        return value
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise RecipeError(f"{place} is {json.dumps(value, default=str)}, expected {kind.__name__}")
    return value


def _value(text: str) -> Any:
    """A TOML value; a bare word is a string."""
    try:
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text


def _check(recipe: Recipe, place: str) -> None:
    """Raise RecipeError for a number outside its range."""
    bounds: tuple[tuple[str, float, float], ...] = (
        ("data.holdout", 1e-9, 1 - 1e-9),
        ("image.size", 8, 4096),
        ("image.resize", recipe.image.size, 8192),
        ("augment.min_scale", 1e-3, 1),
        ("augment.max_stretch", 1, 10),
        ("augment.flip", 0, 1),
        ("augment.jitter", 0, 1),
        ("augment.lighting", 0, 10),
        ("optimizer.learning_rate", 0, 1e3),
        ("optimizer.backbone_rate", 0, 1e3),
        ("optimizer.momentum", 0, 1 - 1e-9),
        ("optimizer.weight_decay", 0, 1e3),
        ("optimizer.clip", 0, 1e9),
        ("schedule.epochs", 1, 10**6),
        ("schedule.batch_size", 0, 2**31),
        ("schedule.micro_batch", 0, 2**31),
        ("schedule.warmup", 0, 1),
        ("schedule.validate_every", 1, 10**6),
        ("train.seed", 0, 2**63 - 1),
        ("train.ema", 0, 1 - 1e-9),
        ("train.threads", 0, 1024),
        ("train.workers", -1, 1024),
    )
    for key, low, high in bounds:
        section, name = key.split(".")
        value = getattr(getattr(recipe, section), name)
        if not low <= value <= high:
            raise RecipeError(f"{place}: {key} is {value}, expected {low:g} to {high:g}")
