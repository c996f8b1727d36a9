"""`twl compare`: compare losses or settings on your own data."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.cli import options as shared
from twlcli.cli import recipe_options as options
from twlcli.cli.label_options import with_label_options
from twlcli.cli.printable import echo_json_text
from twlcli.errors import TwlError
from twlcli.recipe.names import LOSS_NAMES, WITHOUT_MINIMUM

if TYPE_CHECKING:
    from twlcli.comparison.run import Compared

Losses = Annotated[
    str,
    typer.Option(
        metavar="A,B,C",
        help=f"The losses to compare: {', '.join(LOSS_NAMES)}, module:function of your own; "
        "or all.",
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Runs of each loss, with the seeds 0, 1, 2... [default: 3; with --frozen 1]",
    ),
]
Grid = Annotated[
    list[str] | None,
    typer.Option(
        help="Also compare values of a key of the recipe (repeatable).", metavar="SECTION.KEY=A,B,C"
    ),
]
SameRate = Annotated[
    bool,
    typer.Option(
        "--same-rate",
        help="Train all with one learning rate, that of --learning-rate or the recipe, instead of "
        "tuning it for each loss on held-out training images.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder to write; the same command continues in it [default: runs/compare-DATA]",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Dry run: every step, but on at most N training and N validation images and 2 epochs, "
        "in a separate folder.",
    ),
]
Pdf = Annotated[bool, typer.Option("--pdf", help="Also write the plots as PDF, for LaTeX.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print compare.json instead of a table.")]


@with_label_options
def compare(
    data: shared.Data,
    losses: Losses = "two-way,softmax,bce,asl",
    seeds: Seeds = None,
    grid: Grid = None,
    same_rate: SameRate = False,
    out: Out = None,
    limit: Limit = None,
    pdf: Pdf = False,
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
    frozen: options.Frozen = False,
    views: options.Views = None,
    features: options.Features = None,
    settings: options.Settings = None,
    allow_code: options.AllowCode = False,
    reading: ReadOptions = DEFAULTS,
    splits: options.Splits = None,
) -> None:
    """Train several losses under one recipe and compare them.

    For each seed, all losses start from the same weights and see the same images in the same order.
    The scores are those of the last epoch on the validation split. A table, a page and plots say
    which differences are statistically significant.

    Example: twl compare photos.csv --losses two-way,asl,bce --seeds 3
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in `twl train`
    import shlex

    from twlcli.cli.comparison_bar import ComparisonBar
    from twlcli.cli.console import err
    from twlcli.cli.training_bars import Interrupts
    from twlcli.comparison.run import compare as compare_candidates
    from twlcli.errors import InterruptedRunError

    flags = {
        "splits": splits,
        "backbone": backbone,
        "weights": weights,
        "epochs": epochs,
        "batch-size": batch_size,
        "micro-batch": micro_batch,
        "learning-rate": learning_rate,
        "size": size,
        "workers": workers,
    }
    if frozen:
        options.check_frozen(flags)
    flags |= {"frozen": frozen or None, "views": views}
    every = [name for name in LOSS_NAMES if not (frozen and name in WITHOUT_MINIMUM)]
    if learning_rate and not same_rate:
        raise TwlError("--learning-rate requires --same-rate; without it each loss has its own")
    err.quiet = os.environ.get("RANK", "0") != "0"  # of several ranks one speaks
    interrupts = Interrupts()
    try:
        with options.flags_named(flags), ComparisonBar() as bar, interrupts:
            wanted = options.resolved_recipe(
                data, recipe, reading, flags, settings, allow_code=allow_code
            )
            options.check_of_frozen(wanted, {"views": views, "features": features})
            if frozen and losses == "all":
                err.print(
                    f"note: {' and '.join(WITHOUT_MINIMUM)} have no minimum, and are left out"
                )
            compared = compare_candidates(
                wanted,
                losses=every if losses == "all" else _listed(losses),
                seeds=seeds,
                grid=_grid(grid or []),
                same_rate=same_rate,
                out=out,
                limit=limit,
                pdf=pdf,
                device=device,
                features=features,
                watcher=bar,
                should_stop=interrupts,
                allow_code=True,  # what is not the user's own was refused above
                command=shlex.join(["twl", *sys.argv[1:]]),
            )
    except InterruptedRunError as stopped:
        err.print(f"{stopped}; the same command continues in {bar.folder}")
        raise typer.Exit(interrupts.exit_code) from None
    except KeyboardInterrupt:
        err.print(interrupts.lost)
        raise typer.Exit(interrupts.exit_code) from None
    if not err.quiet:
        _print(compared, limit, as_json=as_json)


def _print(compared: Compared, limit: int | None, *, as_json: bool) -> None:
    from twlcli.cli.console import err, out, print_table
    from twlcli.cli.tables import comparison_table
    from twlcli.comparison.report import dry_run, notes
    from twlcli.comparison.run import JSON_NAME, PAGE_NAME

    if as_json:
        echo_json_text((compared.folder / JSON_NAME).read_text("utf-8"))
    else:
        print_table(comparison_table(compared.comparison))
        for note in (*notes(compared.comparison), *([dry_run(limit)] if limit else [])):
            out.print(note)
    others = f"{JSON_NAME}, compare.md, compare.tex, plots/*.svg"
    err.print(f"written: {compared.folder / PAGE_NAME}; beside it {others}")


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _grid(settings: list[str]) -> dict[str, list[str]]:
    """Values by key, of several `section.key=a,b,c`."""
    grid = {}
    for setting in settings:
        key, equals, values = setting.partition("=")
        section, dot, _ = key.partition(".")
        listed = _listed(values)
        if not equals or not dot or not section or not listed:
            raise TwlError(f"--grid {setting}: expected section.key=value,value,...")
        grid[key] = listed
    return grid
