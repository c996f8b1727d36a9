"""Work in threads that a signal can always end."""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK = 1.0  # seconds after which work that is awaited is looked at
_END = 0.1  # seconds after which work that shall end is asked again


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_memory() -> float:
    """The memory of the machine in bytes; infinite where it is not said, as on Windows."""
    if not hasattr(os, "sysconf"):
        return math.inf
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def in_threads(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int,
    name: str,
    ahead: int | None = None,
    ordered: bool = True,
    look: Callable[[], object] | None = None,
    end: Callable[[], object] | None = None,
) -> Generator[Result, None, None]:
    """Do work on items in several threads, and give what comes of each.

    `concurrent.futures` is not used, since its locks are taken in Python: where the exception of a
    signal comes at that moment one of them stays taken, and whoever wants it next waits for ever.
    Here the thread that waits takes none, and what it is told may get lost.

    Args:
        work: called in the threads, with an item at a time.
        items: drawn as threads come free.
        threads: how many there are.
        name: how the names of the threads begin.
        ahead: how many items are in work or wait at once; None is two for each thread.
        ordered: False gives results as they are there, so that one slow item holds up no other.
        look: called while a result is awaited, at least once a second.
        end: called when the generator has come to its end or is closed, and again until all
            threads have ended; it asks what is in work to end.

    Yields:
        A result for each item.

    Raises:
        Exception: what `work`, `look` or `end` raised.
    """
    crew = _Crew(work, threads, name)
    source = iter(items)
    try:
        crew.add(islice(source, ahead or 2 * threads))
        while crew.jobs:
            yield crew.next(ordered=ordered, look=look)
            crew.add(islice(source, 1))
    finally:
        crew.end(end)


class _Job(Generic[Item, Result]):
    """An item and, once it is done, what came of it."""

    result: Result

    def __init__(self, item: Item) -> None:
        self.item = item
        self.error: BaseException | None = None
        self.done = False

    def run(self, work: Callable[[Item], Result]) -> None:
        try:
            self.result = work(self.item)
        except BaseException as error:  # for the thread that waits
            self.error = error
        self.done = True

    def outcome(self) -> Result:
        if self.error is not None:
            raise self.error
        return self.result


class _Crew(Generic[Item, Result]):
    """Threads, and the jobs that they have."""

    def __init__(self, work: Callable[[Item], Result], threads: int, name: str) -> None:
        self.jobs: deque[_Job[Item, Result]] = deque()
        self._work = work
        self._queue: SimpleQueue[_Job[Item, Result] | None] = SimpleQueue()
        self._news: SimpleQueue[None] = SimpleQueue()  # that something is done
        self._stopped = False
        self._threads: list[threading.Thread] = []
        self._names = [f"{name}-{number}" for number in range(threads)]

    def add(self, items: Iterable[Item]) -> None:
        """Have work done on these too."""
        for item in items:
            job: _Job[Item, Result] = _Job(item)
            self.jobs.append(job)
            self._queue.put(job)
            if self._names:
                thread = threading.Thread(target=self._run, name=self._names.pop(), daemon=True)
                thread.start()
                self._threads.append(thread)  # where a signal comes before this, it is left alone

    def next(self, *, ordered: bool, look: Callable[[], object] | None) -> Result:
        """Wait for the first of the jobs, or for any of them, and take it out."""
        while True:
            for job in [self.jobs[0]] if ordered else self.jobs:
                if job.done:
                    self.jobs.remove(job)
                    return job.outcome()
            with suppress(Empty):
                self._news.get(timeout=_LOOK)
            if look is not None:
                look()

    def end(self, ask: Callable[[], object] | None) -> None:
        """Wait for the threads, each of which may finish the job that it is at."""
        self._stopped = True
        self._queue.put(None)
        while True:
            if ask is not None:
                ask()
            for thread in self._threads:
                thread.join(_END)
            if not any(thread.is_alive() for thread in self._threads):
                return

    def _run(self) -> None:
        while (job := self._queue.get()) is not None and not self._stopped:
            job.run(self._work)
            self._news.put(None)
        self._queue.put(None)  # for the next thread
