"""Runs a comparison in the terminal: one bar over all trainings, then the report."""

from __future__ import annotations

import collections
import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from twlcli.cli.console import err, out
from twlcli.cli.tables import comparison_table
from twlcli.cli.training_bars import interrupts
from twlcli.comparison.page import write_page
from twlcli.comparison.plan import Contest, Outcome, scored
from twlcli.comparison.report import notes, to_dict
from twlcli.comparison.runner import GRID_FACTORS, compare
from twlcli.comparison.statistics import compare as compare_scores
from twlcli.io import write_whole
from twlcli.model.checkpoint import read_spec
from twlcli.recipe import Recipe
from twlcli.runs.run_folder import InterruptedRunError
from twlcli.training.devices import joined_ranks
from twlcli.training.trainer import TrainStart

JSON_NAME, PAGE_NAME = "compare.json", "compare.html"


def run_comparison(contest: Contest, *, device: str, as_json: bool) -> None:
    """Train what is to be compared and report; exit with 130 if interrupted."""
    with joined_ranks(device) as ranks:
        try:
            with _Bar(contest) as bar, interrupts() as interrupted:
                outcomes = compare(contest, ranks, bar, interrupted)
        except InterruptedRunError as stopped:
            if ranks.first:
                err.print(f"{stopped}; the same command goes on in {contest.folder}")
            raise typer.Exit(130) from None
        if ranks.first:
            _report(contest, outcomes, as_json=as_json)


def _report(contest: Contest, outcomes: tuple[Outcome, ...], *, as_json: bool) -> None:
    """Print the comparison and write `compare.json` and `compare.html` into its folder."""
    candidates, targets = scored(contest, outcomes)
    spec = read_spec(outcomes[0].runs[0].folder)
    with err.status("resampling the images"):
        comparison = compare_scores(candidates, targets, spec.vocabulary.names)
    text = json.dumps(to_dict(comparison), allow_nan=False, ensure_ascii=False, indent=1)
    write_whole(contest.folder / JSON_NAME, lambda file: file.write(text.encode()))
    page = contest.folder / PAGE_NAME
    recipe = outcomes[0].runs[0].recipe
    write_page(
        comparison,
        page,
        title=f"Losses on {Path(recipe.data.path).name}",
        command=shlex.join(["twl", *sys.argv[1:]]),
        facts=_facts(contest, recipe),
    )
    if as_json:
        typer.echo(text)
    else:
        out.print(comparison_table(comparison))
        for note in notes(comparison):
            out.print(note, markup=False)
    err.print(f"written: {page}, {contest.folder / JSON_NAME}")


def _facts(contest: Contest, recipe: Recipe) -> dict[str, str]:
    data, schedule = recipe.data, recipe.schedule
    rates = "one for all" if contest.rate else "each loss its own"
    return {
        "data": f"{data.path}, {data.train_split} to {data.validation_split}",
        "network": f"{recipe.model.backbone} at {recipe.image.size} pixels, "
        f"weights {recipe.model.weights}",
        "training": f"{schedule.epochs} epochs in batches of {schedule.batch_size}; "
        "the last epoch is scored",
        "learning rate": rates,
    }


class _Bar:
    """One bar over all trainings of a comparison, and a line for each that ended."""

    def __init__(self, contest: Contest) -> None:
        self.rates: collections.Counter[str] = collections.Counter()
        self.tuned = contest.rate is None
        each = len(contest.seeds) + (len(GRID_FACTORS) if self.tuned else 0)
        self.total = each * len(contest.contenders)
        self.ended = 0
        self.width = max(len(contender.name) for contender in contest.contenders)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self.task = self.bar.add_task("comparing", total=self.total, note="")

    def __enter__(self) -> _Bar:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def training_began(self, contender: str, what: str, epochs: int) -> None:
        """Name the training in the bar."""
        self.epochs = epochs
        self.bar.update(self.task, description=f"{contender}, {what}")

    def training_ended(self, contender: str, what: str, scores: Mapping[str, float]) -> None:
        """Advance the bar to whole trainings and print a line."""
        self.ended += 1
        if what.startswith("rate"):
            self.rates[contender] += 1
            self.total += self.rates[contender] > len(GRID_FACTORS)  # the grid grew
        self.bar.update(self.task, completed=self.ended, total=self.total, note="")
        shown = (
            f"{name} {100 * scores[key]:.2f}"
            for key, name in (("map_class", "mAP@class"), ("map_sample", "mAP@sample"))
            if key in scores
        )
        err.print(f"{contender:{self.width}}  {what:11}  {'  '.join(shown)}")

    def began(self, start: TrainStart) -> None:
        """Nothing to show: all trainings have the same data and weights."""

    def epoch_began(self, epoch: int, steps: int, first: int) -> None:
        """Know what a step is worth."""
        self.step = 1 / (self.epochs * steps)
        self.place = f"epoch {epoch + 1}/{self.epochs}"
        done = self.ended + epoch / self.epochs + first * self.step
        self.bar.update(self.task, completed=done)

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
