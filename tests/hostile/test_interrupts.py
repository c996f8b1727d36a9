"""Ctrl-C in the middle of what takes long: one line, 130, and nothing half-written."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.test_links import twl
from tests.tagging.test_merge import write
from twlcli.cli import app
from twlcli.errors import TwlError
from twlcli.tagging.shards import Shard, record_path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
ROWS = 400_000


def interrupted(arguments: list[object], begun: Callable[[], bool]) -> float:
    """Interrupt `twl` when it has begun; the seconds until it has ended."""
    command = [sys.executable, "-m", "twlcli", *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        until = time.monotonic() + 60
        while not begun() and time.monotonic() < until:
            time.sleep(0.01)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "twl: interrupted\n")
    return time.monotonic() - began


def after(seconds: float) -> Callable[[], bool]:
    began = time.monotonic()
    return lambda: time.monotonic() > began + seconds


@pytest.fixture
def part(tmp_path) -> Path:
    """The one part of a run over many images."""
    part = write(tmp_path / "part.csv", ["a.jpg"], Shard(1, 1))
    header = part.read_text().splitlines()[0]
    names = [f"{number:07}.jpg" for number in range(ROWS)]
    part.write_text("\n".join([header, *(f"{name},dog,0.5" for name in names)]) + "\n")
    summary = json.loads(record_path(part).read_text().splitlines()[0])
    lines = [json.dumps({**summary, "images": ROWS, "taken": ROWS, "rows": ROWS})]
    lines += [json.dumps([number, name]) for number, name in enumerate(names)]
    record_path(part).write_text("\n".join(lines) + "\n")
    return part


def test_merge(part):
    out = part.with_name("all.csv")
    partial = out.with_name("all.csv.partial")
    begun = lambda: partial.exists() and partial.stat().st_size > 0  # noqa: E731
    assert interrupted(["merge", out, part], begun) < 5
    assert {path.name for path in part.parent.iterdir()} == {"part.csv", "part.csv.shard"}


@pytest.mark.parametrize("command", ["check", "show"])
def test_reading_a_long_table(tmp_path, command):
    table = tmp_path / "labels.csv"
    rows = "".join(f"{number}.jpg,dog|cat\n" for number in range(ROWS * 4))
    table.write_text(f"image,labels\n{rows}")
    assert interrupted(["data", command, table], after(1.0)) < 5


def test_reading_a_long_sheet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "labels.parquet"
    names = [f"{number}.jpg" for number in range(ROWS * 4)]
    parquet.write_table(pyarrow.table({"image": names, "labels": ["dog"] * len(names)}), path)
    assert interrupted(["data", "check", path], after(1.5)) < 5


def test_libraries_that_make_another_error_of_it_change_nothing(monkeypatch, tmp_path):
    """So does onnxruntime while it is loaded."""

    def swallowed(*arguments: object, **options: object) -> None:
        app._interrupted.set()
        raise TwlError("something else")

    monkeypatch.setattr("twlcli.tagging.merge.merge", swallowed)
    try:
        result = twl("merge", tmp_path / "a.csv", tmp_path / "b.csv")
    finally:
        app._interrupted.clear()
    assert result.exit_code == 130
    assert "twl: interrupted\n" in result.output and "something else" not in result.output
