"""What `tag_files` wrote is taken out again, and nothing else."""

import os
from pathlib import Path

import pytest
from PIL import Image

import twlcli
from tests.images.encoded import encode
from tests.tagging.models import write_model
from tests.tagging.outputs.foreign_xmp import LIGHTROOM
from tests.tagging.outputs.test_xmp import SUBJECT, described, read
from twlcli.errors import TwlError
from twlcli.outputs import Output, TxtSidecars, XmpSidecars
from twlcli.tagging.outputs.xmp.merging import merge

COLORS = {"a.png": (255, 0, 0), "b.png": (0, 255, 0), "sub/c.png": (200, 180, 0)}


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model.onnx")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name, color in COLORS.items():
        (folder / name).write_bytes(encode(Image.new("RGB", (30, 20), color), "PNG"))
    return folder


def state(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".twl-journal")
    }


def test_a_folder_is_again_what_it_was(model, photos):
    (photos / "b.xmp").write_bytes(LIGHTROOM)
    (photos / "sub" / "c.png.xmp").write_bytes(described("mine"))
    (photos / "other.xmp").write_bytes(described("red", lr="red"))
    (photos / "broken.xmp").write_text("no XML")
    before = state(photos)
    outputs: list[Output | Path | str] = [XmpSidecars(), TxtSidecars()]
    for threshold in (0.5, 0.2):
        twlcli.tag_files([photos], model=model, outputs=outputs, threshold=threshold)
    assert set(state(photos)) - set(before) == {"a.png.xmp", "a.txt", "b.txt", "sub/c.txt"}
    tagged = state(photos)
    seen: list[tuple[str, str]] = []
    planned = twlcli.untag(
        [photos], dry_run=True, watcher=lambda path, action: seen.append((path.name, action))
    )
    assert state(photos) == tagged
    assert (planned.removed, planned.cleaned, planned.left) == (4, 2, 0)
    assert sorted(seen) == [
        ("a.png.xmp", "removed"),
        ("a.txt", "removed"),
        ("b.txt", "removed"),
        ("b.xmp", "cleaned"),
        ("c.png.xmp", "cleaned"),
        ("c.txt", "removed"),
    ]
    assert twlcli.untag([photos]) == planned
    assert state(photos) == before
    again = twlcli.untag([photos])
    assert (again.removed, again.cleaned, again.failures) == (0, 0, ())
    twlcli.tag_files([photos], model=model, outputs=outputs, threshold=0.2)
    assert state(photos) == tagged  # the journal does not take it for done


def test_texts_that_somebody_changed_or_wrote_stay(model, photos):
    (photos / "b.txt").write_text("a caption\n")
    (photos / "a.txt").write_text("red\n")  # by chance what twl would write
    outputs: list[Output | Path | str] = [TxtSidecars(existing="append")]
    twlcli.tag_files([photos], model=model, outputs=outputs)
    assert (photos / "b.txt").read_text() == "a caption, green\n"
    (photos / "sub" / "c.txt").write_text("red, green, and mine\n")
    result = twlcli.untag([photos])
    assert (result.removed, result.cleaned, result.left) == (0, 1, 1)
    assert (photos / "b.txt").read_text() == "a caption\n"
    assert (photos / "a.txt").read_text() == "red\n"
    assert (photos / "sub" / "c.txt").read_text() == "red, green, and mine\n"
    twlcli.tag_files([photos], model=model, outputs=[TxtSidecars(existing="keep")])
    assert (photos / "a.txt").read_text() == "red\n"
    twlcli.untag([photos])
    assert (photos / "a.txt").read_text() == "red\n"


def test_texts_that_appending_began_are_removed(model, photos, tmp_path):
    journal = tmp_path / "journal"
    outputs: list[Output | Path | str] = [TxtSidecars("full", existing="append")]
    twlcli.tag_files([photos], model=model, outputs=outputs, journal=journal)
    assert (photos / "a.png.txt").exists()
    assert twlcli.untag([photos]).removed == 0  # its journal lies elsewhere
    assert twlcli.untag([photos], journal=journal).removed == 3
    assert sorted(state(photos)) == sorted(COLORS)


def test_single_files_and_odd_ones(tmp_path):
    content = merge(LIGHTROOM, ["dog"], model="m") or b""
    for name in ("a.jpg.xmp", "b.xmp", "b.jpg.xmp", "c.xmp", "elsewhere"):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "b.jpg").touch()
    (tmp_path / "c.xmp").unlink()
    (tmp_path / "c.xmp").symlink_to("elsewhere")
    (tmp_path / "d.xmp").write_bytes(content[:-20])  # damaged
    (tmp_path / "e.xmp").write_bytes(("\ufeff" + content.decode()).encode("utf-16-le"))
    assert twlcli.untag(tmp_path / "b.jpg").cleaned == 2
    assert twlcli.untag([tmp_path / "a.jpg.xmp"]).cleaned == 1
    result = twlcli.untag(tmp_path)
    assert (result.cleaned, len(result.failures)) == (1, 1)
    assert "not well-formed" in result.failures[0].reason
    for name in ("a.jpg.xmp", "b.xmp", "b.jpg.xmp"):
        assert (tmp_path / name).read_bytes() == LIGHTROOM
    assert (tmp_path / "elsewhere").read_bytes() == content
    assert (tmp_path / "d.xmp").read_bytes() == content[:-20]


def test_links_in_circles_and_hidden_files(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "loop").symlink_to(tmp_path)
    (tmp_path / "in" / ".a.jpg.xmp").write_bytes(merge(LIGHTROOM, ["dog"], model="m") or b"")
    assert twlcli.untag(tmp_path).cleaned == 1


@pytest.mark.parametrize(
    ("paths", "options", "message"),
    [
        ([], {}, "nothing to untag"),
        (["gone"], {}, "gone: no such file or folder"),
        (["."], {"journal": "gone"}, "gone: no such journal"),
        ([".", "."], {"journal": "gone"}, "a journal is that of one folder"),
        (["."], {"embedded": True, "exiftool": "no-such-tool"}, "no-such-tool is not installed"),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path, monkeypatch, paths, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TwlError, match=message):
        twlcli.untag(paths, **options)
    assert os.listdir() == []  # noqa: PTH208


def test_a_deleted_keyword_is_forgotten_with_the_rest(model, photos):
    twlcli.tag_files([photos], model=model, outputs=[XmpSidecars()], threshold=0.0)
    sidecar = photos / "a.png.xmp"
    words = read(sidecar.read_bytes(), SUBJECT)
    assert words[0] == "red"
    sidecar.write_bytes(sidecar.read_bytes().replace(b"<rdf:li>red</rdf:li>", b"", 1))
    again = [XmpSidecars(restore_deleted=True)]
    twlcli.tag_files([photos], model=model, outputs=[XmpSidecars()], threshold=0.0)
    assert read(sidecar.read_bytes(), SUBJECT) == words[1:]
    tally = twlcli.tag_files([photos], model=model, outputs=again, threshold=0.0)
    assert (tally.sidecars, tally.sidecars_unchanged) == (1, 2)
    assert sorted(read(sidecar.read_bytes(), SUBJECT)) == sorted(words)
    assert twlcli.untag([photos]).removed == 3
