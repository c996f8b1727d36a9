"""Runs the decoding process with a decoder that does what its file's content says."""

import os
import re
import signal
import time
from pathlib import Path

from twlcli.images import sandbox_child as decoder_process
from twlcli.images.preprocess import load_crop

PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:]; from tests.images.hostile import install; install(); "
    "from twlcli.images.sandbox_child import main; main()"
)
_state = {"poisoned": False}


def install() -> None:
    setattr(decoder_process, "load_crop", decode)  # noqa: B010  it is not exported


def decode(path: Path, byte_range, preprocessing, **options):
    order = path.read_bytes()[:20].decode("latin-1")
    if order == "crash" or _state["poisoned"]:
        os.kill(os.getpid(), signal.SIGSEGV)
    elif order == "poison":
        _state["poisoned"] = True
    elif order == "hang":
        re.match("(a+)+$", "a" * 60 + "b")  # years, without ever giving the interpreter away
    elif order == "exit":
        os._exit(7)
    elif order == "bug":
        raise RuntimeError("nobody thought of this")
    elif order == "slow":
        time.sleep(1)
    elif order == "noise":
        os.write(1, b"on stdout\n" * 1000)
        os.write(2, b"on stderr\n" * 1000)
    return load_crop(path.with_name(".good.png"), None, preprocessing, **options)
