"""Tars of strangers, through the whole of `twl tag`."""

import csv
import gzip
import io
import os
import re
import tarfile
import time
import tracemalloc

import pytest

from tests.hostile.test_links import twl
from tests.images.discover.test_tar import END, ONE, header, info, pax
from tests.images.encoded import encode, picture
from tests.tagging.models import write_model
from twlcli.cli.tag_report import FAILURES_SHOWN, TagReport
from twlcli.images.discover.tar import members
from twlcli.images.image_file import Failure

PICTURE = encode(picture(), "JPEG")


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    write_model(tmp_path / "in" / "model.onnx")
    return tmp_path


def tag(*options: str):
    """The tags of `s.tar`, the failures, and what the command printed."""
    outputs = ("--out", "t.csv", "--errors", "e.csv", "--force", "--no-journal")
    result = twl("tag", "s.tar", "--model", "model.onnx", *outputs, *options)
    rows = []
    for name in ("t.csv", "e.csv"):
        with open(name, newline="", errors="surrogateescape") as file:  # noqa: PTH123
            rows.append({row["image"]: row.get("error", "") for row in csv.DictReader(file)})
    return rows[0], rows[1], result


NAMES = (
    "../up.jpg",
    "/absolute.jpg",
    "a/../../up.jpg",
    "C:\\x.jpg",
    f"{'x' * 5000}.jpg",
    "~/x.jpg",
)


@pytest.mark.skipif(os.name != "posix", reason="paths of POSIX")
def test_names_of_members_are_never_paths(place):
    with tarfile.open("s.tar", "w") as tar:
        for name in NAMES:
            tar.addfile(info(name, size=len(PICTURE)), io.BytesIO(PICTURE))
    before = sorted(place.rglob("*"))
    tagged, failed, _ = tag("--xmp", "--txt", "--gallery", "g.html")
    assert sorted(tagged) == sorted(f"s.tar/{name}" for name in NAMES)
    no_place = "is in a tar file, which has no place for a sidecar"
    assert set(failed.values()) == {f"{no_place}; {no_place}"}  # for --xmp and --txt
    new = set(place.rglob("*")) - set(before)
    thumbnails = {path for path in new if path.parent == place / "in" / "g-thumbnails"}
    assert all(re.fullmatch(r"[0-9a-f]{20}\.jpg", path.name) for path in thumbnails)
    assert len(thumbnails) == len(NAMES)
    names = {path.name for path in new - thumbnails}
    assert names == {"t.csv", "e.csv", "g.html", "g-thumbnails"}


def test_links_and_devices_are_not_opened(place):
    (place / "secret.jpg").write_bytes(PICTURE)
    with tarfile.open("s.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            tar.addfile(info(f"{kind.decode()}.jpg", type=kind, linkname="../secret.jpg"))
        tar.addfile(info("good.jpg", size=len(PICTURE)), io.BytesIO(PICTURE))
    tagged, failed, _ = tag()
    assert (list(tagged), failed) == (["s.tar/good.jpg"], {})


def test_a_member_that_is_compressed_or_a_tar_is_no_image(place):
    with tarfile.open("s.tar", "w") as tar:
        for name, content in (("a.jpg", gzip.compress(PICTURE)), ("b.jpg", ONE + END)):
            tar.addfile(info(name, size=len(content)), io.BytesIO(content))
    tagged, failed, _ = tag()
    assert not tagged and all(reason.startswith("not an image") for reason in failed.values())


def test_a_tar_of_a_terabyte_of_nothing_is_no_tar(place):
    with open("s.tar", "wb") as file:  # noqa: PTH123
        file.truncate(1 << 40)
    begin = time.monotonic()
    tagged, failed, _ = tag()
    assert not tagged and list(failed) == ["s.tar"] and time.monotonic() - begin < 10


def test_a_terabyte_between_two_members_is_not_read(place):
    with open("s.tar", "wb") as file:  # noqa: PTH123
        file.write(header("huge.jpg", 1 << 40))
        file.seek(1 << 40, os.SEEK_CUR)
        file.write(header("good.jpg", len(PICTURE)))
        file.write(PICTURE.ljust(-(-len(PICTURE) // 512) * 512, b"\0") + END)
    begin = time.monotonic()
    tagged, failed, _ = tag()
    assert list(tagged) == ["s.tar/good.jpg"] and time.monotonic() - begin < 10
    assert failed["s.tar/huge.jpg"].startswith("too large: 1,099,511,627,776 bytes")


def test_global_headers_do_not_fill_the_memory(tmp_path):
    with (tmp_path / "s.tar").open("wb") as file:
        for number in range(3000):
            text = b"%d key%06d=%s\n" % (1024, number, b"x" * 1024)
            records = text[:1023] + b"\n"
            file.write(header("pax", len(records), tarfile.XGLTYPE) + records)
        file.write(ONE + END)
    *_, last = members(tmp_path / "s.tar", "s.tar")
    assert last.failure is not None


@pytest.mark.parametrize("path", ["../../x.jpg", "/etc/x.jpg", "x\n.jpg", "\x1b[31m.jpg"])
def test_paths_in_extended_headers_are_only_names(tmp_path, path):
    line = f" path={path}\n"
    records = f"{len(line) + 2}{line}".encode()
    (tmp_path / "s.tar").write_bytes(pax(records) + ONE + END)
    (file,) = members(tmp_path / "s.tar", "s.tar")
    assert file.name == f"s.tar/{path}" and file.path == tmp_path / "s.tar"


def test_many_members_of_one_name_take_time_and_memory_as_others_do(tmp_path):
    count = 5000
    one = header("a.jpg", 0)
    (tmp_path / "s.tar").write_bytes(one * count + END)
    tracemalloc.start()
    begin = time.monotonic()
    failures = sum(each.failure is not None for each in members(tmp_path / "s.tar", "s.tar"))
    seconds, peak = time.monotonic() - begin, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert failures == count - 1
    assert seconds < 10 and peak < 60 * count


def test_a_million_failures_are_not_remembered():
    report = TagReport(default_model=False, tables=[], errors=None, streams=False)
    tracemalloc.start()
    for number in range(100_000):
        report.failed(Failure(f"{number}.jpg", f"reason {number}"))
    assert tracemalloc.get_traced_memory()[0] < 100_000
    tracemalloc.stop()
    assert len(report._failures.shown) == FAILURES_SHOWN
