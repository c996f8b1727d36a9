"""What decodes a file for the pipeline: this process, or one that may crash, hang or be killed."""

from __future__ import annotations

import io
import math
import os
import pickle
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import DeviceError, ImageError
from twlcli.images.decoding import USUAL, Caveat, Decoding, joined
from twlcli.images.image_file import ImageFile
from twlcli.images.random_crop import RandomCrop
from twlcli.images.sandbox_protocol import LENGTH, READY
from twlcli.images.whole import Whole
from twlcli.model.preprocessing import Preprocessing

# The other process finds twl where this one did, and nothing in the folder it happens to start in.
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:]; from twlcli.images.sandbox_child import main; main()"
)

Cut = Preprocessing | RandomCrop | Whole  # what of an image is shown


class Decoder(Protocol):
    """Decodes files, one at a time."""

    def decode(
        self,
        file: ImageFile,
        cut: Cut,
        out: NDArray[np.uint8],
        *,
        decoding: Decoding = USUAL,
    ) -> Caveat:
        """Decode a file into `out`, uint8 RGB (height, width, 3), contiguous; see `load_crop`.

        Returns:
            What has to be said of the image all the same.

        Raises:
            ImageError: it cannot be read or decoded; the message is the reason alone.
        """

    def close(self) -> None:
        """Stop, from any thread; what is being decoded may end as an ImageError."""


class LocalDecoder:
    """Decodes in the calling thread."""

    def __init__(self) -> None:
        from twlcli.images.preprocess import (
            load_crop,  # Pillow, which other processes have themselves
        )

        self._load_crop = load_crop

    def decode(
        self,
        file: ImageFile,
        cut: Cut,
        out: NDArray[np.uint8],
        *,
        decoding: Decoding = USUAL,
    ) -> Caveat:
        """As a `Decoder` does."""
        caveats: list[Caveat] = []
        crop = self._load_crop(
            file.path, file.byte_range, cut, decoding=decoding, noted=caveats.append
        )
        out[...] = np.asarray(crop)
        return joined(caveats)

    def close(self) -> None:
        """Nothing to stop."""


@dataclass(frozen=True)
class Limits:
    """What one image may take.

    Attributes:
        seconds: of wall time.
        megabytes: of address space, in all; kept on Linux. Pillow needs up to four bytes for each
            pixel two or three times over, so that the default lets pass all that it decodes.
    """

    seconds: float = 60.0
    megabytes: int = 4096


class DecoderProcess:
    """Decodes in a process of its own: a decoder that crashes or hangs costs one image.

    The process starts at once, beside what the caller does next. Where it ends while it decodes,
    it is replaced. Since an image before may have done the damage, one that it dies of is tried
    again in a new process; one that takes too long is not.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._closed = False
        self._child = _Child(self._limits)

    def decode(
        self,
        file: ImageFile,
        cut: Cut,
        out: NDArray[np.uint8],
        *,
        decoding: Decoding = USUAL,
    ) -> Caveat:
        """As a `Decoder` does.

        Raises:
            ImageError: also where decoding took too long, or two processes died of it.
            DeviceError: the process does not start.
        """
        request = pickle.dumps((os.fsencode(file.path), file.byte_range, cut, decoding))
        while True:
            child = self._child
            caveat = child.answer(request, out)
            if caveat is not None:
                return caveat
            seconds = time.monotonic() - child.asked
            status = child.stop()
            if self._closed:
                raise ImageError("stopped")
            self._child = _Child(self._limits)
            if self._closed:  # meanwhile, by another thread
                self._child.stop()
            if seconds >= self._limits.seconds:
                raise ImageError(f"decoding took more than {self._limits.seconds:g} seconds")
            if child.is_fresh:
                raise ImageError(f"the decoder crashed ({_ending(status)})")

    def close(self) -> None:
        """Stop the process, from any thread; what it decodes ends as an ImageError."""
        self._closed = True
        self._child.stop()


class _Child:
    """A process that runs `decoder_process.main`."""

    def __init__(self, limits: Limits) -> None:
        # Ctrl-C is for twl, which stops its children itself.
        apart: dict[str, Any] = {"process_group": 0}
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        command = [sys.executable, "-c", _PROGRAM, *sys.path]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, **apart)
        self._requests = cast(io.BufferedWriter, self._process.stdin)
        self._answers = cast(io.BufferedReader, self._process.stdout)
        self._started = False
        self.is_fresh = True  # it has not answered yet
        self.asked = math.inf  # when it was last asked, by the monotonic clock, seconds
        with suppress(OSError):  # it has ended already: seen when the answer is awaited
            pickle.dump(astuple(limits), self._requests)
            self._requests.flush()

    def answer(self, request: bytes, out: NDArray[np.uint8]) -> Caveat | None:
        """What the process says of the image it has put into `out`; None if it says nothing.

        Raises:
            ImageError: the answer is the reason why it cannot be.
            DeviceError: the process does not start.
        """
        try:
            if not self._started:
                self._await_start()
            self.asked = time.monotonic()
            self._requests.write(request)
            self._requests.flush()
            (length,) = LENGTH.unpack(self._answers.read(LENGTH.size))
            if length < 0:
                whole = self._answers.readinto(out.data.cast("B")) == out.nbytes
            else:
                reason = self._answers.read(length)
                whole = len(reason) == length
        except (OSError, ValueError, struct.error):  # a pipe that is broken, closed, or at its end
            return None
        if not whole:
            return None
        self.is_fresh = False
        if length >= 0:
            raise ImageError(reason.decode("utf-8", "surrogatepass"))
        return Caveat(~length)

    def _await_start(self) -> None:
        self._started = self._answers.read(len(READY)) == READY
        if not self._started:
            ending = _ending(self._process.wait())
            raise DeviceError(f"the process that decodes images does not start ({ending})")

    def stop(self) -> int:
        """End the process; its exit status, negative for a signal."""
        self._process.kill()  # nothing where it has ended already
        status = self._process.wait()
        for pipe in (self._requests, self._answers):
            with suppress(OSError):  # what was never sent
                pipe.close()
        return status


@contextmanager
def decoder_processes(count: int, limits: Limits | None = None) -> Iterator[Sequence[Decoder]]:
    """So many `DecoderProcess`es, until the block ends."""
    processes: list[DecoderProcess] = []
    try:
        for _ in range(count):
            processes.append(DecoderProcess(limits))
        yield processes
    finally:
        for process in processes:
            process.close()


def _ending(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
