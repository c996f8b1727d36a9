"""`twl train`."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twlcli.errors import MissingExtraError, TwlError

if TYPE_CHECKING:
    from twlcli.recipe import Recipe


def train(
    data: Annotated[
        Path | None,
        typer.Argument(help="Label file or folder; `twl data show DATA` says what is in it."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder [default: runs/DATA-BACKBONE]")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Recipe to start from: a TOML file, or a folder's name in models/."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with an interrupted run.", metavar="RUN")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Any torchvision classification network.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Pretrained weights: default (downloaded), none, or a file."),
    ] = None,
    loss: Annotated[str | None, typer.Option(help="two-way, sample-wise or class-wise.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images per step, over all ranks [default: suits the data]")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Highest rate of the head; the backbone has a tenth."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Side of the network's input in pixels; resizing follows as 8/7 of it."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the order, crops and new weights.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32 or bf16.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Image loading processes per rank; -1 suits the machine.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cuda, cuda:N, mps or cpu.")] = "auto",
    compile_: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any key of the recipe.", metavar="SECTION.KEY=VALUE"),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="Format of DATA [default: detected]")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder that image paths are relative to.")
    ] = None,
    coco_images: Annotated[
        Path | None, typer.Option(help="Folder of the photographs of a COCO file.")
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help="Between labels in a table's cell [default: detected]")
    ] = None,
) -> None:
    """Train a tagger; several GPUs with torchrun -m twlcli train.

    Example: twl train photos.csv --backbone resnet50 --epochs 20 --out runs/photos
    """
    # Threads that wait by spinning take the core that an image loader needs: with both cores of a
    # small machine busy, training was five times slower (measured). Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from twlcli.cli.training_run import run_training
    except ModuleNotFoundError:
        raise MissingExtraError("training", "train") from None
    from twlcli.recipe import Recipe, read_recipe
    from twlcli.shipped import recipe_file
    from twlcli.training.run import Run

    flags: dict[str, tuple[str, dict[str, Any]]] = {
        "--format": ("data", {"format": format_}),
        "--images": ("data", {"images": _absolute(images)}),
        "--coco-images": ("data", {"coco_images": _absolute(coco_images)}),
        "--separator": ("data", {"separator": separator}),
        "--backbone": ("model", {"backbone": backbone}),
        "--weights": ("model", {"weights": _absolute_file(weights)}),
        "--loss": ("loss", {"name": loss}),
        "--epochs": ("schedule", {"epochs": epochs}),
        "--batch-size": ("schedule", {"batch_size": batch_size}),
        "--learning-rate": ("optimizer", {"learning_rate": learning_rate}),
        "--size": ("image", {"size": size, "resize": size and round(size * 8 / 7)}),
        "--seed": ("train", {"seed": seed}),
        "--precision": ("train", {"precision": precision}),
        "--workers": ("train", {"workers": workers}),
        "--compile": ("train", {"compile": compile_ or None}),
    }
    given = {
        flag: {section: values}
        for flag, (section, values) in flags.items()
        if all(value is not None for value in values.values())
    }
    if resume is not None:
        if data or out or recipe or given or settings:
            raise TwlError("--resume goes on with the run's own recipe; give it no other options")
        run_training(lambda: Run.open(resume), device=device, resumed=True)
        return
    if data is None:
        raise TwlError("expected DATA, a label file or folder (or --resume RUN)")
    resolved = Recipe() if recipe is None else read_recipe(recipe_file(recipe))
    resolved = resolved.merged({"data": {"path": _absolute(data)}}, place="DATA")
    for flag, tables in given.items():
        resolved = resolved.merged(tables, place=flag)
    resolved = resolved.with_settings(settings or [])
    run_training(
        lambda: Run.create(out or _free_folder(data, resolved), resolved),
        device=device,
        resumed=False,
    )


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _absolute_file(weights: str | None) -> str | None:
    """Where a file of weights lies; a name that is not a file stays."""
    return weights if weights in (None, "default", "none") else str(Path(weights).resolve())


def _free_folder(data: Path, recipe: Recipe) -> Path:
    """`runs/DATA-BACKBONE`, or the first free of `-2`, `-3`..."""
    name = f"{data.resolve().stem}-{recipe.model.backbone}"
    folders = (Path("runs") / (f"{name}-{n}" if n > 1 else name) for n in itertools.count(1))
    return next(folder for folder in folders if not folder.exists())
