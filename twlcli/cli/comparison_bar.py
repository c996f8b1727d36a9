"""A comparison in the terminal: one bar over all trainings, and a line for each that ended."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from twlcli.cli.console import err
from twlcli.cli.training_bars import print_note
from twlcli.comparison.plan import GRID_FACTORS, Plan, Training

if TYPE_CHECKING:
    from twlcli.training.watcher import TrainStart


class ComparisonBar:
    """Watches a comparison."""

    def __init__(self) -> None:
        self.rates: collections.Counter[str] = collections.Counter()
        self._noted: set[str] = set()
        self.total = self.ended = self.epochs = self.width = self.runs = 0
        self.folder: Path | None = None
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self.task = self.bar.add_task("comparing", total=None, note="")

    def __enter__(self) -> ComparisonBar:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def planned(self, plan: Plan) -> None:
        """Know how many trainings there are, as long as no grid of rates grows."""
        self.folder = plan.folder
        frozen = plan.candidates[0].recipe.model.frozen
        each = len(plan.seeds) + (0 if plan.rate or frozen else len(GRID_FACTORS))
        self.total = each * len(plan.candidates)
        self.width = max(len(candidate.name) for candidate in plan.candidates)
        if plan.limit:
            err.print(f"dry run on at most {plan.limit} images of each split, in {plan.folder}")

    def training_began(self, training: Training, epochs: int) -> None:
        """Name the training in the bar."""
        self.epochs = epochs
        self.bar.update(self.task, description=f"{training.candidate}, {_shown(training)}")

    def training_ended(self, training: Training, scores: Mapping[str, float]) -> None:
        """Advance the bar to whole trainings and print a line."""
        self.ended += 1
        if training.kind == "tuning":
            self.rates[training.candidate] += 1
            self.total += self.rates[training.candidate] > len(GRID_FACTORS)  # the grid grew
        self.bar.update(self.task, completed=self.ended, total=self.total, note="")
        shown = (
            f"{name} {100 * scores[key]:.2f}"
            for key, name in (("map_class", "mAP@class"), ("map_sample", "mAP@sample"))
            if key in scores
        )
        name = f"{training.candidate:{self.width}}"
        err.print(f"{name}  {_shown(training):11}  {'  '.join(shown)}")

    def resampled(self, runs: int) -> None:
        """Resampling follows the trainings; the bar is full."""
        self.runs += runs
        self.bar.update(self.task, description="resampling the images", note=f"run {self.runs}")

    def began(self, start: TrainStart) -> None:
        """Nothing to show: all trainings have the same data and weights."""

    def noted(self, note: str, hint: str = "") -> None:
        """Print the note with the options' names."""
        if note not in self._noted:  # every training of a comparison has the same images
            self._noted.add(note)
            print_note(note, hint)

    def epoch_began(self, epoch: int, steps: int, first: int) -> None:
        """Know what a step is worth."""
        self.step = 1 / (self.epochs * steps)
        self.place = f"epoch {epoch + 1}/{self.epochs}"
        done = self.ended + epoch / self.epochs + first * self.step
        self.bar.update(self.task, completed=done, total=self.total)

    def step_ended(self, images: int, loss: float | None) -> None:
        """Advance the bar."""
        note = f"{self.ended + 1}/{self.total}  {self.place}"
        self.bar.update(self.task, advance=self.step, note=note)

    def validated(self, done: int) -> None:
        """Validation is a small part of a training; the bar waits."""
        note = f"{self.ended + 1}/{self.total}  validation"
        self.bar.update(self.task, note=note)

    def epoch_ended(self, record: dict[str, Any], best: bool) -> None:
        """Epochs have no line of their own here."""

    def extracted(self, done: int, total: int) -> None:
        """Show how far the features are, which all trainings share."""
        self.bar.update(self.task, note=f"features {done:,}/{total:,}")

    def penalty_tried(self, record: dict[str, Any], best: bool) -> None:
        """Penalties have no line of their own here."""


def _shown(training: Training) -> str:
    if training.kind == "tuning":
        return f"rate {training.learning_rate:.3g}"
    return f"seed {training.seed}"
