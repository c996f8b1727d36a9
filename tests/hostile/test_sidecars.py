"""Sidecars in folders that somebody else has packed: nothing is written outside of them."""

import os
import stat
import time
from pathlib import Path

import pytest
from PIL import Image

import twlcli
from tests.hostile.test_links import twl
from tests.images.encoded import encode
from tests.tagging.models import write_model
from twlcli import io
from twlcli.images.discover.scan import scan
from twlcli.tagging.outputs import sidecar

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links of POSIX")

OUTSIDE = "lies outside of the folder given, over a link"


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model.onnx")


@pytest.fixture
def folders(tmp_path):
    """A folder that was sent, and one's own photographs."""
    for name in ("sent", "own"):
        (tmp_path / name).mkdir()
        image = Image.new("RGB", (30, 20), (255, 0, 0))
        (tmp_path / name / f"{name}.png").write_bytes(encode(image, "PNG"))
    return tmp_path / "sent", tmp_path / "own"


def tag(model: Path, *paths: object):
    return twl("tag", *paths, "--model", model, "--xmp", "--txt", "--no-journal")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("relative", [True, False])
def test_a_link_out_of_the_folder_leads_to_no_sidecar(folders, model, relative, monkeypatch):
    sent, own = folders
    (sent / "x").symlink_to("../own" if relative else own)
    monkeypatch.chdir(sent.parent)
    result = tag(model, "sent" if relative else sent)
    assert result.exit_code == 3
    assert f"failed: x/own.png: {OUTSIDE}" in result.stderr
    assert "2 tagged, 0 failed, 1 not written to every output" in result.stderr
    assert names(own) == ["own.png"]
    assert names(sent) == ["sent.png", "sent.png.xmp", "sent.txt", "x"]


@pytest.mark.parametrize("given", ["sent/*/*.png", "sent/**/*.png", "sent/*"])
def test_nor_does_a_glob(folders, model, given, monkeypatch):
    sent, own = folders
    (sent / "x").symlink_to(own)
    monkeypatch.chdir(sent.parent)
    assert OUTSIDE in tag(model, given).stderr
    assert names(own) == ["own.png"]


def test_links_inside_the_folder_and_a_link_that_is_given_are_followed(folders, model, tmp_path):
    sent, own = folders
    (sent / "sub").mkdir()
    (sent / "sub" / "b.png").write_bytes((sent / "sent.png").read_bytes())
    (sent / "again").symlink_to("sub")
    assert tag(model, sent).exit_code == 0
    (tmp_path / "link").symlink_to(own)
    assert tag(model, tmp_path / "link").exit_code == 0
    assert names(own) == ["own.png", "own.png.xmp", "own.txt"]


def test_the_other_folder_may_be_given_too(folders, model):
    sent, own = folders
    (sent / "x").symlink_to(own)
    assert tag(model, sent, own).exit_code == 0
    assert names(own) == ["own.png", "own.png.xmp", "own.txt"]


def test_a_file_that_is_named_is_what_was_given(folders, model, tmp_path):
    sent, own = folders
    (sent / "x").symlink_to(own)
    (tmp_path / "list").write_text(f"{sent}/x/own.png\n")
    assert tag(model, sent / "x" / "own.png").exit_code == 0
    assert tag(model, "--from", tmp_path / "list").exit_code == 0
    assert [file.folders for file in scan([], lists=[tmp_path / "list"])] == [()]


def test_a_link_to_a_photograph_has_its_sidecar_beside_the_link(folders, model):
    sent, own = folders
    (sent / "own.png").symlink_to(own / "own.png")
    assert tag(model, sent).exit_code == 0
    assert names(own) == ["own.png"] and "own.png.xmp" in names(sent)


@pytest.mark.parametrize("name", ["sent.png.xmp", "sent.txt"])
@pytest.mark.parametrize("exists", [True, False])
def test_sidecars_that_are_links_are_failures(folders, model, name, exists):
    sent, own = folders
    target = own / "target"
    if exists:
        target.write_text("")
    (sent / name).symlink_to(target)
    result = tag(model, sent)
    assert result.exit_code == 3 and "is not a file (lrwxrwxrwx)" in result.stderr
    assert target.exists() == exists and (not exists or target.read_text() == "")


def test_a_sidecar_with_a_second_name_leaves_the_other_as_it_was(folders, model):
    sent, own = folders
    (own / "target").write_text("")
    (sent / "sent.txt").hardlink_to(own / "target")
    assert tag(model, sent, "--force").exit_code == 0
    assert (own / "target").read_text() == "" and (sent / "sent.txt").read_text() != ""


def test_a_sidecar_keeps_its_rights(folders, model):
    sent, _ = folders
    (sent / "sent.txt").touch()
    (sent / "sent.txt").chmod(0o400)
    assert tag(model, sent, "--force").exit_code == 0
    assert stat.S_IMODE((sent / "sent.txt").stat().st_mode) == 0o400


def test_untag_takes_nothing_out_of_folders_that_links_lead_to(folders, model):
    sent, own = folders
    assert tag(model, own).exit_code == 0
    (sent / "x").symlink_to(own)
    result = twl("untag", sent)
    assert result.exit_code == 3 and "lies outside of what was given" in result.stderr
    assert names(own) == ["own.png", "own.png.xmp", "own.txt"]
    assert twl("untag", own).exit_code == 0
    assert names(own) == ["own.png", "own.txt"]


def test_untag_opens_no_pipe_and_reads_no_terabyte(tmp_path):
    program = tmp_path / "exiftool"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "a.jpg.xmp"):
        os.mkfifo(folder / name)
    for name in ("b.jpg", "b.jpg.xmp"):
        (folder / name).touch()
        os.truncate(folder / name, 1 << 40)
    begin = time.monotonic()
    done = twlcli.untag([folder], embedded=True, exiftool=str(program))
    assert (done.removed, done.cleaned, done.failures) == (0, 0, ())
    assert time.monotonic() - begin < 5


def test_a_sidecar_does_not_grow_beyond_what_is_read(folders, model, monkeypatch):
    """It was written, and every later run failed on it."""
    sent, _ = folders
    for name in ("sent.png.xmp", "sent.txt"):
        monkeypatch.setattr(sidecar, "MAXIMUM_BYTES", 3)
        result = tag(model, sent)
        assert result.exit_code == 3
        assert "would be larger than 0 MiB" in result.output
        assert name not in names(sent)


@pytest.mark.parametrize("option", ["--xmp", "--txt"])
def test_a_folder_that_is_exchanged_for_a_link_meanwhile(folders, model, option, monkeypatch):
    """Between the look at the folder and the new file in it."""
    sent, own = folders
    (sent / "sub").mkdir()
    (sent / "sent.png").rename(sent / "sub" / "own.png")
    claim = io.claim

    def exchanged(temporary: Path, path: Path) -> int:
        (sent / "sub").rename(sent / "away")
        (sent / "sub").symlink_to(own)
        return claim(temporary, path)

    monkeypatch.setattr(sidecar, "claim", exchanged)
    result = twl("tag", sent, "--model", model, option, "--no-journal")
    assert result.exit_code == 3 and OUTSIDE in result.stderr
    assert names(own) == ["own.png"] and names(sent / "away") == ["own.png"]
