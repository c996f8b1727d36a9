"""What `twl tag` says on stderr."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from twlcli.errors import TwlError

if TYPE_CHECKING:
    from twlcli.tagging.pipeline import Tally
    from twlcli.tagging.writers import Failure

FAILURES_SHOWN = 20


class TagReport:
    """What a run says on stderr: its progress, what failed, and how it ended."""

    def __init__(
        self,
        *,
        model: str,
        out: Path | None,
        errors: Path | None,
        scan_again: Callable[[], Iterable[object]],
    ) -> None:
        from twlcli.tagging.pipeline import Tally

        self._model = model
        self._out = out
        self._errors = errors
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

        if not err.is_terminal or (self._out is None and out.is_terminal):
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
            for _ in self._scan_again():
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

    def stopped(self) -> None:
        """Say how far the run came, and where its rows are."""
        from twlcli.tagging.writers import partial_path

        self._list_failures()
        where = "" if self._out is None else f"; the rows so far are in {partial_path(self._out)}"
        self.say(f"stopped early: {self._summary()}{where}")

    def _list_failures(self) -> None:
        more = self._tally.failed - len(self._shown)
        for failure in self._shown:
            self.say(f"failed: {_printable(failure.image)}: {_printable(failure.reason)}")
        if more > 0:
            where = f"all in {self._errors}" if self._errors else "--errors FILE lists all"
            self.say(f"failed: {more:,} more ({where})")

    def _summary(self) -> str:
        tally = self._tally
        images = "image" if tally.tagged == 1 else "images"
        return (
            f"{tally.tagged:,} {images} tagged, {tally.failed:,} failed, in {tally.seconds:.1f} s "
            f"({tally.images_per_second:.1f} images/s); {self._model}"
        )


def _printable(text: str) -> str:
    """`text` on one line, without control codes and bytes that are not UTF-8."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
