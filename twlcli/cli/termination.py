"""Commands that SIGTERM ends as Ctrl-C does, in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer


class TerminatedError(KeyboardInterrupt):
    """SIGTERM has come; like Ctrl-C, with another exit code."""


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises `TerminatedError` inside the block, and both end with their exit codes.

    Raises:
        typer.Exit: with 143 for SIGTERM, 130 for Ctrl-C.
    """
    try:
        if threading.current_thread() is threading.main_thread():  # the only one that is asked
            with _handled():
                yield
        else:
            yield
    except KeyboardInterrupt as interrupt:
        raise typer.Exit(143 if isinstance(interrupt, TerminatedError) else 130) from None


@contextmanager
def _handled() -> Iterator[None]:
    def terminate(number: int, frame: FrameType | None) -> None:
        raise TerminatedError

    before: Callable[[int, FrameType | None], object] | int | None
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
