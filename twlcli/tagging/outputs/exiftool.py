"""ExifTool as one process for many photographs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

from twlcli.errors import ImageError, TwlError

SECONDS = 60.0  # longest for one command; most take some 30 ms
_CHUNK = 1 << 16


class ExifTool:
    """A process of `exiftool -stay_open`, which takes commands as lines, an argument on each.

    No shell sees them. The process starts with the first command, and again after one on which it
    ended or did not answer. For one thread; a context manager, which ends the process.
    """

    def __init__(self, program: str = "exiftool", *, seconds: float = SECONDS) -> None:
        """Find the program.

        Args:
            program: its name, or its path.
            seconds: the longest time for one command.

        Raises:
            TwlError: it is not installed.
        """
        found = shutil.which(program)
        if found is None:
            raise TwlError(
                f"{program} is not installed, and only ExifTool writes into photographs; "
                "it is at https://exiftool.org"
            )
        self._program = found
        self._seconds = seconds
        self._folder = tempfile.TemporaryDirectory(prefix="twl-")
        self.folder = Path(self._folder.name)
        self._said = self.folder / "said"
        self._said.touch()
        self._listener = self._said.open("rb")
        self._process: subprocess.Popen[bytes] | None = None
        self._output: SimpleQueue[bytes] = SimpleQueue()
        self._pump = threading.Thread()
        self._number = 0

    def __enter__(self) -> ExifTool:
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is not None:
            with suppress(OSError, ValueError, subprocess.TimeoutExpired):
                assert process.stdin is not None
                process.stdin.write(b"-stay_open\nFalse\n")
                process.stdin.close()
                process.wait(self._seconds)
        self._end()
        self._listener.close()
        self._folder.cleanup()

    def __call__(self, *arguments: str | Path) -> bytes:
        """Run one command; gives what it prints on its standard output.

        Raises:
            ImageError: an argument cannot be a line, or ExifTool ended or did not answer.
        """
        lines = [_line(argument) for argument in arguments]
        self._listener.read()
        self._number += 1
        try:
            process = self._process or self._start()
            assert process.stdin is not None
            process.stdin.write(b"\n".join([*lines, b"-execute%d" % self._number, b""]))
            process.stdin.flush()
            return self._answer(b"{ready%d}" % self._number)
        except (OSError, Empty) as error:
            self._end()
            raise ImageError("ExifTool ended or did not answer") from error

    def complaint(self) -> str:
        """What the last command said on the standard error, on one line."""
        lines = self._listener.read().decode("utf-8", "replace").splitlines()
        return "; ".join(line.strip() for line in lines if line.strip())

    def _start(self) -> subprocess.Popen[bytes]:
        # Without a configuration of the user's; arguments are read from the standard input.
        command = [self._program, "-config", "", "-stay_open", "True", "-@", "-"]
        with self._said.open("ab") as said:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
            )
        assert process.stdout is not None
        self._process, self._output = process, SimpleQueue()
        self._pump = threading.Thread(
            target=_pump, args=(process.stdout, self._output), daemon=True
        )
        self._pump.start()
        return process

    def _answer(self, mark: bytes) -> bytes:
        """What is printed before `mark`."""
        end = time.monotonic() + self._seconds
        printed = b""
        while not printed.rstrip(b"\r\n").endswith(mark):
            chunk = self._output.get(timeout=max(0.0, end - time.monotonic()))
            if not chunk:
                raise OSError("the process ended")
            printed += chunk
        return printed.rstrip(b"\r\n").removesuffix(mark)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            # Else it might read from another pipe, which has got the number of this one.
            self._pump.join()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
            self._process = None


def _pump(stream: IO[bytes], output: SimpleQueue[bytes]) -> None:
    """Pass on what a process prints; an empty piece at its end."""
    with suppress(OSError, ValueError):
        while chunk := os.read(stream.fileno(), _CHUNK):
            output.put(chunk)
    output.put(b"")


def _line(argument: str | Path) -> bytes:
    """An argument as a line. Blank ones, comments and white space in front would be changed."""
    line = os.fsencode(argument)
    if any(sign in line for sign in (b"\n", b"\r", b"\0")) or line[:1] in (b"", b"#", b" ", b"\t"):
        raise ImageError("its path has a line break or the like, which cannot be said to ExifTool")
    return line
