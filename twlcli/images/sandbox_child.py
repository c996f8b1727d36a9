"""The process that decodes for `sandbox.DecoderProcess`, as `sandbox_protocol` says."""

from __future__ import annotations

import faulthandler
import os
import pickle
import sys
from pathlib import Path
from typing import Any, BinaryIO

from twlcli.errors import ImageError
from twlcli.images.decoding import Caveat, joined
from twlcli.images.preprocess import load_crop
from twlcli.images.sandbox_protocol import LENGTH, READY


def main() -> None:
    """Answer until the requests end."""
    requests = sys.stdin.buffer
    # Decoders in C write their warnings to stdout and stderr as they please.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())
    try:
        seconds, megabytes = pickle.load(requests)  # noqa: S301  from twl, through its own pipe
        _limit_memory(megabytes << 20)
        answers.write(READY)
        answers.flush()
        while True:
            _answer(pickle.load(requests), answers, seconds)  # noqa: S301
    except (EOFError, BrokenPipeError):  # whom it worked for has gone
        os._exit(0)


def _answer(request: tuple[bytes, Any, Any, Any], answers: BinaryIO, seconds: float) -> None:
    name, byte_range, cut, decoding = request
    caveats: list[Caveat] = []
    # A thread that needs no interpreter ends the process, whatever a decoder is stuck in.
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        image = load_crop(
            Path(os.fsdecode(name)),
            byte_range,
            cut,
            decoding=decoding,
            noted=caveats.append,
        )
        length, content = ~int(joined(caveats)), image.tobytes()
    except Exception as error:  # one image's trouble, whatever it is
        reason = str(error) if isinstance(error, ImageError) else f"{type(error).__name__}: {error}"
        content = reason.encode("utf-8", "surrogatepass")
        length = len(content)
    finally:
        faulthandler.cancel_dump_traceback_later()
    answers.write(LENGTH.pack(length))
    answers.write(content)
    answers.flush()


def _limit_memory(size: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        size = min(size, most)
    resource.setrlimit(resource.RLIMIT_AS, (size, most))
