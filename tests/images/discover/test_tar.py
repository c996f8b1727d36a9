import io
import os
import tarfile
import tracemalloc
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.images.arrays import load
from tests.images.encoded import encode, picture
from tests.inference.test_stream import SMALL, Model
from twlcli.images.discover.scan import scan
from twlcli.images.discover.tar import members
from twlcli.images.image_file import ByteRange, read_range
from twlcli.images.sandbox import DecoderProcess, LocalDecoder
from twlcli.inference.stream import stream

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def info(name: str, **fields) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(header, field, value)
    return header


def write(path: Path, contents: dict[str, bytes], tar_format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=tar_format, encoding="utf-8") as tar:
        for name, content in contents.items():
            tar.addfile(info(name, size=len(content)), io.BytesIO(content))
    return path


def found(path: Path, **options) -> list[tuple[str, str | None]]:
    return [(file.name, file.failure) for file in members(path, "s.tar", **options)]


def good(*names: str) -> list[tuple[str, str | None]]:
    return [(f"s.tar/{name}", None) for name in names]


@pytest.mark.parametrize("tar_format", FORMATS)
def test_members_are_found_with_their_bytes(tmp_path, tar_format):
    long = "/".join(["folder" * 10] * 3) + "/x.jpg"
    contents = {
        "b.jpg": b"one",
        "b.json": b"{}",
        "a/c.PNG": b"two" * 999,
        long: b"",
        "\xe4.gif": b"4",
    }
    path = write(tmp_path / "s.tar", contents, tar_format)
    files = list(members(path, "s.tar"))
    assert [file.name for file in files] == [
        f"s.tar/{name}" for name in contents if "json" not in name
    ]
    for file in files:
        assert isinstance(file.byte_range, ByteRange) and file.path == path
        assert read_range(path, file.byte_range) == contents[file.name.removeprefix("s.tar/")]
        assert file.byte_range.mtime_ns == path.stat().st_mtime_ns


@pytest.mark.parametrize("tar_format", FORMATS)
def test_names_that_are_not_utf8_are_kept(tmp_path, tar_format):
    path = write(
        tmp_path / "s.tar",
        {"caf\udce9.jpg": b"", "y" * 40 + "/" + "x" * 80 + "\udcff\n.jpg": b""},
        tar_format,
    )
    names = [os.fsencode(file.name) for file in members(path, "s.tar")]
    assert names == [b"s.tar/caf\xe9.jpg", b"s.tar/" + b"y" * 40 + b"/" + b"x" * 80 + b"\xff\n.jpg"]


def test_names_are_only_names(tmp_path):
    names = ["../up.jpg", "/etc/abs.jpg", "a/../../b.jpg"]
    assert found(write(tmp_path / "s.tar", dict.fromkeys(names, b"x"))) == good(*names)


def test_hidden_members_are_passed_over_unless_asked_for(tmp_path):
    names = ["./a.jpg", "._a.jpg", ".secret/b.jpg", "c/.d.jpg", "../e.jpg"]
    path = write(tmp_path / "s.tar", dict.fromkeys(names, b"x"))
    assert found(path) == good("a.jpg", "../e.jpg")
    assert found(path, hidden=True) == good("a.jpg", *names[1:])


def test_links_folders_and_devices_are_passed_over(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            tar.addfile(info("link.jpg", type=kind, linkname="/etc/passwd"))
        tar.addfile(info("folder.jpg", type=tarfile.DIRTYPE))
        tar.addfile(info("a.jpg"))
    assert found(tmp_path / "s.tar") == good("a.jpg")


def test_a_second_member_of_one_name_is_a_failure(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("a.jpg", "b.jpg", "./a.jpg", "a.jpg"):
            tar.addfile(info(name))
    again = "a second member of this name; the first one counts"
    assert found(tmp_path / "s.tar") == [
        *good("a.jpg", "b.jpg"),
        ("s.tar/a.jpg (again at byte 1024)", again),
        ("s.tar/a.jpg (again at byte 1536)", again),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a tar"),
        (b"x" * 2000, "not a tar"),
        (b"\x1f\x8b" + b"x" * 2000, r"compressed \(gzip\); expected a plain tar"),
        (bytes(10240), "no images in this tar"),
    ],
)
def test_what_is_no_tar_is_one_failure(tmp_path, content, reason):
    (tmp_path / "s.tar").write_bytes(content)
    ((name, failure),) = found(tmp_path / "s.tar")
    assert name == "s.tar"
    assert failure is not None and failure.startswith(reason.replace("\\", ""))


def test_what_is_not_there_is_one_failure(tmp_path):
    assert found(tmp_path / "s.tar") == [("s.tar", "no such file")]
    tmp_path.chmod(0o755)
    assert found(tmp_path) == [("s.tar", "not a file (drwxr-xr-x)")]


THREE = {"a.jpg": b"a" * 600, "b.jpg": b"b" * 600, "c.jpg": b"c" * 600}  # three blocks each


@pytest.mark.parametrize(
    ("length", "names", "reason"),
    [
        (512 * 9, "abc", "cut off: the blocks that end a tar are missing"),
        (512 * 8 + 20, "ab", "cut off inside 'c.jpg'"),
        (512 * 6 + 100, "ab", "cut off: the blocks that end a tar are missing"),
        (512 * 4, "a", "cut off inside 'b.jpg'"),
    ],
)
def test_a_tar_that_is_cut_off_yields_what_is_whole(tmp_path, length, names, reason):
    path = write(tmp_path / "s.tar", THREE)
    os.truncate(path, length)
    assert found(path) == [*good(*(f"{name}.jpg" for name in names)), ("s.tar", reason)]


def test_a_damaged_header_ends_the_tar(tmp_path):
    path = write(tmp_path / "s.tar", THREE)
    content = bytearray(path.read_bytes())
    content[512 * 3 + 10] ^= 1
    path.write_bytes(content)
    assert found(path) == [*good("a.jpg"), ("s.tar", "damaged at byte 1,536")]


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    return info(name, size=size, type=kind).tobuf(tarfile.GNU_FORMAT)


def pax(records: bytes) -> bytes:
    return header("pax", len(records), tarfile.XHDTYPE) + records.ljust(
        -(-len(records) // 512) * 512, b"\0"
    )


def record(key: str, value: str) -> bytes:
    """A record of an extended header, which starts with its own length."""
    text = f" {key}={value}\n"
    return f"{len(text) + 2}{text}".encode()  # all here have two digits


END = bytes(1024)
ONE = header("a.jpg", 3) + b"abc".ljust(512, b"\0")


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (header("b.jpg", 1 << 60), "cut off inside 'b.jpg'"),
        (header("b.jpg", -512), "damaged at byte 1,024"),
        (header("b.jpg", -1024 * 1024), "damaged at byte 1,024"),
        (pax(b"17 size=-1000000\n") + header("b.jpg", 3), "damaged at byte 1,024"),
        (header("b", 1 << 40, tarfile.GNUTYPE_LONGNAME), "a header of more than 65,536 bytes"),
        (header("b", -5000, tarfile.XHDTYPE), "a header of more than 65,536 bytes"),
        (pax(b"11 path=b\n\n") * 5000 + ONE, "a header of more than 65,536 bytes"),
        (pax(b"19 hdrcharset=\xff\xff\xff\n") + ONE, "damaged after byte 1,024"),
        (pax(b"9" * 5000 + b" path=b\n") + ONE, "damaged after byte 1,024"),
    ],
)
def test_hostile_headers_end_the_tar(tmp_path, rest, reason):
    (tmp_path / "s.tar").write_bytes(ONE + rest + END)
    *before, last = found(tmp_path / "s.tar")
    assert before == good("a.jpg")
    # Python 3.13's reader ends at some headers that that of 3.11 stumbles over.
    assert last in [("s.tar", reason), ("s.tar", reason.replace("damaged after", "damaged at"))]


def test_a_huge_member_that_is_there_is_a_failure_of_its_own(tmp_path):
    path = tmp_path / "s.tar"
    size = 1 << 40
    with path.open("wb") as file:  # a file with a hole, of which hardly a block is on the disk
        file.write(header("huge.jpg", size))
        file.seek(size, os.SEEK_CUR)
        file.write(ONE + END)
    (huge, _) = files = list(members(path, "s.tar"))
    assert [file.name for file in files] == ["s.tar/huge.jpg", "s.tar/a.jpg"]
    (chunk,) = run([huge])
    assert str(chunk.errors[0]).startswith("too large: 1,099,511,627,776 bytes")


def test_a_sparse_member_is_a_failure(tmp_path):
    sparse = {"major": "1", "minor": "0", "name": "sparse.jpg", "realsize": "9999"}
    records = b"".join(record(f"GNU.sparse.{key}", value) for key, value in sparse.items())
    body = b"1\n9000\n999\n".ljust(512, b"\0") + bytes(1024)
    path = tmp_path / "s.tar"
    path.write_bytes(pax(records) + header("GNUSparse/x.jpg", len(body)) + body + ONE + END)
    assert found(path) == [
        ("s.tar/sparse.jpg", "a sparse member; unpack the tar to read it"),
        *good("a.jpg"),
    ]


def test_members_with_nul_in_their_names_stay_apart(tmp_path):
    path = tmp_path / "s.tar"
    path.write_bytes((pax(record("path", "b\0.jpg")) + ONE) * 2 + END)
    assert found(path) == [
        ("s.tar/b\\0.jpg", "a NUL character in the member's name"),
        (
            "s.tar/b\\0.jpg (again at byte 2048)",
            "a second member of this name; the first one counts",
        ),
    ]


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_is_damaged_nothing_escapes(tmp_path_factory, data):
    path = write(tmp_path_factory.getbasetemp() / "mutated.tar", THREE | {"x" * 150 + ".jpg": b"1"})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    path.write_bytes(content)
    files = list(members(path, "s.tar"))
    assert len({file.name for file in files}) == len(files)
    for file in files[:-1]:
        assert file.byte_range is not None and file.byte_range.offset >= 0
        assert file.byte_range.offset + file.byte_range.size <= len(content) or file.failure


def test_memory_does_not_grow_with_the_bytes_in_a_tar(tmp_path):
    path = write(tmp_path / "s.tar", {f"{index}.jpg": bytes(5000) for index in range(2000)})

    def peak(count: int) -> int:
        tracemalloc.start()
        assert sum(1 for _ in islice(members(path, "s.tar"), count)) == count
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(10)
    assert peak(2000) < peak(100) + 2000 * 50  # what names that are seen take


def run(files):
    remaining = iter(files)
    return list(
        stream(
            iter(lambda: tuple(islice(remaining, 4)), ()),
            Model(),
            files_of=tuple,
            decoders=[LocalDecoder(), DecoderProcess()],
        )
    )


def test_stream_decodes_members_as_it_does_files(tmp_path):
    pictures = {f"{index}.png": encode(picture(20 + index, 20), "PNG") for index in range(9)}
    write(tmp_path / "s.tar", pictures | {"bad.png": b"text"})
    chunks = run(scan([tmp_path / "s.tar"]))
    logits = np.concatenate([chunk.logits for chunk in chunks])
    for index, (name, content) in enumerate(pictures.items()):
        (tmp_path / name).write_bytes(content)
        expected = load(tmp_path / name, SMALL).mean(axis=(0, 1))
        np.testing.assert_allclose(logits[index], expected, rtol=1e-6)
    assert [str(error) for chunk in chunks for error in chunk.errors if error] == [
        "not an image (expected JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF, JPEG 2000 or HEIC)"
    ]
