"""A training in the terminal: progress and Ctrl-C."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from twlcli.cli.app import TRY_AGAIN
from twlcli.cli.console import err
from twlcli.errors import TwlError
from twlcli.labels import counted
from twlcli.runs.run_folder import PAGE_NAME
from twlcli.scoring.report import percent

if TYPE_CHECKING:
    from twlcli.training.watcher import TrainStart

_SOME = 3  # names shown of a list that may be long
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ENOUGH_IMAGES, _ENOUGH_SECONDS = 50, 1.0  # for a rate; with fewer it is that of the start
_ECHO = 2.0  # seconds in which torchrun repeats to its ranks the signal that the terminal sent


class TrainingBars:
    """Watches a training: bars on a terminal, one line per epoch elsewhere."""

    def __init__(self) -> None:
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self.epochs = self.validation_count = 0
        self.last = ""  # the last validation's score
        self.training: TaskID | None = None
        self.validating: TaskID | None = None

    def __enter__(self) -> TrainingBars:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def began(self, start: TrainStart) -> None:
        """Say what was loaded."""
        schedule, frozen = start.run.recipe.schedule, start.run.recipe.model.frozen
        self.epochs, self.validation_count = schedule.epochs, start.validation
        many = f", {start.ranks} ranks" if start.ranks > 1 else ""
        if start.resumed:
            err.print(f"continuing {start.run.folder}")
        what = "finding the head of a frozen backbone" if frozen else "training"
        err.print(f"{start.run.folder}: {what} on {start.device} in {start.precision}{many}")
        if not frozen:
            err.print(f"follow it in a browser: {start.run.folder / PAGE_NAME}")
        err.print(start.read)
        held_out = " held out" if start.held_out else ""
        batches = "" if frozen else f" in batches of {schedule.batch_size}"
        err.print(
            f"{start.training:,} training images{batches}, "
            f"{start.validation:,} validation images{held_out}"
        )
        if start.weights is None:
            model = start.run.recipe.model
            kept = "random" if model.weights == "none" else f"those of {model.backbone}"
            kept = "those that were saved" if start.resumed else kept
            err.print(f"weights: {kept}")
            return
        err.print(f"weights: {counted(start.weights.fitted, 'tensor', 'tensors')} loaded")
        if start.weights.labels_kept is not None:
            same, new = len(start.weights.labels_kept), len(start.weights.labels_new)
            err.print(f"  {counted(same, 'label', 'labels')} kept, {new:,} new")
        for what, names in (
            ("not in the file, left random", start.weights.missing),
            ("in the file, but not in the network", start.weights.unused),
        ):
            if names:
                more = f" and {len(names) - _SOME} more" if len(names) > _SOME else ""
                err.print(f"  {what}: {', '.join(names[:_SOME])}{more}")

    def noted(self, note: str, hint: str = "") -> None:
        """Print the note with the options' names."""
        print_note(note, hint)

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
        rate = _rate_in_words(self.images / elapsed) if elapsed else ""
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
            self.last = f"mAP@class {percent(record['map_class'])}"
            parts += scores_in_words(record)
        if (rate := record.get("images_per_second")) is not None:
            parts.append(_rate_in_words(rate))
        if best:
            parts.append("best")
        err.print("  ".join(parts))

    def extracted(self, done: int, total: int) -> None:
        """Advance the bar of features; it begins anew for each split."""
        if self.training is None:
            self.training = self.bars.add_task("features", total=total, note="")
        elapsed = self.bars.tasks[-1].elapsed or 0.0
        is_telling = done >= _ENOUGH_IMAGES and elapsed >= _ENOUGH_SECONDS
        note = _rate_in_words(done / elapsed) if is_telling else ""
        self.bars.update(self.training, completed=done, total=total, note=note)
        if done == total:
            self._remove()
            err.print(f"features computed: {total:,}{f', {note}' if note else ''}")

    def penalty_tried(self, record: dict[str, Any], best: bool) -> None:
        """Print the penalty's line."""
        parts = [
            f"penalty {record['penalty']:<8.3g}",
            f"cross-validated {'  '.join(scores_in_words(record))}",
            f"{record['iterations']} iterations",
            *([] if record["converged"] else ["not converged"]),
            *(["best"] if best else []),
        ]
        err.print("  ".join(parts))

    def _remove(self) -> None:
        for task in (self.training, self.validating):
            if task is not None:
                self.bars.remove_task(task)
        self.training = self.validating = None


def _rate_in_words(rate: float) -> str:
    return f"{rate:.{0 if rate >= 10 else 1}f} images/s"


def scores_in_words(record: Mapping[str, Any]) -> list[str]:
    """The scores that a record of an epoch has, in percent; a dash for NaN."""
    names = ("mAP@class", "mAP@sample", "top-1", "top-5")
    pairs = zip(("map_class", "map_sample", "top_1", "top_5"), names, strict=True)
    return [f"{name} {percent(record[key])}" for key, name in pairs if key in record]


def print_note(note: str, hint: str) -> None:
    """Print what a `Watcher` is told, with the options' names for the arguments in the hint."""
    advice = TwlError("", hint=hint).hinted(lambda name: f"--{name.replace('_', '-')}")
    err.print(f"note: {'; '.join(filter(None, (note, advice)))}")


class Interrupts:
    """Ctrl-C and termination: as long as it is entered, and from the first one on to the end.

    Calling it tells whether one came; whoever asks can save and stop. Before the first question
    there is nothing to save, and a signal stops at once, as a later one does. One that comes
    while the program is about to end cuts that short, and changes nothing about its code.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._first = 0.0
        self._asked = False

    def __call__(self) -> bool:
        """Whether a signal came."""
        self._asked = True
        return self._number is not None

    @property
    def lost(self) -> str:
        """What to say where a signal stopped at once."""
        lost = "what was not saved is lost" if self._asked else "nothing was done yet"
        return f"stopped at once; {lost}"

    @property
    def exit_code(self) -> int:
        """What the program ends with: after termination, the code that asks to be run again."""
        return TRY_AGAIN if self._number == signal.SIGTERM else 130

    def __enter__(self) -> Interrupts:
        self._before = [signal.signal(number, self._came) for number in _SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(_SIGNALS, self._before, strict=True):
            signal.signal(number, handler if self._number is None else self._came_late)

    def _came(self, number: int, frame: FrameType | None) -> None:
        again = self._number is not None and time.monotonic() - self._first > _ECHO
        if self._number is None:
            self._number, self._first = number, time.monotonic()
            if self._asked and not err.quiet:
                os.write(2, b"\ntwl: saving what is done, then stopping; again to stop at once\n")
        if again or not self._asked:
            raise KeyboardInterrupt

    def _came_late(self, number: int, frame: FrameType | None) -> None:
        os._exit(self.exit_code)
