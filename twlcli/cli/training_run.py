"""Runs a training in the terminal: progress, Ctrl-C, and what to do next."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from twlcli.cli.console import err
from twlcli.model.backbones import WeightsReport
from twlcli.training.devices import Ranks, autocast_dtype, joined_ranks
from twlcli.training.run_folder import Run
from twlcli.training.trainer import InterruptedRunError, Trainer

_SOME = 3  # names shown of a list that may be long
_ECHO = 2.0  # seconds in which torchrun repeats to its ranks the signal that the terminal sent


def run_training(begin: Callable[[], Run], *, device: str, resumed: bool) -> None:
    """Train the run that `begin` makes or opens, on all ranks; exit with 130 if interrupted."""
    with joined_ranks(device) as ranks:
        own = begin() if ranks.first else None
        folder = ranks.gather(own and own.folder)[0]
        run = own or Run.open(folder)
        try:
            with _Bars(run, ranks, resumed=resumed) as bars, interrupts() as interrupted:
                trainer = Trainer(run, ranks, bars, resumed=resumed)
                trainer.train(interrupted)
        except InterruptedRunError as stopped:
            if ranks.first:
                err.print(f"{stopped}; go on with: twl train --resume {run.folder}")
            raise typer.Exit(130) from None
        except BaseException:
            if ranks.first and not resumed:
                run.discard()
            raise
        if ranks.first:
            _say_what_is_there(run, trainer)


def _say_what_is_there(run: Run, trainer: Trainer) -> None:
    validated = [record for record in trainer.progress.history if "map_class" in record]
    best = max(validated, key=lambda record: record["map_class"])
    err.print(
        f"best epoch {best['epoch']}: mAP@class {100 * best['map_class']:.2f}, "
        f"mAP@sample {100 * best['map_sample']:.2f}; kept in {run.checkpoint}"
    )
    if trainer.progress.unreadable:
        count = len(trainer.progress.unreadable)
        err.print(f"{count} training images cannot be read: {run.folder / 'unreadable.txt'}")
    err.print(f"next: twl eval {run.folder}, twl export {run.folder}")


class _Bars:
    """Shows progress: bars on a terminal, one line per epoch elsewhere."""

    def __init__(self, run: Run, ranks: Ranks, *, resumed: bool) -> None:
        self.resumed = resumed
        self.run = run
        self.ranks = ranks
        self.epochs = run.recipe.schedule.epochs
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self.last = ""  # the last validation's score
        self.training: TaskID | None = None
        self.validating: TaskID | None = None
        self.validation_count = 0

    def __enter__(self) -> _Bars:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def began(self, report: WeightsReport | None, train: int, validation: int) -> None:
        """Say what was loaded."""
        self.validation_count = validation
        dtype = autocast_dtype(self.run.recipe.train.precision, self.ranks.device)
        name = str(dtype).removeprefix("torch.") if dtype else "float32"
        many = f", {self.ranks.world} ranks" if self.ranks.world > 1 else ""
        err.print(f"{self.run.folder}: training on {self.ranks.device} in {name}{many}")
        size = Run.open(self.run.folder).recipe.schedule.batch_size
        err.print(
            f"{train:,} training images in batches of {size}, {validation:,} validation images"
        )
        if report is None:
            err.print(
                "weights: those of the interrupted run" if self.resumed else "weights: random"
            )
            return
        err.print(f"weights: {report.fitted} tensors fitted")
        for what, names in (
            ("not in the file, left random", report.missing),
            ("in the file, but not in the network", report.unused),
        ):
            if names:
                more = f" and {len(names) - _SOME} more" if len(names) > _SOME else ""
                err.print(f"  {what}: {', '.join(names[:_SOME])}{more}")

    def epoch_began(self, epoch: int, steps: int, first: int) -> None:
        """Begin a bar of steps."""
        self._remove()
        title = f"epoch {epoch + 1}/{self.epochs}"
        self.training = self.bars.add_task(title, total=steps, completed=first, note=self.last)
        self.images = 0

    def step_ended(self, images: int, loss: float | None) -> None:
        """Advance the bar of steps."""
        assert self.training is not None
        self.images += images
        elapsed = self.bars.tasks[-1].elapsed or 0.0
        rate = f"{self.images / elapsed:.0f} images/s" if elapsed else ""
        shown = f"loss {loss:.3f}" if loss is not None else ""
        note = "  ".join(part for part in (shown, rate, self.last) if part)
        self.bars.update(self.training, advance=1, note=note)

    def validated(self, done: int) -> None:
        """Advance the bar of validation images."""
        if self.validating is None:
            total = self.validation_count
            self.validating = self.bars.add_task("validation", total=total, note="images")
        self.bars.update(self.validating, advance=done)

    def epoch_ended(self, record: dict[str, Any], best: bool) -> None:
        """Print the epoch's line."""
        self._remove()
        parts = [f"epoch {record['epoch']}/{self.epochs}", f"loss {record['loss']:.4f}"]
        if "map_class" in record:
            self.last = f"mAP@class {100 * record['map_class']:.2f}"
            parts += [self.last, f"mAP@sample {100 * record['map_sample']:.2f}"]
        parts += [f"{record['images_per_second']:.0f} images/s", *(["best"] if best else [])]
        err.print("  ".join(parts))

    def _remove(self) -> None:
        for task in (self.training, self.validating):
            if task is not None:
                self.bars.remove_task(task)
        self.training = self.validating = None


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and termination set a flag so that training can save; a later one stops at once."""
    first: float | None = None

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal first
        first = first or time.monotonic()
        if time.monotonic() - first > _ECHO:
            raise KeyboardInterrupt

    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, ask) for number in signals]
    try:
        yield lambda: first is not None
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
