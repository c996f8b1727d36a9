"""What running a model may take: its file can ask for any time and any memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import onnxruntime

from twlcli.errors import ModelError
from twlcli.model.predictor import THREADS

SECONDS = 120.0  # for loading a model, and for each image of a call
GRACE = 10.0  # seconds in which what was asked to end may do so
_MEMORY_SHARE = 0.75  # of the machine's

Result = TypeVar("Result")


@cache
def limit_memory() -> bool:
    """Make the arena that sessions share if they ask for it: of `_MEMORY_SHARE` of the memory.

    Returns:
        Whether there is one; Windows does not say how much memory there is.
    """
    if not hasattr(os, "sysconf"):
        return False
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    onnxruntime.create_and_register_allocator(
        onnxruntime.OrtMemoryInfo(
            "Cpu",
            onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
            0,
            onnxruntime.OrtMemType.DEFAULT,
        ),
        onnxruntime.OrtArenaCfg({"max_mem": int(size * _MEMORY_SHARE)}),
    )
    return True


def in_time(
    work: Callable[[], Result], *, seconds: float | None, stop: Callable[[], object]
) -> Result:
    """What `work` returns or raises, from a thread of its own, so that signals are heard meanwhile.

    Args:
        work: what may not come to an end.
        seconds: what it may take; None for any.
        stop: asks it to end.

    Raises:
        TimeoutError: it took longer, whether it has ended or not.
    """
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name=THREADS, daemon=True).start()
    if wait([outcome], timeout=seconds).not_done:
        stop()
        wait([outcome], timeout=GRACE)
        raise TimeoutError
    return outcome.result()


@dataclass(eq=False)
class _Call:
    options: Any = field(default_factory=onnxruntime.RunOptions)
    must_end: float = 0.0  # by the monotonic clock, seconds
    asked: float | None = None  # when it was asked to end


class Calls:
    """The calls of a model that go on now, in whatever threads; others can end them."""

    def __init__(self) -> None:
        self._calls: dict[_Call, None] = {}

    @contextmanager
    def call(self, images: int) -> Iterator[Any]:
        """The `RunOptions` of a call with so many images, which goes on until the block ends.

        Raises:
            ModelError: it was ended because it took too long.
        """
        call = _Call(must_end=time.monotonic() + SECONDS * images)
        self._calls[call] = None
        try:
            yield call.options
        except Exception:
            if call.asked is not None and call.asked >= call.must_end:
                raise ModelError(too_long(images)) from None
            raise
        finally:
            del self._calls[call]

    def stop(self, *, late: bool = False) -> None:
        """Ask calls to end: all of them, or those alone that take too long.

        Raises:
            ModelError: one of them goes on all the same.
        """
        now = time.monotonic()
        for call in list(self._calls):
            if call.asked is None:
                if not late or now > call.must_end:
                    call.asked = now
                    call.options.terminate = True
            elif now > call.asked + GRACE:
                raise ModelError("the model does not come to an end")


def too_long(images: int) -> str:
    """That a call with so many images took too long."""
    return f"the model took more than {SECONDS * images:g} seconds for {images} images"
