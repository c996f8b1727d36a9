"""What `twl tag` says on stderr."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from twlcli.cli.printable import printable
from twlcli.errors import TwlError

if TYPE_CHECKING:
    from twlcli.tagging.outputs.fan_out import Tally
    from twlcli.tagging.tags import Failure

FAILURES_SHOWN = 20


class TagReport:
    """What a run says on stderr: its progress, what failed, and how it ended."""

    def __init__(
        self,
        *,
        model: str,
        tables: Sequence[Path | None],
        errors: Path | None,
        journal: Path | None,
        scan_again: Callable[[], Iterable[object] | None],
    ) -> None:
        """Begin with nothing done.

        Args:
            model: the model and what runs it, for the summary.
            tables: the files of the tables of tags; None is the standard output.
            errors: the file of the table of failures.
            journal: where the run goes on from.
            scan_again: the files once more, to count them; None if they come only once.
        """
        from twlcli.tagging.outputs.fan_out import Tally

        self._model = model
        self._tables = tables
        self._errors = errors
        self._journal = journal
        self._scan_again = scan_again
        self._tally = Tally()
        self._shown: list[Failure] = []
        self._show: Callable[[Tally], None] = lambda tally: None

    def say(self, text: str) -> None:
        """One line on stderr."""
        typer.echo(f"twl: {text}", err=True)

    @contextmanager
    def progress(self) -> Iterator[None]:
        """Draw a bar while the block runs, if stderr is a terminal that rows do not scroll."""
        from twlcli.cli.console import err, out

        if not err.is_terminal or (None in self._tables and out.is_terminal):
            yield
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.0f} images/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
        )
        task = bar.add_task("tag", total=None, rate=0.0)
        self._show = lambda tally: bar.update(
            task, completed=tally.tagged + tally.failed, rate=tally.images_per_second
        )
        ended = threading.Event()
        counter = threading.Thread(
            target=self._count, args=(ended, lambda total: bar.update(task, total=total))
        )
        with bar:
            counter.start()
            try:
                yield
            finally:
                ended.set()
                counter.join()

    def _count(self, ended: threading.Event, tell: Callable[[int], None]) -> None:
        """Walk the folders a second time, beside the work, to learn how many files there are."""
        total = 0
        try:
            files = self._scan_again()
            if files is None:
                return
            for _ in files:
                if ended.is_set():
                    return
                total += 1
        except TwlError:  # a folder has gone meanwhile; the bar stays without an end
            return
        tell(total)

    def advance(self, tally: Tally) -> None:
        """Take note of how far the run has come."""
        self._tally = tally
        self._show(tally)

    def fail(self, failure: Failure) -> None:
        """Take note of an image that could not be tagged."""
        if len(self._shown) < FAILURES_SHOWN:
            self._shown.append(failure)

    def finished(self) -> None:
        """Say what failed, and a summary."""
        self._list_failures()
        self.say(self._summary())

    @contextmanager
    def stops(self) -> Iterator[None]:
        """Say how far the run came, and how it goes on, if the block ends by Ctrl-C or an error."""
        try:
            yield
        except (KeyboardInterrupt, TwlError):
            self._list_failures()
            self.say(f"stopped early: {self._summary()}{self._way_on()}")
            raise

    def _way_on(self) -> str:
        from twlcli.io import partial_path

        if self._journal is not None:
            return f"; the same command goes on from here ({self._journal})"
        partial = [str(partial_path(path)) for path in self._tables if path is not None]
        return f"; the rows so far are in {', '.join(partial)}" if partial else ""

    def _list_failures(self) -> None:
        more = self._tally.failed + self._tally.unwritten - len(self._shown)
        for failure in self._shown:
            self.say(f"failed: {printable(failure.image)}: {printable(failure.reason)}")
        if more > 0:
            where = f"all in {self._errors}" if self._errors else "--errors FILE lists all"
            self.say(f"failed: {more:,} more ({where})")

    def _summary(self) -> str:
        tally = self._tally
        images = "image" if tally.tagged == 1 else "images"
        parts = [f"{tally.tagged:,} {images} tagged", f"{tally.failed:,} failed"]
        if tally.unwritten:
            parts.append(f"{tally.unwritten:,} without all their sidecars")
        if tally.stored:
            parts.append(f"{tally.stored:,} of them as before")
        speed = f" ({tally.images_per_second:.1f} images/s)" if tally.images_per_second else ""
        return f"{', '.join(parts)}, in {tally.seconds:.1f} s{speed}; {self._model}"
