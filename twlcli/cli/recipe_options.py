"""The options with which `twl train` and `twl compare` change a recipe."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twlcli.annotations.read_options import ReadOptions
from twlcli.cli.label_options import LABEL_OPTIONS, flags_of
from twlcli.errors import TwlError
from twlcli.recipe.names import HEAD_NAMES

if TYPE_CHECKING:
    from twlcli.recipe import Recipe, Setting

RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="The recipe to start from: a TOML file, or a name from `twl recipe list`.",
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A torchvision classification network (`twl doctor --backbones` lists them), "
        "timm:NAME, hf-hub:ORG/NAME, or module:function of your own [default: resnet50]",
    ),
]
Head = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=f"What makes logits of the backbone's features: {' or '.join(HEAD_NAMES)}, which is "
        f"timm's [default: {HEAD_NAMES[0]}]",
    ),
]
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        help="Import a network or loss module:function also where a recipe or run names it. "
        "Its code runs with your rights.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Initial weights: default (downloaded), none (random), a file, or a run folder, from "
        "which labels that it knows are kept [default: default]",
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(metavar="N", help="Passes over the training images [default: 40]"),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Images per step, over all ranks together [default: suits the data]"
    ),
]


def _number_or_name(text: str) -> Any:
    """What the recipe then checks."""
    try:
        return int(text)
    except ValueError:
        return text


MicroBatch = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        parser=_number_or_name,
        help="Images in a rank's memory at once, or auto for the most that a GPU has memory for; "
        "the gradient stays that of the whole batch [default: the rank's share of a batch]",
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        metavar="RATE",
        help="Peak learning rate of the head; the backbone gets a tenth of it [default: suits the "
        "loss and the batch size]",
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Side of the network's square input; images are resized to 8/7 of it before the crop "
        "[default: 224]",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", help="Image loading processes per rank [default: suits the machine]"),
]
CheckpointActivations = Annotated[
    bool,
    typer.Option(
        "--checkpoint-activations",
        help="Compute each block of the network again in the backward pass: less memory, more "
        "time, the same gradient.",
    ),
]
SyncBn = Annotated[
    bool,
    typer.Option(
        "--sync-bn",
        help="On several GPUs: batch norm's statistics are those of all ranks together.",
    ),
]
Frozen = Annotated[
    bool,
    typer.Option(
        "--frozen",
        help="Leave the backbone as it is: images go through it once, and the head is found "
        "exactly, in minutes.",
    ),
]
Views = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Of --frozen: views of each training image, its centre and random crops [default: 1]",
    ),
]
Features = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Of --frozen: where the images' features are kept for other runs [default: the user's "
        "cache]",
    ),
]
Device = Annotated[
    str, typer.Option(metavar="NAME", help="Device to run on: auto, cuda, cuda:N, mps or cpu.")
]
Splits = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Use a split again: that of a run folder, or a table of image and split. Images that "
        "it does not name are for training.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Set any key of the recipe (repeatable); `twl recipe show` lists them.",
        metavar="SECTION.KEY=VALUE",
    ),
]
# Where the flags stand in a recipe.
_KEYS = {
    **{option.flag[2:]: ("data", name) for name, option in LABEL_OPTIONS.items()},
    "splits": ("data", "splits"),
    "backbone": ("model", "backbone"),
    "weights": ("model", "weights"),
    "head": ("model", "head"),
    "size": ("image", "size"),
    "loss": ("loss", "name"),
    "epochs": ("schedule", "epochs"),
    "batch-size": ("schedule", "batch_size"),
    "micro-batch": ("schedule", "micro_batch"),
    "learning-rate": ("optimizer", "learning_rate"),
    "seed": ("train", "seed"),
    "precision": ("train", "precision"),
    "workers": ("train", "workers"),
    "compile": ("train", "compile"),
    "checkpoint-activations": ("train", "checkpoint_activations"),
    "sync-bn": ("train", "sync_batch_norm"),
    "frozen": ("model", "frozen"),
    "views": ("frozen", "views"),
}
_OF_TRAINING = (
    *("epochs", "batch-size", "micro-batch", "learning-rate"),
    *("precision", "compile", "checkpoint-activations", "sync-bn"),
)


def check_frozen(flags: Mapping[str, Any]) -> None:
    """Raise TwlError for an option that trains the backbone."""
    for name in _OF_TRAINING:
        if flags.get(name) is not None:
            raise TwlError(f"--{name} does nothing with --frozen, which trains no backbone")


def check_of_frozen(recipe: Recipe, given: Mapping[str, Any]) -> None:
    """Raise TwlError for an option that only a frozen backbone has, where it is not."""
    for name, value in given.items():
        if value is not None and not recipe.model.frozen:
            raise TwlError(f"--{name} does nothing without --frozen")


@contextmanager
def flags_named(flags: Mapping[str, Any]) -> Iterator[None]:
    """Raise errors about keys of the recipe with the flags that were given in their place."""
    given = [flag for flag, value in flags.items() if value is not None]
    keys = {".".join(_KEYS[flag]): f"--{flag}" for flag in given}
    try:
        yield
    except TwlError as error:
        if error.message.startswith(tuple(f"{key} " for key in keys)):
            for key, flag in keys.items():
                error.message = re.sub(rf"\b{re.escape(key)}\b", flag, error.message)
        raise


def settings_of(
    reading: ReadOptions, flags: Mapping[str, Any], settings: list[str] | None
) -> list[Setting]:
    """What flags and `--set` change in a recipe; of both for the same key, `--set` counts.

    Args:
        reading: how labels are read.
        flags: other values by the flag's name without its dashes; None where it was not given.
        settings: of `--set`.

    Raises:
        RecipeError: a setting is not of the form `section.key=value`.
    """
    from twlcli.recipe import Setting

    flags = {**flags_of(reading), **flags}
    given = ((flag, value) for flag, value in flags.items() if value is not None)
    return [
        *(Setting(*_KEYS[flag], _plain(value), f"--{flag}") for flag, value in given),
        *(Setting.parse(text, place=f"--set {text}") for text in settings or []),
    ]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def resolved_recipe(
    data: Path,
    name: str | None,
    reading: ReadOptions,
    flags: Mapping[str, Any],
    settings: list[str] | None,
    *,
    allow_code: bool = False,
) -> Recipe:
    """The recipe that a command line asks for: `--recipe`, changed by flags and `--set`."""
    from twlcli.runs.resolve import resolved_recipe as resolved

    changes = settings_of(reading, flags, settings)
    return resolved(data, name, changes, place="DATA", allow_code=allow_code)
