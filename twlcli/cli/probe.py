"""`twl probe`: how well frozen networks' features tell the labels of image sets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.cli import options as shared
from twlcli.cli import recipe_options as recipes
from twlcli.cli.label_options import with_label_options
from twlcli.cli.printable import echo_json_text
from twlcli.recipe.names import LOSS_NAMES, WITHOUT_MINIMUM

if TYPE_CHECKING:
    from twlcli.probing.run import Probed

_LOSSES = ", ".join(name for name in LOSS_NAMES if name not in WITHOUT_MINIMUM)

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODELS",
        help="Run folders, .safetensors checkpoints, or backbones: NAME with its downloaded "
        "weights, NAME=FILE with those of a file, NAME=none with random ones.",
        show_default=False,
    ),
]
Data = Annotated[
    list[str],
    typer.Option(
        metavar="DATA",
        help="An image set (repeatable): a label file or folder; or SET=FOLDER for aircraft, "
        "caltech101, cars, cub, dtd, flowers, food101, pets or sun397, as its download unpacks it.",
    ),
]
TrainSplit = Annotated[
    str, typer.Option(metavar="NAME", help="Training split of label files and folders.")
]
TestSplit = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Test split of label files and folders [default: test; val where there is none]",
    ),
]
Loss = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help=f"Loss where images have several labels: {_LOSSES}. Where each has one it is softmax.",
    ),
]
Standardise = Annotated[
    bool,
    typer.Option(
        "--standardise",
        help="Give all features mean 0 and deviation 1 first; the paper leaves them as they are.",
    ),
]
Penalties = Annotated[
    int, typer.Option(metavar="N", min=1, help="Penalties, equally spaced on a log scale.")
]
Weakest = Annotated[float, typer.Option(metavar="LAMBDA", help="The weakest penalty.")]
Strongest = Annotated[float, typer.Option(metavar="LAMBDA", help="The strongest penalty.")]
Tolerance = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="Norm of the gradient, as a share of that for a head of zeros, at which a head has "
        "converged.",
    ),
]
Iterations = Annotated[
    int, typer.Option(metavar="N", min=1, help="Iterations of L-BFGS for each head, at most.")
]
Seed = Annotated[
    int,
    typer.Option(metavar="N", min=0, help="Draws the held-out images, and random weights."),
]
Out = Annotated[
    Path, typer.Option(metavar="DIR", help="Folder to write; the same command continues in it.")
]
Features = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Where the images' features are kept for other runs [default: the user's cache]",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print probe.json instead of a table.")]


@with_label_options
def probe(
    models: Models,
    data: Data,
    train_split: TrainSplit = "train",
    test_split: TestSplit = None,
    loss: Loss = "softmax",
    standardise: Standardise = False,
    penalties: Penalties = 45,
    weakest: Weakest = 1e-6,
    strongest: Strongest = 1e5,
    tolerance: Tolerance = 1e-4,
    iterations: Iterations = 1000,
    seed: Seed = 0,
    size: recipes.Size = None,
    out: Out = Path("runs/probe"),
    features: Features = None,
    device: recipes.Device = "auto",
    as_json: AsJson = False,
    allow_code: shared.AllowCode = False,
    reading: ReadOptions = DEFAULTS,
) -> None:
    """Measure frozen networks by linear classifiers on their features.

    For each penalty a linear head is found to convergence. The best is told twice: chosen on the
    test images, as papers do, and on held-out training images.

    Example: twl probe resnet50 runs/photos --data cub=CUB_200_2011 --data photos.csv
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in `twl train`
    from twlcli.cli.console import err
    from twlcli.cli.probe_bar import ProbeBar
    from twlcli.cli.training_bars import Interrupts
    from twlcli.errors import InterruptedRunError
    from twlcli.probing.run import probe as evaluate_models

    interrupts = Interrupts()
    try:
        with ProbeBar() as bar, interrupts:
            probed = evaluate_models(
                list(models),
                list(data),
                train_split=train_split,
                test_split=test_split,
                loss=loss,
                standardise=standardise,
                penalties=penalties,
                weakest=weakest,
                strongest=strongest,
                tolerance=tolerance,
                iterations=iterations,
                seed=seed,
                size=size,
                out=out,
                features=features,
                device=device,
                watcher=bar,
                should_stop=interrupts,
                allow_code=allow_code,
                **reading.given(),
            )
    except InterruptedRunError as stopped:
        err.print(f"{stopped}; the same command continues in {out}")
        raise typer.Exit(interrupts.exit_code) from None
    except KeyboardInterrupt:
        err.print(f"stopped at once; the same command continues in {out}")
        raise typer.Exit(interrupts.exit_code) from None
    _print(probed, as_json=as_json)


def _print(probed: Probed, *, as_json: bool) -> None:
    from twlcli.cli.console import err, out, print_table
    from twlcli.cli.probe_table import probe_tables
    from twlcli.probing.report import notes
    from twlcli.probing.run import JSON_NAME, PAGE_NAME

    if as_json:
        echo_json_text((probed.folder / JSON_NAME).read_text("utf-8"))
    else:
        for table in probe_tables(probed.results):
            print_table(table)
        for note in notes(probed.results):
            out.print(note)
    err.print(f"written: {probed.folder / PAGE_NAME}; beside it {JSON_NAME}")
