"""Parquet files and workbooks of a few kilobytes that would fill the memory or never end."""

import subprocess
import sys
import time
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from twlcli.annotations import sheets
from twlcli.annotations.detect import read_labels
from twlcli.confined import ConfinedError, Limits, _idle, confined
from twlcli.errors import AnnotationError

PEAK = """
import sys
from pathlib import Path
from twlcli import confined
from twlcli.annotations.detect import read_labels
from twlcli.errors import TwlError
confined.Limits.__init__.__defaults__ = (int(sys.argv[2]), 600)
try:
    read_labels(sys.argv[1])
except TwlError as error:
    print(error)
lines = Path("/proc/self/status").read_text().splitlines()  # rusage counts the parent's before
print(*(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM")))
"""


def refused_within(path: Path, megabytes: int, limit: int = 4096) -> str:
    """The message; the process that reads labels must not need more memory than that.

    Args:
        path: the file.
        megabytes: of memory.
        limit: megabytes that the other process may take.
    """
    if sys.platform != "linux":
        pytest.skip("limits of Linux")
    done = subprocess.run(
        [sys.executable, "-c", PEAK, path, str(limit)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    message, peak = done.stdout.splitlines()
    assert int(peak) < megabytes
    return message


# --- Parquet --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_value_that_a_dictionary_repeats_fills_no_memory(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = 4000
    label = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * rows, pyarrow.int32()), pyarrow.array(["x" * (4 << 20)])
    )
    image = pyarrow.array([f"{number}.jpg" for number in range(rows)])
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"image": image, "labels": label}), path, compression="zstd")
    assert path.stat().st_size < 100_000
    assert "a.parquet: takes more than 4,096 MB of memory to read" in refused_within(path, 1000)


@pytest.mark.parametrize(
    ("limit", "told"), [(2048, "2,048"), pytest.param(4096, "4,096", marks=pytest.mark.slow)]
)
def test_a_list_that_repeats_a_value_fills_no_memory(limit, told, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    count = 1_000_000
    words = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array(memoryview(bytes(4 * count)).cast("i")), pyarrow.array(["x" * 8000])
    )
    cell = pyarrow.ListArray.from_arrays(pyarrow.array([0, count], pyarrow.int32()), words)
    table = pyarrow.table({"image": ["a.jpg"], "labels": cell})
    path = tmp_path / "a.parquet"
    parquet.write_table(table, path, compression="zstd")
    assert path.stat().st_size < 100_000
    message = refused_within(path, 500, limit)
    assert f"a.parquet: takes more than {told} MB of memory to read" in message


def test_rows_and_text_are_not_endless(tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    names = [f"{number}.jpg" for number in range(200)]
    parquet.write_table(pyarrow.table({"image": names, "labels": ["dog"] * 200}), path)
    assert len(list(sheets._rows(path))) == 201
    monkeypatch.setattr(sheets, "LONGEST_LINE", 8)
    with pytest.raises(AnnotationError, match=r"a\.parquet:1: a row of more than 8 characters"):
        list(sheets._rows(path))
    monkeypatch.undo()
    monkeypatch.setattr(sheets, "_MOST_TEXT", 1000)
    with pytest.raises(AnnotationError, match=r"a\.parquet: has more than .* or 1,000 characters"):
        list(sheets._rows(path))
    monkeypatch.undo()
    monkeypatch.setattr(sheets, "_MOST_IN_ALL", 100)
    with pytest.raises(AnnotationError, match=r"a\.parquet: has more than 100 rows"):
        list(sheets._rows(path))


def test_images_inside_parquet_are_not_read(tmp_path):
    """Of images that lie in the file beside their paths only the paths are read."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    images = [{"bytes": bytes(1000), "path": f"{number}.jpg"} for number in range(3)]
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"image": images, "labels": ["dog"] * 3, "id.path": ["x"] * 3})
    parquet.write_table(table, path)
    header, *rows = sheets._rows(path)
    assert header == ["image", "labels", "id.path"]
    assert rows == [[f"{number}.jpg", "dog", "x"] for number in range(3)]


# --- workbooks ------------------------------------------------------------------------------------


def workbook(folder: Path, name: str, content: bytes, times: int, method: int = 8) -> Path:
    """A workbook of which one member holds some content many times over."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["image", "labels"])
    book.active.append(["a.jpg", "dog"])
    plain, path = folder / "plain.xlsx", folder / "labels.xlsx"
    book.save(plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", method) as new:
        for each in old.namelist():
            whole = old.read(each)
            if each != name:
                new.writestr(each, whole)
                continue
            head, tail = whole[: whole.rindex(b"</")], whole[whole.rindex(b"</") :]
            with new.open(each, "w", force_zip64=True) as file:
                file.write(head)
                for _ in range(times // 1000):
                    file.write(content * 1000)
                file.write(tail)
    return path


@pytest.mark.slow
def test_a_workbook_does_not_unpack_without_end(tmp_path):
    path = workbook(tmp_path, "xl/worksheets/sheet1.xml", b" " * 1000, 1_075_000)
    assert path.stat().st_size < 3 << 20
    begin = time.monotonic()
    with pytest.raises(AnnotationError, match=r"labels\.xlsx: unpacks into more than 1024 MiB"):
        read_labels(path)
    assert time.monotonic() - begin < 5


def test_only_so_much_of_a_workbook_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(sheets, "_MOST_UNPACKED", 16 << 20)
    path = workbook(tmp_path, "xl/worksheets/sheet1.xml", b" " * 1000, 16_000)
    assert len(list(sheets._rows(path))) == 2
    path = workbook(tmp_path, "xl/worksheets/sheet1.xml", b" " * 1000, 17_000)
    with pytest.raises(AnnotationError, match=r"labels\.xlsx: unpacks into more than 16 MiB"):
        list(sheets._rows(path))


def test_only_the_method_of_workbooks_is_unpacked(tmp_path):
    """Of others a few bytes may become a gigabyte at once, whatever sizes are told."""
    path = workbook(tmp_path, "xl/styles.xml", b" ", 1000, zipfile.ZIP_BZIP2)
    with pytest.raises(AnnotationError, match="compressed as workbooks are not"):
        read_labels(path)


@pytest.mark.slow
def test_styles_take_only_so_much_memory(tmp_path):
    path = workbook(tmp_path, "xl/styles.xml", b"<a/>", 100_000_000)
    assert "labels.xlsx: " in refused_within(path, 1000)


# --- the other process ----------------------------------------------------------------------------


def endless():
    while True:
        yield


def busy():
    while True:
        pass
    yield


def greedy():
    yield bytearray(8 << 30).count(0)


def crashing():
    import ctypes

    yield "begun"
    ctypes.string_at(0)


def failing():
    yield "begun"
    raise AnnotationError("a.csv: is wrong", hint="{force} helps")


def test_what_is_drawn_is_what_is_yielded():
    assert list(confined(divmod_of, 7, 2)) == [[3, 1], "\udcff"]
    with closing(confined(endless)) as rows:
        assert [next(rows) for _ in range(100_000)] == [None] * 100_000
    assert list(confined(divmod_of, 9, 2)) == [[4, 1], "\udcff"]  # nothing is left of what was


def divmod_of(one: int, other: int):
    yield divmod(one, other)
    yield "\udcff"


def test_a_waiting_process_that_was_killed_is_replaced():
    assert list(confined(divmod_of, 7, 2)) == [[3, 1], "\udcff"]
    (waiting,) = _idle
    waiting._process.kill()
    waiting._process.wait()
    assert list(confined(divmod_of, 9, 2)) == [[4, 1], "\udcff"]


def test_errors_come_as_they_are():
    with pytest.raises(AnnotationError) as caught:
        list(confined(failing))
    assert caught.value.hinted(lambda name: f"--{name}") == "--force helps"


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_what_takes_too_much_is_ended():
    with pytest.raises(ConfinedError, match="takes more than 4,096 MB of memory"):
        list(confined(greedy))
    with pytest.raises(ConfinedError, match="takes more than 1 seconds"):
        list(confined(busy, limits=Limits(seconds=1)))
    with pytest.raises(ConfinedError, match="its reader crashed"):
        list(confined(crashing))
    assert list(confined(divmod_of, 7, 2)) == [[3, 1], "\udcff"]
