"""`twl tag` called again: after an end, an interruption, a kill, a change."""

import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.test_tag import posix, rows_of, twl_tag
from tests.images.encoded import encode
from tests.tagging.models import write_model

COLORS = [(255, 0, 0), (0, 255, 0), (200, 180, 0), (0, 0, 0), (130, 120, 255)]
BATCH, WORKERS = 4, 2

# `twl` that notes in a file how many images the model is given, a byte for each call.
COUNTED = """
import os, sys
from twlcli.model.onnx import OnnxPredictor
calls = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
predict = OnnxPredictor.__call__
def counted(self, images):
    os.write(calls, bytes([len(images)]))
    return predict(self, images)
OnnxPredictor.__call__ = counted
from twlcli.cli.app import app
app(sys.argv[2:])
"""


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model.onnx")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for index, name in enumerate(["a.png", "b.png", "sub/c.png"]):
        data = encode(Image.new("RGB", (30, 20), COLORS[index]), "PNG")
        (folder / name).write_bytes(data)
    return folder


def many_photos(folder: Path, count: int) -> None:
    """So many names of five images, and some that are none."""
    for index, color in enumerate(COLORS):
        image = encode(Image.new("RGB", (30, 20), color), "PNG")
        (folder / f".{index}.png").write_bytes(image)
    (folder / ".broken.png").write_text("text")
    for index in range(count):
        target = ".broken.png" if index % 50 == 7 else f".{index % 5}.png"
        (folder / f"{index:05}.png").symlink_to(folder / target)


def test_same_call_again_computes_nothing_and_writes_the_same(model, photos, tmp_path):
    out = tmp_path / "tags.csv"
    call = [photos, "--model", model, "--out", out]
    assert twl_tag(*call).exit_code == 0
    before = out.read_bytes()
    again = twl_tag(*call)
    assert again.exit_code == 0, again.stderr
    assert "3 images, 3 of them in an earlier run: 3 tagged, 0 failed, in " in again.stderr
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model.onnx",
        "photos",
        "tags.csv",
        "tags.csv.journal",
    ]


def test_call_again_does_what_is_new_or_has_changed(model, photos, tmp_path):
    out = tmp_path / "tags.jsonl"
    call = [photos, "--model", model, "--out", out]
    twl_tag(*call)
    (photos / "b.png").unlink()
    (photos / "a.png").write_text("text")
    (photos / "d.png").write_bytes((photos / "sub/c.png").read_bytes())
    result = twl_tag(*call)
    assert result.exit_code == 3
    assert "3 images, 1 of them in an earlier run: 2 tagged, 1 failed" in result.stderr
    assert re.findall(r'"image": "([^"]+)"', out.read_text()) == ["d.png", "sub/c.png"]
    result = twl_tag(*call)
    assert result.exit_code == 3
    assert (
        "failed: a.png: not an image" in result.stderr
        and "3 of them in an earlier run" in result.stderr
    )
    assert "2 of them in an earlier run" in twl_tag(*call, "--retry-failed").stderr


def test_only_what_this_run_wrote_is_replaced(model, photos, tmp_path):
    out = tmp_path / "tags.csv"
    call = [photos, "--model", model, "--out", out]
    twl_tag(*call)
    refused = f"twl: error: {out}: exists already; use --force to replace it\n"
    assert twl_tag(*call, "--threshold", "0.4").stderr == refused
    assert twl_tag(*call, "--no-journal").stderr == refused
    assert twl_tag(*call, "--journal", tmp_path / "other").stderr == refused
    edited = out.read_text().replace("red", "crimson")
    out.write_text(edited)
    assert twl_tag(*call).stderr == refused
    assert out.read_text() == edited
    forced = twl_tag(*call, "--force")
    assert forced.exit_code == 0 and "3 of them in an earlier run" in forced.stderr
    assert twl_tag(*call).exit_code == 0


def test_another_model_or_threshold_is_another_run_of_the_same_journal(model, photos, tmp_path):
    journal = tmp_path / "journal"
    call = [photos, "--journal", journal]
    low = ["--model", model, "--threshold", "0.1", "--out", tmp_path / "low.csv"]
    high = ["--model", model, "--threshold", "0.9", "--out", tmp_path / "high.csv"]
    other = ["--model", tmp_path / "other.onnx", "--threshold", "0.1", "--out", tmp_path / "o.csv"]
    (tmp_path / "other.onnx").write_bytes(model.read_bytes())
    assert "in an earlier run" not in twl_tag(*call, *low).stderr
    for options in (high, low, high, other):  # the last is the same file under another name
        assert "3 of them in an earlier run" in twl_tag(*call, *options).stderr
    assert (tmp_path / "low.csv").read_bytes() != (tmp_path / "high.csv").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        ["--threshold", "0"],
        ["--threshold", "0.6"],
        ["--threshold", "precision=0.9"],
        ["--top-k", "2"],
        ["--threshold", "0.1", "--top-k", "1"],
    ],
)
def test_another_threshold_does_not_ask_the_model(model, photos, tmp_path, monkeypatch, options):
    from twlcli.model.onnx import OnnxPredictor

    (photos / "broken.png").write_text("text")
    call = [photos, "--model", model]
    fresh, again = ([tmp_path / f"{name}.{kind}" for kind in ("csv", "jsonl")] for name in "fa")
    outs = [["--out", paths[0], "--out", paths[1]] for paths in (fresh, again)]
    assert twl_tag(*call, *outs[0], *options, "--no-journal").exit_code == 3
    journal = ["--journal", tmp_path / "journal"]
    assert twl_tag(*call, "--out", tmp_path / "first.csv", *journal).exit_code == 3

    def asked(self, images):
        pytest.fail("the model was asked")

    monkeypatch.setattr(OnnxPredictor, "__call__", asked)
    result = twl_tag(*call, *outs[1], *options, *journal)
    assert result.exit_code == 3, result.output
    assert "4 images, 4 of them in an earlier run: 3 tagged, 1 failed" in result.stderr
    for path, other in zip(fresh, again, strict=True):
        assert path.read_bytes() == other.read_bytes()


def test_journal_is_kept_only_where_it_can_be_of_use(model, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    there = sorted(tmp_path.rglob("*"))
    twl_tag(photos, "--model", model)
    assert sorted(tmp_path.rglob("*")) == there
    twl_tag(photos, "--model", model, "--journal", "j")
    assert (
        "3 of them in an earlier run" in twl_tag(photos, "--model", model, "--journal", "j").stderr
    )
    twl_tag(photos, "--model", model, "--out", "t.csv", "--no-journal")
    assert not Path("t.csv.journal").exists()
    twl_tag(photos / "a.png", photos, "--model", model, "--txt")
    assert (photos / ".twl-journal").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--retry-failed"], "retrying failed images needs a journal; name one with --journal"),
        (["--hash"], "hashing content needs a journal; name one with --journal"),
        (["--journal", "j", "--no-journal"], "--no-journal"),
        (["--journal", "t.csv", "--out", "t.csv"], "two outputs name the same file"),
        (["--journal", "model.onnx"], "is read by this run, and cannot be an output"),
        (["--out", "no/t.csv"], "there is no folder"),
        (["--journal", "no/j"], "there is no folder"),
    ],
)
def test_journal_options_are_checked_in_one_line(
    model, photos, tmp_path, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    result = twl_tag(photos, "--model", model, *options)
    assert result.exit_code == 2 and message in result.stderr
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("twl: error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "photos"]


def test_a_run_beside_a_running_one_is_refused(model, photos, tmp_path):
    from tests.tagging.test_journal import opened

    out = tmp_path / "tags.csv"
    with opened(tmp_path / "tags.csv.journal"):
        result = twl_tag(photos, "--model", model, "--out", out)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"twl: error: {out}.journal: is in use by another run of twl")
    assert result.stderr.count("\n") == 1 and not out.exists()


def start(folder: Path, calls: Path, *arguments: object) -> subprocess.Popen[str]:
    options = ["--batch-size", BATCH, "--workers", WORKERS, "--provider", "cpu"]
    command = [sys.executable, "-c", COUNTED, calls, "tag", folder, *arguments, *options]
    return subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)


def committed(journal: Path) -> int:
    """The rows of the journal, read from a copy: opening it would tidy up after the kill."""
    if not journal.exists():
        return 0
    copy = journal.with_name("copy")
    for suffix in ("", "-wal"):
        part = journal.with_name(journal.name + suffix)
        try:
            content = part.read_bytes()
        except FileNotFoundError:  # the run may just have ended
            content = b""
        copy.with_name("copy" + suffix).write_bytes(content)
    connection = sqlite3.connect(copy)
    try:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        return int(connection.execute("SELECT count(*) FROM rows").fetchone()[0]) if tables else 0
    finally:
        connection.close()


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_says_how_to_go_on(model, tmp_path, number):
    folder = tmp_path / "many"
    folder.mkdir()
    many_photos(folder, 1500)
    out, calls = tmp_path / "tags.csv", tmp_path / "calls"
    call = ["--model", model, "--out", out]
    with start(folder, calls, *call) as process:
        while not (calls.exists() and calls.stat().st_size > 20):
            time.sleep(0.005)
        process.send_signal(number)
        _, error = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert not out.exists() and "Traceback" not in error
    assert error.endswith(f"; the same command continues from here ({out}.journal)\n")
    told = re.search(r"stopped early: .*: ([\d,]+) tagged, (\d+) failed", error)
    assert told is not None
    done = int(told[1].replace(",", "")) + int(told[2])
    assert 0 <= committed(tmp_path / "tags.csv.journal") - done <= BATCH
    again = twl_tag(folder, *call)
    assert again.exit_code == 3 and " of them in an earlier run" in again.stderr
    assert len(rows_of(out.read_text())) == 1500 - 30


@posix
@pytest.mark.parametrize(
    ("kills", "images"), [(4, 600), pytest.param(60, 2000, marks=pytest.mark.slow)]
)
def test_killed_runs_lose_and_repeat_nothing(model, tmp_path, kills, images):
    folder = tmp_path / "many"
    folder.mkdir()
    many_photos(folder, images)
    names = ["tags.csv", "tags.jsonl", "errors.csv"]
    wanted = [tmp_path / f"wanted-{name}" for name in names]
    outs = [tmp_path / name for name in names]
    call = ["--model", model]
    options = [
        ["--out", paths[0], "--out", paths[1], "--errors", paths[2]] for paths in (wanted, outs)
    ]
    assert twl_tag(folder, *call, *options[0], "--no-journal").exit_code == 3

    calls, journal = tmp_path / "calls", tmp_path / "tags.csv.journal"
    dice = random.Random(images)
    killed = done = rounds = 0
    while killed < kills:
        before = _last_commit(journal)
        with start(folder, calls, *call, "--txt", *options[1]) as process:
            if dice.random() < 0.8:
                while process.poll() is None and _last_commit(journal) == before:
                    time.sleep(0.001)
                time.sleep(dice.uniform(0, 0.4))
            else:
                time.sleep(dice.uniform(0.2, 0.8))  # also while it starts
            process.send_signal(signal.SIGKILL)
            _, error = process.communicate(timeout=60)
        if process.returncode == -signal.SIGKILL:
            killed += 1
            now = committed(journal)
            assert now >= done, "a committed row was lost"
            done = now
            assert not outs[0].exists() or outs[0].read_bytes() == wanted[0].read_bytes()
            continue
        rounds += 1
        _check_round(process.returncode, error, done, outs, wanted, folder, images)
        for path in (*outs, journal, *folder.glob("*.txt")):
            path.unlink()
        done = 0
    with start(folder, calls, *call, "--txt", *options[1]) as process:
        _, error = process.communicate(timeout=60)
    _check_round(process.returncode, error, done, outs, wanted, folder, images)
    good = images - images // 50
    in_flight = (2 * WORKERS + 1) * BATCH
    predicted = sum(calls.read_bytes())
    assert good * (rounds + 1) <= predicted <= good * (rounds + 1) + killed * in_flight


def _last_commit(journal: Path) -> int:
    log = journal.with_name(journal.name + "-wal")
    return log.stat().st_mtime_ns if log.exists() and log.stat().st_size else 0


def _check_round(
    code: int,
    error: str,
    done: int,
    outs: list[Path],
    wanted: list[Path],
    folder: Path,
    images: int,
) -> None:
    assert code == 3, error
    if done:
        assert f"{done:,} of them in an earlier run" in error
    for path, want in zip(outs, wanted, strict=True):
        assert path.read_bytes() == want.read_bytes()
        assert not path.with_name(path.name + ".partial").exists()
    assert len(list(folder.glob("*.txt"))) == images - images // 50
