"""Limits of time and memory, measured from outside, for images that ask for more."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.hostile.bombs import BOMBS, LARGE_BOMBS, MIB
from twlcli.errors import ImageError
from twlcli.images.image_file import ImageFile
from twlcli.images.random_crop import RandomCrop
from twlcli.images.sandbox import DecoderProcess, Limits
from twlcli.model.preprocessing import Preprocessing

LIMITS = Limits(seconds=2, megabytes=1024)
START = 5.0  # seconds that a new process may take on a busy machine
CENTRE = Preprocessing(resize=36, crop=32)
DRAWN = RandomCrop(32, "bilinear", (0.9,), (1.0,), (0.5, 0.5), 1.3, False)

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells")


@contextmanager
def most_memory(process: DecoderProcess) -> Iterator[list[int]]:
    """The most bytes that the decoder's processes hold, in the end."""
    found = [0]
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.01):
            status = Path(f"/proc/{process._child._process.pid}/status")
            try:
                lines = status.read_text().splitlines()
            except OSError:
                continue  # it is being replaced
            most = [int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")]
            found[0] = max(found[0], *most, 0)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def check_bounds(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    process = DecoderProcess(LIMITS)
    out = np.empty((32, 32, 3), dtype=np.uint8)
    try:
        for cut in (CENTRE, DRAWN):
            began = time.monotonic()
            with most_memory(process) as most:
                try:
                    process.decode(ImageFile(path, path.name), cut, out)
                except ImageError as error:
                    assert "\n" not in str(error)
            assert time.monotonic() - began < LIMITS.seconds + START
            assert most[0] < (LIMITS.megabytes + 64) * MIB
    finally:
        process.close()


@pytest.mark.parametrize("name", BOMBS)
def test_time_and_memory_are_bounded(name, tmp_path):
    check_bounds(BOMBS[name](), tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE_BOMBS)
def test_time_and_memory_are_bounded_for_what_takes_long_to_make(name, tmp_path):
    check_bounds(LARGE_BOMBS[name](), tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch ran) (w) file\n",
        b"%PDF-1.7\n1 0 obj <</OpenAction <</S /Launch /F (touch)>> >> endobj\n",
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>',
        b"push graphic-context\nimage over 0,0 0,0 '|touch ran'\npop graphic-context\n",
        b"P6\n9 9\n255\n" + bytes(243),
        b"/* XPM */\nstatic char *a[] = {};",
        b"\x1f\x8b\x08" + bytes(20),
        b"MZ" + bytes(100),
    ],
    ids=["eps", "pdf", "svg", "entity", "mvg", "ppm", "xpm", "gzip", "exe"],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".eps", ".svg"])
def test_no_interpreter_sees_what_is_no_image(content, suffix, tmp_path, monkeypatch, decoder):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"not an image|expected"):
        decoder.decode(ImageFile(path, path.name), CENTRE, np.empty((32, 32, 3), dtype=np.uint8))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.fixture(scope="module")
def decoder() -> Iterator[DecoderProcess]:
    process = DecoderProcess()
    yield process
    process.close()
