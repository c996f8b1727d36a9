"""Seconds and memory of a command: itself and the processes that it starts."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        seconds: from its start to its end, wall time.
        megabytes: its peak resident memory, and on top the largest sum of its children's
            proportional set sizes that was seen, every 50 ms.
    """

    seconds: float
    megabytes: float


def cost_of(command: list[str]) -> Cost:
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    ended, peak = threading.Event(), [0.0]
    watcher = threading.Thread(target=_watch, args=(process.pid, ended, peak))
    watcher.start()
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    ended.set()
    watcher.join()
    process.stderr.close()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {process.returncode}\n{said.decode()}")
    return Cost(seconds, usage.ru_maxrss / 1024 + peak[0])


def _watch(pid: int, ended: threading.Event, peak: list[float]) -> None:
    while not ended.wait(0.05):
        peak[0] = max(peak[0], sum(map(_megabytes, _children(pid))))


def _children(pid: int) -> list[str]:
    children: list[str] = []
    with suppress(OSError):  # it has ended meanwhile
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children += (thread / "children").read_text().split()
    return children


def _megabytes(pid: str) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0
