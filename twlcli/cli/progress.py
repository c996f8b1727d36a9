"""Progress on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from twlcli.cli.console import err


@contextmanager
def image_bar(
    total: int | None = None,
) -> Iterator[tuple[Callable[[int, float], None], Callable[[int], None]]]:
    """A bar of images while the block runs, if stderr is a terminal.

    Yields:
        A function that takes how many images are done and how many are done in a second, and one
        that takes how many there are in all, where `total` did not say.
    """
    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} images/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    task = bar.add_task("images", total=total, rate=0.0)
    with bar:
        yield (
            lambda done, rate: bar.update(task, completed=done, rate=rate),
            lambda images: bar.update(task, total=images),
        )


@contextmanager
def counting_bar(total: int) -> Iterator[Callable[[int], None]]:
    """An `image_bar` for those who say how many more images are done."""
    done = 0
    started = time.monotonic()
    with image_bar(total) as (show, _):

        def advance(count: int) -> None:
            nonlocal done
            done += count
            show(done, done / max(time.monotonic() - started, 1e-9))

        yield advance
