"""What `twl tag` says on stderr."""

from __future__ import annotations

import ctypes
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from twlcli.cli.printable import print_caveats, say
from twlcli.errors import TwlError
from twlcli.images.image_file import Failure
from twlcli.io import partial_path
from twlcli.stores.address import shown
from twlcli.tagging.outputs.fan_out import Tally
from twlcli.tagging.run import TagStart

FAILURES_SHOWN = 20
_ARGUMENT = re.compile(r"`([a-z_]+)`")  # in the reason of a failure
_DEFAULT_MODEL = (
    "the bundled model knows twenty everyday labels, such as person, dog and car; for your own use "
    "'twl train', 'twl export' and then --model FILE"
)


class Failures:
    """The images that failed, of which the first are shown in the end."""

    def __init__(self, errors: Path | str | None) -> None:
        """Begin with none; `errors` is the file that lists all."""
        self._errors = errors
        self.shown: list[Failure] = []
        self._missing: Counter[str] = Counter()  # for want of an extra, by reason

    def add(self, failure: Failure) -> None:
        """Take note of one."""
        if len(self.shown) < FAILURES_SHOWN:
            self.shown.append(failure)
        if "pip install" in failure.reason:
            self._missing[failure.reason] += 1

    def list(self, tally: Tally) -> None:
        """Say which they were."""
        more = tally.failed + tally.unwritten - len(self.shown)
        for failure in self.shown:
            say(f"failed: {failure.image}: {_ARGUMENT.sub(_as_option, failure.reason)}")
        if more > 0:
            where = f"all in {self._errors}" if self._errors else "--errors FILE lists all"
            say(f"failed: {more:,} more ({where})")
        for reason, count in self._missing.items():
            if count > 1:
                say(f"failed: {count:,} files in all: {reason}")


class TagReport:
    """Watches a run: its progress, what failed, and how it ended."""

    def __init__(
        self, *, default_model: bool, tables: list[Path], errors: Path | str | None, streams: bool
    ) -> None:
        """Begin with nothing done.

        Args:
            default_model: whether no model was named.
            tables: the files of the tables of tags.
            errors: the file of the table of failures.
            streams: whether rows go to the standard output.
        """
        self._default_model = default_model
        self._tables = tables
        self._failures = Failures(errors)
        self._streams = streams
        self._start: TagStart | None = None
        self._tally = Tally()
        self._show: Callable[[Tally], None] = lambda tally: None
        self._bar = ExitStack()

    def began(self, start: TagStart) -> None:
        """Take note of what runs, and draw a bar if stderr is a terminal that rows do not scroll.

        A single call of the model is done before a bar, which takes 50 ms to load, would be there.
        """
        _return_freed_memory()
        self._start = start
        if self._default_model:
            say(_DEFAULT_MODEL)
        for upload in start.uploads:
            say(
                f"{shown(upload.address)} is uploaded once it is complete; until then {upload.file}"
            )
        if start.uploads and start.journal is not None:
            say(f"progress is recorded in {start.journal}")
        if start.never_given:
            say(start.never_given)
        if start.is_short or not sys.stderr or not sys.stderr.isatty():
            return
        if not (self._streams and sys.stdout and sys.stdout.isatty()):
            self._show = self._bar.enter_context(_progress(start))

    def advanced(self, tally: Tally) -> None:
        """Take note of how far the run has come."""
        self._tally = tally
        self._show(tally)

    def failed(self, failure: Failure) -> None:
        """Take note of an image that could not be tagged."""
        self._failures.add(failure)

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Say how the run in the block ended: what failed, a summary, and how it goes on."""
        try:
            with self._bar:
                yield
        except (KeyboardInterrupt, TwlError) as end:
            if self._start is None and isinstance(end, KeyboardInterrupt):
                say("interrupted")
            if self._start is not None:
                self._failures.list(self._tally)
                self._list_caveats(self._start)
                say(f"stopped early: {self._summary(self._start)}{self._way_on(self._start)}")
            raise
        assert self._start is not None
        self._failures.list(self._tally)
        self._list_caveats(self._start)
        say(self._summary(self._start))

    def _way_on(self, start: TagStart) -> str:
        if start.journal is not None:
            return f"; the same command continues from here ({start.journal})"
        partial = [str(partial_path(path)) for path in self._tables]
        return f"; the rows so far are in {', '.join(partial)}" if partial else ""

    def _list_caveats(self, start: TagStart) -> None:
        tally = self._tally
        if tally.damaged or tally.profiles_ignored:
            print_caveats(damaged=tally.damaged, profiles_ignored=tally.profiles_ignored)
        if start.left_out.folders or start.left_out.suffixes:
            for line in start.left_out.lines():
                say(line)

    def _summary(self, start: TagStart) -> str:
        tally = self._tally
        total = tally.tagged + tally.failed
        stored = f", {tally.stored:,} of them in an earlier run" if tally.stored else ""
        parts = [f"{tally.tagged:,} tagged", *counts_beside(tally)]
        speed = f" ({tally.images_per_second:.1f} images/s)" if tally.images_per_second else ""
        return (
            f"{total:,} {'image' if total == 1 else 'images'}{stored}: {', '.join(parts)}, "
            f"in {tally.seconds:.1f} s{speed}; model {start.model} on {start.provider}"
        )


def _as_option(found: re.Match[str]) -> str:
    """How `twl tag` names what the library calls an argument."""
    return f"--{found[1].replace('_', '-')}"


def counts_beside(tally: Tally) -> Iterator[str]:
    """How many images failed and how many sidecars were written, in words."""
    yield f"{tally.failed:,} failed"
    if tally.unwritten:
        yield f"{tally.unwritten:,} not written to every output"
    if tally.sidecars or (tally.sidecars_unchanged and not tally.photographs):
        yield f"{tally.sidecars:,} {'sidecar' if tally.sidecars == 1 else 'sidecars'} written"
    if tally.photographs:
        photographs = "photograph" if tally.photographs == 1 else "photographs"
        yield f"{tally.photographs:,} {photographs} written"
    if tally.sidecars_unchanged:
        yield f"{tally.sidecars_unchanged:,} unchanged"


@contextmanager
def _progress(start: TagStart) -> Iterator[Callable[[Tally], None]]:
    """A bar of images; how many there are is counted beside the work."""
    from twlcli.cli.progress import image_bar

    with image_bar() as (show, set_total):
        ended = threading.Event()
        counter = threading.Thread(target=_count, args=(start, ended, set_total), daemon=True)
        counter.start()
        try:
            yield lambda tally: show(tally.tagged + tally.failed, tally.images_per_second)
        finally:
            ended.set()
            counter.join()


def _count(start: TagStart, ended: threading.Event, tell: Callable[[int], None]) -> None:
    """Walk through the images a second time to learn how many there are."""
    if start.count is None:
        return
    total = 0
    try:
        for _ in start.count():
            if ended.is_set():
                return
            total += 1
    except TwlError:  # a folder has gone meanwhile; the bar stays without an end
        return
    tell(total)


def _return_freed_memory() -> None:
    """Give the system the memory that loading a model has freed, which glibc would keep.

    Two threads with ResNet-50, two images each, then hold 193 MB in place of 342.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
