"""The labelled images that `twl eval` and `twl export --int8` measure a model on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from twlcli.errors import TwlError

if TYPE_CHECKING:
    from twlcli.annotations.annotations import Annotations
    from twlcli.labels import Vocabulary
    from twlcli.scoring.evaluation import Unreadable

DEFAULT_SPLIT = "val"
FAILURES_SHOWN = 20


def open_labelled(
    model: Path,
    data: Path | None,
    split: str | None,
    vocabulary: Vocabulary,
    options: dict[str, Any],
    *,
    call: str,
) -> tuple[Annotations, str]:
    """The images to measure on, and the name of their split.

    Args:
        model: a run folder, checkpoint or exported model.
        data: a label file or folder; None for what the run was trained on.
        split: as given; None for the run's validation split, of DATA for `val`, and for all where
            there are no splits.
        vocabulary: the model's labels.
        options: how to read DATA, see `open_annotations`; None where one was not given.
        call: the command that names DATA, for error messages.

    Raises:
        TwlError: there is no DATA, it cannot be read, or has no such split or other labels.
    """
    from twlcli.annotations.builder import normal_split
    from twlcli.annotations.detect import open_annotations

    if data is not None:
        annotations = open_annotations(data, vocabulary=vocabulary, **options)
        default = DEFAULT_SPLIT
    elif any(value is not None for value in options.values()):
        raise TwlError(
            f"--format, --images, --coco-images and --separator are for DATA; name it: {call}"
        )
    elif not model.is_dir():
        raise TwlError(f"{model}: does not say what it was trained on; name the labels: {call}")
    else:
        from twlcli.training.run_folder import Run

        run = Run.open(model)
        annotations, default = run.data(), run.splits[1]
    name = normal_split(split) if split is not None else _default_split(annotations, default)
    return annotations.split(name), name


def _default_split(annotations: Annotations, default: str) -> str:
    names = annotations.split_names()
    if not names:
        return "all"
    if default not in names:
        raise TwlError(
            f"{annotations.source}: there is no split '{default}'; say which to take with "
            f"--split: {', '.join(names)} or all"
        )
    return default


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar of images on stderr while the block runs, if that is a terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from twlcli.cli.console import err

    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} images/s"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    task = bar.add_task("images", total=total, rate=0.0)
    with bar:
        yield lambda done: bar.update(task, advance=done, rate=bar.tasks[0].speed or 0.0)


def print_unreadable(unreadable: Sequence[Unreadable], *, more: str = "") -> None:
    """List the images that are in no score on stderr, the first of many; `more` says where all."""
    if not unreadable:
        return
    count = len(unreadable)
    what = (
        "1 image cannot be read and is"
        if count == 1
        else f"{count:,} images cannot be read and are"
    )
    typer.echo(f"twl: {what} not scored:", err=True)
    for each in unreadable[:FAILURES_SHOWN]:
        typer.echo(f"twl:   {each.image}: {each.reason}", err=True)
    if count > FAILURES_SHOWN:
        typer.echo(f"twl:   … and {count - FAILURES_SHOWN:,} more{more}", err=True)
