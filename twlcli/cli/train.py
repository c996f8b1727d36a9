"""`twl train`: train a tagger on labelled images."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.cli import options as shared
from twlcli.cli import recipe_options as options
from twlcli.cli.label_options import with_label_options
from twlcli.cli.recipe import show_keys
from twlcli.errors import TwlError, check_extra
from twlcli.recipe.names import LOSS_NAMES, is_code

if TYPE_CHECKING:
    from twlcli.runs.run_folder import Run


@with_label_options
def train(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA", parser=shared.on_disk, help=f"Images to train on. {shared.DATA_HELP}"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Run folder to write [default: runs/DATA-BACKBONE]"),
    ] = None,
    recipe: options.RecipeName = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Continue a run where it was last saved. DATA where its data were moved; --epochs "
            "for more of them.",
        ),
    ] = None,
    auto_resume: Annotated[
        bool,
        typer.Option(
            "--auto-resume",
            help="Continue the run in --out where there is one, so that a scheduler can start the "
            "same command again.",
        ),
    ] = False,
    backbone: options.Backbone = None,
    weights: options.Weights = None,
    head: options.Head = None,
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"One of {', '.join(LOSS_NAMES)}, or module:function of your own "
            f"[default: {LOSS_NAMES[0]}]",
        ),
    ] = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    micro_batch: options.MicroBatch = None,
    learning_rate: options.LearningRate = None,
    size: options.Size = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Random seed for shuffling, augmentation and weight initialisation [default: 0]",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="float32 or bf16 [default: bf16 where the hardware supports it]",
        ),
    ] = None,
    workers: options.Workers = None,
    device: options.Device = "auto",
    compile_: Annotated[
        bool,
        typer.Option("--compile", help="Compile the network, and the changes of colour before it."),
    ] = False,
    checkpoint_activations: options.CheckpointActivations = False,
    sync_bn: options.SyncBn = False,
    frozen: options.Frozen = False,
    views: options.Views = None,
    features: options.Features = None,
    then_finetune: Annotated[
        bool,
        typer.Option(
            "--then-finetune",
            help="With --frozen: then train the whole network, from the head that was found.",
        ),
    ] = False,
    settings: options.Settings = None,
    allow_code: options.AllowCode = False,
    help_recipe: Annotated[
        bool,
        typer.Option(
            "--help-recipe", callback=show_keys, is_eager=True, help="Show every key of a recipe."
        ),
    ] = False,
    reading: ReadOptions = DEFAULTS,
    splits: options.Splits = None,
) -> None:
    """Train a tagger on labelled images.

    On several GPUs: torchrun --nproc-per-node 4 -m twlcli train DATA.

    Example: twl train photos.csv --backbone resnet50 --epochs 20 --out runs/photos
    """
    flags = {
        "splits": splits,
        "backbone": backbone,
        "weights": weights,
        "head": head,
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
        "checkpoint-activations": checkpoint_activations or None,
        "sync-bn": sync_bn or None,
    }
    if frozen and not then_finetune:
        options.check_frozen(flags)
    flags |= {"frozen": frozen or None, "views": views}
    restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0))
    if resume is not None:
        if out or recipe or then_finetune or auto_resume:
            raise TwlError("--resume continues a run in its folder, with its own recipe")
    elif data is None:
        raise TwlError(
            "nothing to train on; name DATA, a label file or a folder with labels, or --resume RUN"
        )
    elif auto_resume and out is None:
        raise TwlError("--auto-resume needs --out, where the run is found again")
    elif restarts and not auto_resume:
        raise TwlError("torchrun --max-restarts needs --auto-resume, to go on from what was saved")
    check_extra("training", "train", "torch")
    # Threads that wait by spinning take the core that an image loader needs: with both cores of a
    # small machine busy, training was five times slower (measured). Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from twlcli.cli.console import err
    from twlcli.cli.training_bars import Interrupts, TrainingBars
    from twlcli.errors import InterruptedRunError
    from twlcli.training.run import resume as resume_run
    from twlcli.training.run import train as train_new

    err.quiet = os.environ.get("RANK", "0") != "0"  # of several ranks one speaks
    interrupts = Interrupts()
    try:
        with options.flags_named(flags), TrainingBars() as bars, interrupts:
            if resume is not None:
                changes = options.settings_of(reading, flags, settings)
                run = resume_run(
                    *(resume, data),
                    settings=changes,
                    device=device,
                    features=features,
                    watcher=bars,
                    should_stop=interrupts,
                    allow_code=allow_code,
                )
            else:
                assert data is not None
                wanted = options.resolved_recipe(
                    data, recipe, reading, flags, settings, allow_code=allow_code
                )
                options.check_of_frozen(
                    wanted,
                    {
                        "then-finetune": then_finetune or None,
                        "views": views,
                        "features": features,
                    },
                )
                err.print(f"reading {data}")
                run = train_new(
                    wanted,
                    out=out,
                    device=device,
                    features=features,
                    then_finetune=then_finetune,
                    watcher=bars,
                    should_stop=interrupts,
                    allow_code=True,  # what is not the user's own was refused above
                    auto_resume=auto_resume,
                )
    except InterruptedRunError as stopped:
        given: dict[str, Any] = {
            "frozen": frozen,
            "then-finetune": then_finetune,
            "features": features,
            "views": views,
            "weights": weights,
        }
        err.print(f"{stopped}; {_how_to_go_on(stopped.folder, given)}")
        raise typer.Exit(interrupts.exit_code) from None
    except KeyboardInterrupt:
        err.print(interrupts.lost)
        raise typer.Exit(interrupts.exit_code) from None
    if not err.quiet:  # the first rank writes what is read here
        _print_result(run)


def _how_to_go_on(folder: Path, given: Mapping[str, Any]) -> str:
    """What to type after an interruption.

    Args:
        folder: the run's that was stopped.
        given: options of the command line that are about a frozen backbone or the weights.
    """
    from twlcli.runs.run_folder import Run

    recipe = Run.open(folder).recipe
    frozen, place = recipe.model.frozen, shlex.quote(str(folder))
    again = f"twl train --resume {place}"
    if frozen and given["features"]:
        again += f" --features {shlex.quote(str(given['features']))}"
    if is_code(recipe.model.backbone) or is_code(recipe.loss.name):
        again += " --allow-code"
    if not (frozen and given["then-finetune"]):
        return f"continue with: {again}"
    instead = f"--weights {place}{'' if given['frozen'] else ' --set model.frozen=false'}"
    return (
        f"continue with: {again}; then fine-tune with the same command, {instead} in place of "
        f"{_typed(given)}"
    )


def _typed(given: Mapping[str, Any]) -> str:
    """Options as they were given on the command line."""
    return " ".join(
        f"--{name}" if value is True else f"--{name} {shlex.quote(str(value))}"
        for name, value in given.items()
        if value not in (None, False)
    )


def _print_result(run: Run) -> None:
    from twlcli.cli.console import err
    from twlcli.cli.training_bars import scores_in_words
    from twlcli.model.checkpoint import read_spec
    from twlcli.runs.run_folder import PAGE_NAME

    provenance = read_spec(run.checkpoint).provenance
    best, frozen = provenance["validation"], run.recipe.model.frozen
    if frozen:
        kept = f"penalty {provenance['cross_validation']['penalty']:.3g}"
    else:
        kept = f"best epoch {best['epoch']}"
    err.print(f"{kept}: {', '.join(scores_in_words(best))}; kept in {run.checkpoint}")
    if unreadable := run.unreadable():
        count = len(unreadable)
        images = "image" if count == 1 else "images"
        err.print(f"{count:,} {images} cannot be read: {run.folder / 'unreadable.txt'}")
    if (run.folder / PAGE_NAME).exists():
        err.print(f"report: {run.folder / PAGE_NAME}")
    more = " --allow-code" if is_code(run.recipe.model.backbone) else ""
    err.print(f"next: twl eval {run.folder}{more}, twl export {run.folder}{more}")
