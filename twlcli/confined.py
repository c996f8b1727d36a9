"""Reading with libraries that a small file can make fill the memory: in a process of its own.

Of a Parquet file or an Excel workbook nobody can tell beforehand what its content takes: a page of
a kilobyte may say "the same value, a billion times". The system ends a process that takes too much.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from twlcli import errors
from twlcli.errors import TwlError

# The other process finds twl where this one did, and nothing in the folder it happens to start in.
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from twlcli.confined import main; main()"
_TOGETHER = 1 << 16  # characters that are sent on together, or a little more

# Allocators reserve more than they use, which counts too: a part for each thread, or all at once.
_FRUGAL = {"MALLOC_ARENA_MAX": "1", "ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Limits:
    """What reading may take.

    Attributes:
        megabytes: of address space; kept on Linux.
        seconds: of processor time; kept where there are such limits, not on Windows.
    """

    megabytes: int = 4096
    seconds: int = 600


class ConfinedError(Exception):
    """The process took too much, or has crashed; the message says what, to follow a place."""


def confined(
    work: Callable[..., Iterable[Any]], *args: Any, limits: Limits | None = None
) -> Generator[Any, None, None]:
    """What `work(*args)` yields in another process, which goes on only while more is asked for.

    Args:
        work: a function of a module. What it yields comes through JSON: tuples become lists.
        args: what can be pickled.
        limits: what it may take.

    Raises:
        TwlError: `work` has raised it.
        ConfinedError: it took too much, or has crashed.
    """
    limits = limits or Limits()
    request: Any = (limits, _folder(), work.__module__, work.__name__, args)
    process = _take_idle() or _Process()
    awaited = True  # an answer that has not come yet
    try:
        while True:
            awaited = True
            kind, content = process.answer(request, limits)
            awaited, request = False, None
            if kind == "end":
                return
            if kind != "items":
                raise _as_here(kind, content, limits)
            yield from content
    finally:
        if awaited or _idle:
            process.stop()
        else:
            _idle.append(process)


class _Process:
    """A process that runs `main`."""

    def __init__(self) -> None:
        apart: dict[str, Any] = {"process_group": 0}  # Ctrl-C is for twl, which ends it itself
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        self.owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_FRUGAL},
            **apart,
        )
        self._requests = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)

    def answer(self, request: Any, limits: Limits) -> tuple[str, Any]:
        """The kind of an answer, and the answer.

        Raises:
            ConfinedError: the process has ended.
        """
        with suppress(BrokenPipeError):  # it has ended: seen below
            pickle.dump(request, self._requests)
            self._requests.flush()
        line = self._answers.readline()
        if not line.endswith(b"\n"):
            raise ConfinedError(_ending(self._process.wait(), limits))
        kind, content = json.loads(line)
        return kind, content

    def has_ended(self) -> bool:
        """Whether it has ended by itself, or was ended by the system."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with suppress(OSError):  # what was never sent
                pipe.close()


_idle: list[_Process] = []  # one at most, as the next reading begins sooner with it


def _take_idle() -> _Process | None:
    with suppress(IndexError):
        process = _idle.pop()
        if process.owner != os.getpid():
            _forked.append(process)  # it is that of the process that this one was forked from
        elif process.has_ended():
            process.stop()
        else:
            return process
    return None


_forked: list[_Process] = []  # never let go of: Python would ask how they have ended


@atexit.register
def _stop_idle() -> None:
    while process := _take_idle():
        process.stop()


def _as_here(kind: str, content: list[str], limits: Limits) -> Exception:
    """The exception that was raised there."""
    message, hint = content
    if kind == MemoryError.__name__:
        return ConfinedError(_too_large(limits))
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, TwlError):
        return known(message, hint=hint)
    return ConfinedError(message or kind)


def _ending(status: int, limits: Limits) -> str:
    if hasattr(signal, "SIGXCPU") and status == -signal.SIGXCPU:
        return f"takes more than {limits.seconds} seconds to read"
    if status == -signal.SIGABRT:  # what cannot be allocated in C++
        return _too_large(limits)
    return f"its reader crashed ({f'exit code {status}' if status >= 0 else f'signal {-status}'})"


def _too_large(limits: Limits) -> str:
    return f"takes more than {limits.megabytes:,} MB of memory to read"


# --- in the other process -------------------------------------------------------------------------


def main() -> None:
    """Do the work of each request; None asks for what comes next."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Libraries write their warnings as they please.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    texts: Iterator[str] = iter(())
    try:
        while True:
            request = pickle.load(requests)  # noqa: S301  from twl itself
            try:
                if request is not None:
                    texts = iter(())  # lets go of what came before
                    texts = _begun(*request)
                items = next(texts, None)
                answer = '["end",null]' if items is None else f'["items",[{items}]]'
            except TwlError as error:
                told = [error.message, error.hinted("{{{}}}".format)]
                answer = json.dumps([type(error).__name__, told])
            except MemoryError:
                answer = json.dumps([MemoryError.__name__, ["", ""]])
            answers.write(answer.encode("ascii") + b"\n")
            answers.flush()
    except (EOFError, BrokenPipeError):  # whom it worked for has gone
        os._exit(0)


def _folder() -> str:
    """The current folder, which relative paths start from; empty where it was removed."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def _begun(
    limits: Limits, folder: str, module: str, name: str, args: Sequence[Any]
) -> Iterator[str]:
    work = getattr(importlib.import_module(module), name)
    if folder:  # it may have changed since this process started
        os.chdir(folder)
    _limit(limits)
    return _gathered(work(*args))


def _gathered(items: Iterable[Any]) -> Iterator[str]:
    """Items as JSON, some together."""
    texts: list[str] = []
    size = 0
    for item in items:
        texts.append(json.dumps(item))
        size += len(texts[-1])
        if size > _TOGETHER:
            yield ",".join(texts)
            texts.clear()
            size = 0
    yield ",".join(texts)


def _limit(limits: Limits) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    for kind, value in (
        (resource.RLIMIT_AS, limits.megabytes << 20),
        (resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + limits.seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(kind)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        with suppress(ValueError, OSError):  # macOS knows some of them by name alone
            resource.setrlimit(kind, (value, most))
