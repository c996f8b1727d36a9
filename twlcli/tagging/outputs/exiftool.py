"""ExifTool as one process for many photographs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from queue import Empty, SimpleQueue
from typing import IO

from twlcli.errors import ImageError, TwlError

SECONDS = 60.0  # longest for one photograph; it takes some 30 ms


class ExifTool:
    """A process of `exiftool -stay_open`, which takes its arguments line by line.

    A shell never sees them, and no file name can be taken for an option. The process starts with
    the first photograph, and again after one on which it failed.
    """

    def __init__(self, program: str = "exiftool", *, seconds: float = SECONDS) -> None:
        """Find the program.

        Args:
            program: its name, or its path.
            seconds: the longest time for one call.

        Raises:
            TwlError: it is not installed.
        """
        found = shutil.which(program)
        if found is None:
            raise TwlError(
                f"{program} is not installed, and photographs are written to by ExifTool alone; "
                "get it from https://exiftool.org"
            )
        self._program = found
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] = tempfile.TemporaryFile()
        self._output: SimpleQueue[bytes] = SimpleQueue()
        self._calls = 0

    def __call__(self, *arguments: str | os.PathLike[str]) -> bytes:
        """Run one command; gives what it prints.

        Raises:
            ImageError: an argument cannot be said to ExifTool, or it ended or did not answer.
        """
        self._calls += 1
        lines = [_line(argument) for argument in arguments]
        process = self._started()
        assert process.stdin is not None
        mark = b"{ready%d}" % self._calls
        try:
            process.stdin.write(b"\n".join([*lines, b"-execute%d" % self._calls, b""]))
            process.stdin.flush()
            return self._until(mark)
        except (OSError, Empty) as error:
            self._end()
            raise ImageError("ExifTool ended or did not answer; nothing was written") from error

    def complaint(self) -> str:
        """What it has said on its standard error since the last time, on one line."""
        self._said.flush()
        text = os.pread(self._said.fileno(), 1 << 16, self._read) if hasattr(os, "pread") else b""
        self._read += len(text)
        lines = text.decode("utf-8", "replace").splitlines()
        return "; ".join(line.strip() for line in lines if line.strip())

    def close(self) -> None:
        """End the process."""
        process = self._process
        if process is not None and process.poll() is None:
            try:
                process.communicate(b"-stay_open\nFalse\n", timeout=self._seconds)
            except (OSError, ValueError, subprocess.TimeoutExpired):
                pass
        self._end()
        self._said.close()
