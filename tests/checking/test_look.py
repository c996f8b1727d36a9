import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tests.checking.drawn import annotated, drawn, saved
from tests.images import hostile
from twlcli.checking.look import look, near_bits, perceptual_hash
from twlcli.errors import MissingExtraError, TwlError
from twlcli.images import sandbox
from twlcli.images.decoding import Decoding

ROOT = Path(__file__).parents[2]


def folder_of(tmp_path, names):
    return annotated(np.zeros((len(names), 1)), images=names, root=tmp_path)


def test_missing_unreadable_and_same_bytes(tmp_path):
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        saved(tmp_path / name, seed)
    shutil.copy(tmp_path / "a.png", tmp_path / "again.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "b.png").read_bytes()[:500])
    (tmp_path / "text.png").write_text("no image")
    names = ["a.png", "b.png", "again.png", "gone.png", "half.png", "c.png", "text.png"]
    done = list[int]()
    found = look(folder_of(tmp_path, names), workers=2, progress=done.append)
    assert found.missing.tolist() == [3]
    assert [(row, each.image) for row, each in found.unreadable.items()] == [
        (4, "half.png"),
        (6, "text.png"),
    ]
    assert found.same.tolist() == [0, 1, 0, 2, 3, 4, 5]
    assert found.near is None
    assert sum(done) == len(names)


def test_same_size_is_not_same_bytes(tmp_path):
    for name, content in (("a.ppm", 0), ("b.ppm", 9), ("c.ppm", 0)):
        Image.new("RGB", (8, 8), (content, 0, 0)).save(tmp_path / name)
    assert look(folder_of(tmp_path, ["a.ppm", "b.ppm", "c.ppm"])).same.tolist() == [0, 1, 0]


def test_damaged_images_are_read_on_request(tmp_path):
    drawn(0, 400, 300).save(tmp_path / "a.jpg", quality=95)
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    annotations = folder_of(tmp_path, ["a.jpg"])
    assert len(look(annotations).unreadable) == 1
    accepted = look(annotations, decoding=Decoding(accept_damaged=True))
    assert (accepted.unreadable, accepted.damaged) == ({}, (0,))


def test_images_that_look_the_same(tmp_path):
    pytest.importorskip("imagehash")
    for seed in range(30):
        saved(tmp_path / f"{seed}.png", seed)
    image = drawn(5)
    image.save(tmp_path / "saved.jpg", quality=40)
    image.resize((48, 36)).save(tmp_path / "smaller.png")
    ImageEnhance.Brightness(image).enhance(0.9).save(tmp_path / "darker.png")
    (tmp_path / "broken.png").write_text("no image")
    names = [f"{seed}.png" for seed in range(30)]
    names += ["saved.jpg", "smaller.png", "darker.png", "broken.png"]
    near = look(folder_of(tmp_path, names), near=6).near
    assert near is not None
    assert near.tolist() == [*range(30), 5, 5, 5, -1]


def test_perceptual_hash_is_that_of_imagehash():
    imagehash = pytest.importorskip("imagehash")
    image = drawn(3, 64, 64)
    assert perceptual_hash()(np.asarray(image)) == int(str(imagehash.phash(image)), 16)


def test_near_bits(monkeypatch):
    pytest.importorskip("imagehash")
    assert (near_bits(None), near_bits(0), near_bits(16)) == (6, 0, 16)
    for wrong in (-1, 17, True, 1.5):
        with pytest.raises(TwlError, match=r"near is"):
            near_bits(wrong)  # type: ignore[arg-type]


def test_without_the_extra_only_copies_are_found(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert near_bits(None) is None
    with pytest.raises(MissingExtraError, match=r"'twlcli\[check\]'"):
        near_bits(4)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_decoder_that_crashes_costs_one_image(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "_PROGRAM", hostile.PROGRAM)
    saved(tmp_path / ".good.png", 0)
    for number in range(20):
        (tmp_path / f"{number}.png").write_text("crash" if number == 7 else f"good {number}")
    found = look(folder_of(tmp_path, [f"{number}.png" for number in range(20)]), workers=2)
    assert list(found.unreadable) == [7]
    assert "crashed" in found.unreadable[7].reason


INTERRUPTED = """
import sys
from twlcli.images import sandbox
from tests.images import hostile
sandbox._PROGRAM = hostile.PROGRAM
sys.argv = ["twl", "data", "check", sys.argv[1]]
from twlcli.cli.app import main
print("began", flush=True)
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interrupt_ends_it_at_once_whatever_decoders_do(tmp_path):
    saved(tmp_path / ".good.png", 0)
    lines = ["image,labels"]
    for number in range(40):
        (tmp_path / f"{number}.png").write_text("hang")
        lines.append(f"{number}.png,a")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "labels.csv")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            time.sleep(1.5)
            assert process.poll() is None
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            process.wait(timeout=10)
        finally:
            process.kill()  # or leaving would wait for it, for ever
    assert time.monotonic() - started < 3
    assert process.returncode not in (0, 1)
