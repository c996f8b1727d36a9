import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.images import hostile
from tests.images.encoded import encode, huge_png, noise, picture
from tests.images.test_color import GRADIENT
from twlcli.errors import DeviceError, ImageError
from twlcli.images import sandbox as decoder
from twlcli.images.decoding import Decoding
from twlcli.images.image_file import ByteRange, ImageFile
from twlcli.images.sandbox import DecoderProcess, Limits, LocalDecoder, decoder_processes
from twlcli.model.preprocessing import Preprocessing

SMALL = Preprocessing(resize=16, crop=12)
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc of Linux")


@pytest.fixture
def put(tmp_path):
    """Writes a file and gives it as a scan would."""

    def write(name: str, content: bytes) -> ImageFile:
        (tmp_path / name).write_bytes(content)
        return ImageFile(tmp_path / name, name)

    write(".good.png", encode(picture(), "PNG"))
    return write


@pytest.fixture
def process():
    with decoder_processes(1) as (process,):
        yield process


@pytest.fixture
def hostile_process(monkeypatch):
    monkeypatch.setattr(decoder, "_PROGRAM", hostile.PROGRAM)
    with decoder_processes(1, Limits(seconds=0.7)) as (process,):
        yield process


def pixels(
    decoder, file: ImageFile, preprocessing: Preprocessing = SMALL, *, exact: bool = False
) -> np.ndarray:
    out = np.zeros((preprocessing.crop, preprocessing.crop, 3), dtype=np.uint8)
    decoder.decode(file, preprocessing, out, decoding=Decoding(exact))
    return out


def test_process_decodes_as_this_process_does(put, process):
    files = [put(f"a.{name}", encode(noise(), name)) for name in ("JPEG", "PNG", "WEBP", "TIFF")]
    files.append(put("deep.png", encode(Image.fromarray(GRADIENT), "PNG")))
    content = encode(picture(), "JPEG")
    whole = put("shard.tar", b"x" * 700 + content + b"y" * 100)
    files.append(replace(whole, byte_range=ByteRange(700, len(content), 0)))
    for form, exact in ((SMALL, False), (Preprocessing(96, 90, "bicubic"), False), (SMALL, True)):
        for file in files:
            ours = pixels(LocalDecoder(), file, form, exact=exact)
            assert (pixels(process, file, form, exact=exact) == ours).all()
            assert ours.std() > 0


@posix
def test_process_reads_any_name(put, process):
    for name in ("new\nline.png", os.fsdecode(b"caf\xe9.png"), "日本.png"):
        assert pixels(process, put(name, encode(picture(), "PNG"))).std() > 0


@pytest.mark.parametrize("content", [b"", b"text", encode(noise(), "JPEG")[:3000]])
def test_process_gives_the_same_reasons(put, process, content):
    file = put("bad.jpg", content)
    reasons = []
    for each in (LocalDecoder(), process):
        with pytest.raises(ImageError) as caught:
            pixels(each, file)
        reasons.append(str(caught.value))
    assert reasons[0] == reasons[1]
    assert pixels(process, put("fine.png", encode(picture(), "PNG"))).std() > 0


@posix
@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (b"crash", r"the decoder crashed \(SIGSEGV\)"),
        (b"exit", r"the decoder crashed \(exit code 7\)"),
        (b"hang", r"decoding took more than 0.7 seconds"),
        (b"bug", r"RuntimeError: nobody thought of this"),
    ],
)
@pytest.mark.parametrize("answered", [0, 2])
def test_what_a_decoder_does_costs_one_image(put, hostile_process, order, reason, answered):
    good, bad = put("fine.png", b"fine"), put("bad.png", order)
    for _ in range(answered):
        pixels(hostile_process, good)
    start = time.monotonic()
    with pytest.raises(ImageError, match=reason):
        pixels(hostile_process, bad)
    assert time.monotonic() - start < 20
    assert pixels(hostile_process, good).std() > 0


@posix
def test_the_image_before_may_have_done_the_damage(put, hostile_process):
    pixels(hostile_process, put("poison.png", b"poison"))
    assert pixels(hostile_process, put("fine.png", b"fine")).std() > 0


def test_decoders_that_write_as_they_please_disturb_nothing(put, hostile_process, capfd):
    assert pixels(hostile_process, put("noise.png", b"noise")).std() > 0
    assert pixels(hostile_process, put("fine.png", b"fine")).std() > 0
    assert capfd.readouterr() == ("", "")


@linux
def test_memory_has_a_limit(put):
    large = put("large.png", huge_png(13_000))
    with decoder_processes(1, Limits(megabytes=256)) as (process,):
        with pytest.raises(ImageError, match="not enough memory for 13000 × 13000 pixels"):
            pixels(process, large)
        assert pixels(process, put("fine.png", encode(picture(), "PNG"))).std() > 0


@posix
def test_close_ends_what_hangs_in_another_thread(put, monkeypatch):
    monkeypatch.setattr(decoder, "_PROGRAM", hostile.PROGRAM)
    process = DecoderProcess()
    caught: list[str] = []

    def decode() -> None:
        try:
            pixels(process, put("bad.png", b"hang"))
        except ImageError as error:
            caught.append(str(error))

    thread = threading.Thread(target=decode)
    thread.start()
    time.sleep(0.5)
    process.close()
    thread.join(timeout=20)
    assert not thread.is_alive() and caught == ["stopped"]


def test_a_process_that_does_not_start_stops_the_run(put, monkeypatch):
    monkeypatch.setattr(decoder, "_PROGRAM", "raise SystemExit(3)")
    with (
        decoder_processes(1) as (process,),
        pytest.raises(DeviceError, match=r"does not start \(exit code 3\)"),
    ):
        pixels(process, put("fine.png", b"fine"))


def test_modules_in_the_current_folder_are_not_taken(put, tmp_path, monkeypatch):
    (tmp_path / "PIL.py").write_text("raise SystemExit('not this one')")
    (tmp_path / "struct.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    with decoder_processes(1) as (process,):
        assert pixels(process, put("fine.png", encode(picture(), "PNG"))).std() > 0


@linux
@pytest.mark.parametrize("order", ["fine", "hang"])
def test_nothing_outlives_a_killed_run(put, order):
    file = put("a.png", order.encode())
    code = (
        "import numpy as np, os\n"
        "from pathlib import Path\n"
        "from tests.images import hostile\n"
        "from tests.images.test_sandbox import pixels\n"
        "from twlcli.images import sandbox as decoder\n"
        "decoder._PROGRAM = hostile.PROGRAM\n"
        "process = decoder.DecoderProcess(decoder.Limits(seconds=2))\n"
        "print(process._child._process.pid, flush=True)\n"
        f"pixels(process, decoder.ImageFile(Path({str(file.path)!r}), 'a.png'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert run.stdout is not None
    child = int(run.stdout.readline())
    assert Path(f"/proc/{child}").exists()
    if order == "hang":
        time.sleep(0.5)
        run.kill()
    assert run.wait() == -signal.SIGKILL
    run.stdout.close()
    until = time.monotonic() + 20
    while _lives(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _lives(child)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
