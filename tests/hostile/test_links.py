"""Links that lie where twl writes: in a folder that somebody else has packed."""

import hashlib
import os
import random
import re
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.images.encoded import encode
from tests.tagging.models import write_model
from twlcli import io
from twlcli.cli.app import app
from twlcli.errors import TwlError
from twlcli.io import open_partial, partial_path, replacing, write_whole
from twlcli.shapes.sample import draw
from twlcli.tagging.outputs import sidecar

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links of POSIX")

PRECIOUS = b"precious\n"
OUTPUTS = {
    "--out": ("t.csv", ".partial"),
    "--errors": ("e.csv", ".partial"),
    "--gallery": ("g.html", ".partial"),
}


def twl(*arguments: object):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(encode(Image.new("RGB", (30, 20), (255, 0, 0)), "PNG"))
    (folder / "b.png").write_text("no image")
    return folder


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model.onnx")


@pytest.fixture
def precious(tmp_path):
    path = tmp_path / "precious"
    path.write_bytes(PRECIOUS)
    return path


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
@pytest.mark.parametrize("option", OUTPUTS)
def test_nothing_is_written_through_a_link_at_a_partial_file(photos, model, precious, option, link):
    name, suffix = OUTPUTS[option]
    link(photos / (name + suffix), precious)
    result = twl("tag", photos, "--model", model, option, photos / name, "--no-journal")
    assert precious.read_bytes() == PRECIOUS
    if link is Path.symlink_to:
        assert result.exit_code == 2 and result.stderr.count("\n") == 1
        assert "is in the way and not a regular file" in result.stderr
        assert not (photos / name).exists()
    else:  # a second name of a file: the name goes, the file stays
        assert result.exit_code == 3
        assert not (photos / name).is_symlink() and precious.stat().st_nlink == 1


@pytest.mark.parametrize("option", OUTPUTS)
def test_nothing_new_is_made_where_a_link_leads(photos, model, tmp_path, option):
    name, suffix = OUTPUTS[option]
    (photos / (name + suffix)).symlink_to(tmp_path / "outside")
    assert twl("tag", photos, "--model", model, option, photos / name).exit_code == 2
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("name", ["t.csv", "t.csv.shard"])
def test_an_output_that_is_a_link_itself_is_replaced(photos, model, precious, name):
    (photos / name).symlink_to(precious)
    arguments = ["--out", photos / "t.csv", "--shard", "1/1", "--no-journal", "--force"]
    assert twl("tag", photos, "--model", model, *arguments).exit_code == 3
    assert precious.read_bytes() == PRECIOUS and not (photos / name).is_symlink()


@pytest.mark.parametrize("suffix", [".shard.partial", ".shard.tmp"])
def test_names_that_older_versions_used_mean_nothing(photos, model, precious, suffix):
    (photos / f"t.csv{suffix}").symlink_to(precious)
    out = ["--out", photos / "t.csv", "--shard", "1/1", "--no-journal"]
    assert twl("tag", photos, "--model", model, *out).exit_code == 3
    assert precious.read_bytes() == PRECIOUS and (photos / "t.csv.shard").is_file()


def test_temporary_names_cannot_be_foreseen(tmp_path):
    names = set()
    for _ in range(20):
        with replacing(tmp_path / "file") as temporary:
            names.add(temporary.name)
            assert stat.S_ISREG(temporary.lstat().st_mode)
    assert len(names) == 20 and all(re.fullmatch(r"\.twl-\w{16}\.tmp", each) for each in names)


def test_a_name_that_is_taken_is_not_opened(tmp_path, precious, monkeypatch):
    monkeypatch.setattr("twlcli.io.secrets.token_hex", lambda count: "known")
    (tmp_path / ".twl-known.tmp").symlink_to(precious)
    with pytest.raises(TwlError, match="cannot be written"):
        write_whole(tmp_path / "file", lambda file: file.write(b"new"))
    assert precious.read_bytes() == PRECIOUS and not (tmp_path / "file").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_folder_in_the_way_is_told_and_does_not_block(tmp_path, make):
    make(partial_path(tmp_path / "t.csv"))
    with pytest.raises(TwlError, match="not a regular file"):
        open_partial(tmp_path / "t.csv").__enter__()


def test_what_a_killed_run_left_is_replaced_and_not_written_into(tmp_path):
    path = tmp_path / "t.csv"
    partial_path(path).write_bytes(b"left over")
    other = tmp_path / "second-name"
    other.hardlink_to(partial_path(path))
    with open_partial(path) as file:
        file.write(b"new")
    assert (path.read_bytes(), other.read_bytes()) == (b"new", b"left over")


def test_a_partial_file_that_was_exchanged_is_not_put_in_place(tmp_path):
    path = tmp_path / "t.csv"
    with pytest.raises(TwlError, match="another twl is writing it"), open_partial(path) as file:
        file.write(b"mine")
        partial_path(path).unlink()
        partial_path(path).write_bytes(b"theirs")
    assert not path.exists()


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_new_files_have_the_rights_that_the_umask_leaves(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "whole", lambda file: file.write(b""))
        with open_partial(tmp_path / "partial"):
            pass
        draw(tmp_path / "drawn", count=5)
    finally:
        os.umask(before)
    for name, all_rights in (("whole", 0o666), ("partial", 0o666), ("drawn/labels.csv", 0o666)):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == all_rights & ~mask
    for name in ("drawn", "drawn/images"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o777 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_what_replaces_a_file_has_its_rights(tmp_path, mode):
    path = tmp_path / "file"
    for write in (write_whole, lambda path, write: _partially(path)):
        path.unlink(missing_ok=True)
        path.touch()
        path.chmod(mode | stat.S_ISUID)
        write(path, lambda file: file.write(b"new"))
        assert stat.S_IMODE(path.stat().st_mode) == mode


def _partially(path):
    with open_partial(path) as file:
        file.write(b"new")


def test_convert_writes_through_no_link(tmp_path, precious):
    (tmp_path / "a.png").touch()
    table, out = tmp_path / "labels.csv", tmp_path / "out.csv"
    table.write_text("image,labels\na.png,dog\n")
    out.symlink_to(precious)
    result = twl("data", "convert", table, "--out", out, "--force")
    assert result.exit_code == 0, result.output
    assert precious.read_bytes() == PRECIOUS and "dog" in out.read_text()


def test_nobody_reads_what_will_replace_a_file_that_he_may_not_read(tmp_path):
    path = tmp_path / "file"
    path.touch(0o600)
    path.chmod(0o600)
    with open_partial(path), replacing(path) as temporary:
        for each in (temporary, partial_path(path)):
            assert stat.S_IMODE(each.stat().st_mode) == 0o600


def test_what_is_exchanged_all_the_time_leads_nowhere_else(tmp_path):
    """Somebody puts links and pipes at the names that twl writes and reads, as fast as they can.

    But for the journal's: SQLite opens it by its name.
    """
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    victim = outside / "victim"
    victim.write_text("own")
    victim.chmod(0o640)
    digest = hashlib.blake2b(b"a.xmp", digest_size=8).hexdigest()
    names = ("a.csv", "a.csv.partial", "a.xmp", f".twl-{digest}.tmp", "a.bin")
    done = threading.Event()
    draw = random.Random(0)

    def exchange() -> None:
        makes = (
            lambda path: path.symlink_to(victim),
            lambda path: path.symlink_to(outside / "new"),
            os.mkfifo,
            Path.unlink,
            Path.unlink,
        )
        while not done.is_set():
            path = folder / draw.choice(names)
            with suppress(OSError):
                draw.choice(makes)(path)

    def partial() -> None:
        with io.open_partial(folder / "a.csv") as file:
            file.write(b"written")

    works = (
        partial,
        lambda: io.write_whole(folder / "a.bin", lambda file: file.write(b"written")),
        lambda: sidecar.replace_file(folder / "a.xmp", b"written", [folder]),
    )
    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            for work in works:
                with suppress(TwlError):
                    work()
            with suppress(TwlError):
                assert sidecar.read_existing(folder / "a.xmp") in (None, b"written")
    finally:
        done.set()
        thread.join()
    assert [path.name for path in outside.iterdir()] == ["victim"]
    assert victim.read_text() == "own" and victim.stat().st_mode & 0o777 == 0o640
