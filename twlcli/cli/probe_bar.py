"""Linear evaluation in the terminal: one bar, and a line for each model and image set."""

from __future__ import annotations

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from twlcli.cli.console import err
from twlcli.probing.result import HEADINGS, SELECTIONS, ProbeResult
from twlcli.scoring.report import percent


class ProbeBar:
    """Watches a linear evaluation."""

    def __init__(self) -> None:
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
        self.task = self.bar.add_task("reading", total=None, note="")

    def __enter__(self) -> ProbeBar:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def began(self, model: str, data: str, number: int, total: int) -> None:
        """Name the model and the set."""
        self.bar.reset(
            self.task, total=None, description=f"{model} on {data}", note=f"{number}/{total}"
        )

    def extracted(self, done: int, total: int) -> None:
        """Show how far the features are."""
        self.bar.update(self.task, completed=done, total=total, note=f"features {done:,}/{total:,}")

    def solved(self, done: int, total: int) -> None:
        """Show how many heads are found."""
        self.bar.update(self.task, completed=done, total=total, note=f"heads {done}/{total}")

    def noted(self, note: str) -> None:
        """Print the note."""
        err.print(f"note: {note}")

    def ended(self, result: ProbeResult, kept: bool) -> None:
        """Print the first score by both choices."""
        name = result.score_names[0]
        scores = "  ".join(
            f"{each} {percent(result.selected(each).scores[name])}" for each in SELECTIONS
        )
        known = "  (kept from before)" if kept else ""
        err.print(f"{result.model} on {result.data}: {HEADINGS[name]}  {scores}{known}")
