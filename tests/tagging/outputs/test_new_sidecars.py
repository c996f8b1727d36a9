"""Where new sidecars lie, and the keywords of the photograph that they begin with."""

from pathlib import Path

import pytest

from tests.images.encoded import encode, picture
from tests.tagging.outputs.test_xmp import SUBJECT, described, lists, read, write
from twlcli.tagging.outputs.xmp.writer import XmpWriter

PACKET = described("Alice,beach", lr="People|Alice")

# --- new sidecars --------------------------------------------------------------------------------


def photograph(path: Path) -> Path:
    path.write_bytes(encode(picture(), "JPEG", xmp=PACKET))
    return path


def test_a_new_sidecar_begins_with_the_keywords_of_the_photograph(tmp_path):
    path = photograph(tmp_path / "a.jpg")
    before = path.read_bytes()
    write(XmpWriter(model="m"), path, "vehicle|car", "beach")
    content = (tmp_path / "a.jpg.xmp").read_bytes()
    assert lists(content) == [
        ["Alice", "beach", "vehicle", "car"],
        ["People|Alice", "vehicle|car", "beach"],
        ["People/Alice", "beach", "vehicle/car"],
    ]
    assert path.read_bytes() == before
    write(XmpWriter(model="m"), path)  # its tags are gone
    assert [each.name for each in tmp_path.iterdir()] == ["a.jpg"]


def test_a_photograph_that_has_the_tags_already_needs_no_sidecar_of_its_words(tmp_path):
    data = encode(picture(), "JPEG", xmp=described("dog", digikam="dog"))
    (tmp_path / "a.jpg").write_bytes(data)
    write(XmpWriter(model="m"), tmp_path / "a.jpg", "dog")
    assert [each.name for each in tmp_path.iterdir()] == ["a.jpg"]


def test_a_sidecar_with_keywords_takes_none_from_the_photograph(tmp_path, monkeypatch):
    photograph(tmp_path / "a.jpg")
    (tmp_path / "a.jpg.xmp").write_bytes(described("mine"))
    write(XmpWriter(model="m"), tmp_path / "a.jpg", "dog")
    assert read((tmp_path / "a.jpg.xmp").read_bytes(), SUBJECT) == ["mine", "dog"]


def test_another_sidecar_is_not_hidden_either(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode(picture(), "JPEG"))
    (tmp_path / "a.xmp").write_bytes(described("holiday"))
    write(XmpWriter(model="m", names="full"), tmp_path / "a.jpg", "dog")
    assert read((tmp_path / "a.jpg.xmp").read_bytes(), SUBJECT) == ["holiday", "dog"]
    assert (tmp_path / "a.xmp").read_bytes() == described("holiday")


# --- which sidecar -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "names", "written"),
    [
        (["a.jpg"], None, "a.jpg.xmp"),
        (["a.jpg"], "stem", "a.xmp"),
        (["a.jpg", "a.xmp"], None, "a.xmp"),  # Lightroom's is merged into
        (["a.jpg", "a.xmp"], "full", "a.jpg.xmp"),
        (["a.jpg", "a.xmp", "a.jpg.xmp"], None, "a.jpg.xmp"),
        (["a.jpg", "a.xmp", "a.jpg.xmp"], "stem", "a.xmp"),
        (["a.jpg", "a.raf", "a.xmp"], None, "a.jpg.xmp"),  # the raw image's
        (["a.raf", "a.jpg", "a.xmp"], None, "a.xmp"),
        (["a.raf", "a.JPG", "a.NEF", "a.xmp"], None, "a.raf.xmp"),  # of which one?
        (["a.png", "a.jpg", "a.xmp"], None, "a.png.xmp"),
    ],
)
def test_which_sidecar_is_written(tmp_path, there, names, written):
    for name in there:
        (tmp_path / name).write_bytes(described("mine") if name.endswith("xmp") else b"")
    write(XmpWriter(model="m", names=names), tmp_path / there[0], "dog")
    changed = [each.name for each in tmp_path.iterdir() if b"twl:addedSubject" in each.read_bytes()]
    assert changed == [written]
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted({*there, written})
