"""`twl compare`: which loss, or which setting, is best on one's own data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from twlcli.cli import options as shared
from twlcli.cli import recipe_options as options
from twlcli.errors import TwlError, did_you_mean, needs_extra
from twlcli.recipe.names import LOSS_NAMES

Losses = Annotated[str, typer.Option(help=f"Of {', '.join(LOSS_NAMES)}; or all.", metavar="A,B,C")]
Seeds = Annotated[int, typer.Option(min=1, help="Runs of each: with the seeds 0, 1, 2...")]
Grid = Annotated[
    list[str] | None,
    typer.Option(help="Compare values of a recipe's key too.", metavar="SECTION.KEY=A,B,C"),
]
SameRate = Annotated[
    bool,
    typer.Option(
        "--same-rate",
        help="The recipe's learning rate for all, instead of each its best on held-out "
        "training images.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder; the same call goes on in it [default: runs/compare-DATA]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print compare.json instead of a table.")]


def compare(
    data: shared.Data,
    losses: Losses = "two-way,softmax,bce,asl",
    seeds: Seeds = 3,
    grid: Grid = None,
    same_rate: SameRate = False,
    out: Out = None,
    as_json: AsJson = False,
    recipe: options.RecipeName = None,
    backbone: options.Backbone = None,
    weights: options.Weights = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    micro_batch: options.MicroBatch = None,
    learning_rate: options.LearningRate = None,
    size: options.Size = None,
    workers: options.Workers = None,
    device: options.Device = "auto",
    settings: options.Settings = None,
    format_: shared.Format = None,
    images: shared.Images = None,
    coco_images: shared.CocoImages = None,
    separator: shared.Separator = None,
) -> None:
    """Train several losses under one recipe and compare them.

    Every loss starts from the same weights and sees the same images in the same order, seed by
    seed. The scores are those of the last epoch on the validation split.

    Example: twl compare photos.csv --losses two-way,asl,bce --seeds 3
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in `twl train`
    with needs_extra("comparing", "train"):
        from twlcli.cli.comparison_run import run_comparison
    from twlcli.comparison.plan import Contest, contenders_of

    flags = {
        "format": format_,
        "images": images,
        "coco-images": coco_images,
        "separator": separator,
        "backbone": backbone,
        "weights": weights,
        "epochs": epochs,
        "batch-size": batch_size,
        "micro-batch": micro_batch,
        "learning-rate": learning_rate,
        "size": size,
        "workers": workers,
    }
    base = options.resolved_recipe(data, recipe, flags, settings)
    rate = base.optimizer.learning_rate
    if same_rate and not rate:
        raise TwlError("--same-rate: which one? Give --learning-rate")
    if learning_rate and not same_rate:
        raise TwlError("--learning-rate: give --same-rate too, or let each loss have its own")
    contest = Contest(
        out or Path("runs") / f"compare-{data.resolve().stem}",
        contenders_of(base, _names(losses), _grid(grid or [])),
        tuple(range(seeds)),
        rate if same_rate else None,
    )
    run_comparison(contest, device=device, as_json=as_json)


def _names(losses: str) -> list[str]:
    if losses == "all":
        return list(LOSS_NAMES)
    names = list(dict.fromkeys(name.strip() for name in losses.split(",") if name.strip()))
    for name in names:
        if name not in LOSS_NAMES:
            hint = did_you_mean(name, LOSS_NAMES) or f" ({', '.join(LOSS_NAMES)})"
            raise TwlError(f"--losses: '{name}' is not a loss{hint}")
    if not names:
        raise TwlError("--losses: expected names of losses with commas between")
    return names


def _grid(settings: list[str]) -> dict[str, list[str]]:
    """Values by key, of several `section.key=a,b,c`."""
    grid = {}
    for setting in settings:
        key, equals, values = setting.partition("=")
        section, dot, _ = key.partition(".")
        listed = [value.strip() for value in values.split(",") if value.strip()]
        if not equals or not dot or not section or not listed:
            raise TwlError(f"--grid {setting}: expected section.key=value,value,...")
        grid[key] = listed
    return grid
