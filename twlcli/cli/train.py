"""`twl train`."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twlcli.cli import recipe_options as options
from twlcli.cli.recipe import show_keys
from twlcli.errors import TwlError, needs_extra
from twlcli.recipe.names import LOSS_NAMES

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
    recipe: options.RecipeName = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with an interrupted run.", metavar="RUN")
    ] = None,
    backbone: options.Backbone = None,
    weights: options.Weights = None,
    loss: Annotated[str | None, typer.Option(help=f"One of {', '.join(LOSS_NAMES)}.")] = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    micro_batch: options.MicroBatch = None,
    learning_rate: options.LearningRate = None,
    size: options.Size = None,
    seed: Annotated[int | None, typer.Option(help="Of the order, crops and new weights.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32 or bf16.")] = None,
    workers: options.Workers = None,
    device: options.Device = "auto",
    compile_: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    settings: options.Settings = None,
    help_recipe: Annotated[
        bool,
        typer.Option(
            "--help-recipe", callback=show_keys, is_eager=True, help="Show every key of a recipe."
        ),
    ] = False,
    format_: options.Format = None,
    images: options.Images = None,
    coco_images: options.CocoImages = None,
    separator: options.Separator = None,
) -> None:
    """Train a tagger; several GPUs with torchrun -m twlcli train.

    Example: twl train photos.csv --backbone resnet50 --epochs 20 --out runs/photos
    """
    # Threads that wait by spinning take the core that an image loader needs: with both cores of a
    # small machine busy, training was five times slower (measured). Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with needs_extra("training", "train"):
        from twlcli.cli.training_run import run_training
    from twlcli.runs.run_folder import Run

    flags = {
        "format": format_,
        "images": images,
        "coco-images": coco_images,
        "separator": separator,
        "backbone": backbone,
        "weights": weights,
        "loss": loss,
        "epochs": epochs,
        "batch-size": batch_size,
        "micro-batch": micro_batch,
        "learning-rate": learning_rate,
        "size": size,
        "seed": seed,
        "precision": precision,
        "workers": workers,
        "compile": compile_ or None,
    }
    if resume is not None:
        given = any(value is not None for value in flags.values())
        if data or out or recipe or given or settings:
            raise TwlError("--resume goes on with the run's own recipe; give it no other options")
        run_training(lambda: Run.open(resume), device=device, resumed=True)
        return
    if data is None:
        raise TwlError("expected DATA, a label file or folder (or --resume RUN)")
    resolved = options.resolved_recipe(data, recipe, flags, settings)
    run_training(
        lambda: Run.create(out or _free_folder(data, resolved), resolved),
        device=device,
        resumed=False,
    )


def _free_folder(data: Path, recipe: Recipe) -> Path:
    """`runs/DATA-BACKBONE`, or the first free of `-2`, `-3`..."""
    name = f"{data.resolve().stem}-{recipe.model.backbone}"
    folders = (Path("runs") / (f"{name}-{n}" if n > 1 else name) for n in itertools.count(1))
    return next(folder for folder in folders if not folder.exists())
