"""The options with which `twl train` and `twl compare` change a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from twlcli.recipe import Recipe, Setting

RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe", help="Recipe to start from: a TOML file, or a name of `twl recipe list`."
    ),
]
Backbone = Annotated[str | None, typer.Option(help="Any torchvision classification network.")]
Weights = Annotated[
    str | None, typer.Option(help="Pretrained weights: default (downloaded), none, or a file.")
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training images.")]
BatchSize = Annotated[
    int | None, typer.Option(help="Images per step, over all ranks [default: suits the data]")
]
MicroBatch = Annotated[
    int | None,
    typer.Option(help="Images in a rank's memory at once; the batch's gradient stays exact."),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        help="Highest rate of the head; the backbone has a tenth [default: suits the loss]"
    ),
]
Size = Annotated[
    int | None,
    typer.Option(help="Side of the network's input in pixels; resizing follows as 8/7 of it."),
]
Workers = Annotated[
    int | None, typer.Option(help="Image loading processes per rank; -1 suits the machine.")
]
Device = Annotated[str, typer.Option(help="auto, cuda, cuda:N, mps or cpu.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any key of the recipe; `twl recipe show` lists them.",
        metavar="SECTION.KEY=VALUE",
    ),
]
Format = Annotated[str | None, typer.Option("--format", help="Format of DATA [default: detected]")]
Images = Annotated[Path | None, typer.Option(help="Folder that image paths are relative to.")]
CocoImages = Annotated[Path | None, typer.Option(help="Folder of the photographs of a COCO file.")]
Separator = Annotated[
    str | None, typer.Option(help="Between labels in a table's cell [default: detected]")
]
# Where the flags stand in a recipe.
_KEYS = {
    "format": ("data", "format"),
    "images": ("data", "images"),
    "coco-images": ("data", "coco_images"),
    "separator": ("data", "separator"),
    "backbone": ("model", "backbone"),
    "weights": ("model", "weights"),
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
}


def settings_of(flags: Mapping[str, Any], settings: list[str] | None) -> list[Setting]:
    """What flags and `--set` change in a recipe; of both for the same key, `--set` counts.

    Args:
        flags: values by the flag's name without its dashes; None where it was not given.
        settings: of `--set`.

    Raises:
        RecipeError: a setting is not of the form `section.key=value`.
    """
    from twlcli.recipe import Setting

    given = ((flag, value) for flag, value in flags.items() if value is not None)
    return [
        *(Setting(*_KEYS[flag], _plain(value), f"--{flag}") for flag, value in given),
        *(Setting.parse(text, place=f"--set {text}") for text in settings or []),
    ]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def resolved_recipe(
    data: Path, name: str | None, flags: Mapping[str, Any], settings: list[str] | None
) -> Recipe:
    """The recipe that a command line asks for: `--recipe`, changed by flags and `--set`."""
    from twlcli.runs.resolve import resolved_recipe as resolved

    return resolved(data, name, settings_of(flags, settings), place="DATA")
