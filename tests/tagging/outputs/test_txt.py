import errno
import hashlib
import os
import stat
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twlcli.annotations.sidecars import read_sidecars
from twlcli.errors import ImageError, TwlError
from twlcli.images.image_file import ByteRange, ImageFile
from twlcli.io import lock
from twlcli.tagging.outputs.sidecar import Wrote, replace_file
from twlcli.tagging.outputs.txt import TxtSidecars, TxtWriter, was_new, without_appended
from twlcli.tagging.tags import Tags

LABELS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters=","), min_size=1
)


REPLACING = TxtWriter(existing="replace")


def write(writer: TxtWriter, path: Path, *labels: str, **options: Any) -> Wrote:
    tags = Tags(path.name, labels, (0.5,) * len(labels))
    return writer.write(ImageFile(path, path.name), tags, **options)


def files(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_tags_stand_in_one_line(tmp_path):
    write(TxtWriter(), tmp_path / "a.jpg", "dog", "long hair")
    write(TxtWriter(names="full"), tmp_path / "b.jpg", "dog")
    write(TxtWriter(), tmp_path / "c.d.jpg")
    assert files(tmp_path) == ["a.txt", "b.jpg.txt", "c.d.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"dog, long hair\n"
    assert (tmp_path / "c.d.txt").read_bytes() == b""


def test_path_says_where(tmp_path):
    file = ImageFile(tmp_path / "a.b.jpg", "a.b.jpg")
    assert TxtWriter().path(file) == tmp_path / "a.b.txt"
    assert TxtWriter(names="full").path(file) == tmp_path / "a.b.jpg.txt"
    assert TxtWriter(names="full").kind != TxtWriter().kind


@pytest.mark.parametrize("names", ["full", "stem"])
def test_the_tags_are_read_back(tmp_path, names):
    rows = {"a.jpg": ("dog", "sea shore"), "b.jpg": (), "c.png": ("日本", "it's")}
    for name, labels in rows.items():
        (tmp_path / name).touch()
        write(TxtWriter(names=names), tmp_path / name, *labels)
    read = read_sidecars(tmp_path)
    labels_of = {
        image: {read.vocabulary.names[column] for column in read.labels.present(row)}
        for row, image in enumerate(read.images)
    }
    assert labels_of == {name: set(labels) for name, labels in rows.items()}


@settings(deadline=None, max_examples=50)
@given(labels=st.lists(LABELS, max_size=3))
def test_any_label_is_read_back_or_refused(tmp_path_factory, labels):
    folder = tmp_path_factory.mktemp("labels")
    (folder / "a.jpg").touch()
    try:
        write(TxtWriter(), folder / "a.jpg", *labels)
    except ImageError:
        assert any(not label.strip() for label in labels)
        assert files(folder) == ["a.jpg"]
        return
    read = read_sidecars(folder)
    assert set(read.vocabulary) == {unicodedata.normalize("NFC", label.strip()) for label in labels}


@pytest.mark.parametrize("label", ["tench, Tinca tinca", "two\nlines", "", " ", "\ud800", "a\x85b"])
def test_a_label_that_would_not_come_back_is_refused(tmp_path, label):
    with pytest.raises(ImageError, match=r"cannot be written to a \.txt"):
        write(TxtWriter(), tmp_path / "a.jpg", "dog", label)
    assert files(tmp_path) == []


def test_a_text_that_twl_did_not_write_stays(tmp_path):
    (tmp_path / "a.txt").write_text("a caption of mine")
    with pytest.raises(ImageError, match=r"its \.txt exists already with other content"):
        write(TxtWriter(), tmp_path / "a.jpg", "dog")
    assert (tmp_path / "a.txt").read_text() == "a caption of mine"
    assert files(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(("writer", "ours"), [(REPLACING, False), (TxtWriter(), True)])
def test_a_text_is_replaced_on_demand(tmp_path, writer, ours):
    (tmp_path / "a.txt").write_text("a caption of mine")
    assert write(writer, tmp_path / "a.jpg", "dog", ours=ours) == Wrote(changed=True)
    assert (tmp_path / "a.txt").read_text() == "dog\n"


def test_a_text_is_kept_on_demand_and_stays_somebody_elses(tmp_path):
    keeping = TxtWriter(existing="keep")
    (tmp_path / "a.txt").write_text("a caption of mine")
    wrote = write(keeping, tmp_path / "a.jpg", "dog")
    assert wrote == Wrote(changed=False, ours=False)
    assert (tmp_path / "a.txt").read_text() == "a caption of mine"
    assert write(keeping, tmp_path / "b.jpg", "dog") == Wrote(changed=True)


@pytest.mark.parametrize(
    ("before", "labels", "after"),
    [
        ("beach, Dog\n", ["dog", "sea"], "beach, Dog, sea\n"),
        ("beach", ["dog", "sea"], "beach, dog, sea"),
        ("a caption\r\n", ["sea"], "a caption, sea\r\n"),
        ("beach\ncafe\u0301\n\n", ["caf\u00e9", "sea"], "beach\ncafe\u0301\nsea\n\n"),
        ("", ["dog"], "dog"),
        ("\n", ["dog"], "dog\n"),
        ("beach\n", ["beach"], "beach\n"),
        ("beach\n", [], "beach\n"),
    ],
)
def test_tags_are_appended_on_demand_and_taken_back(tmp_path, before, labels, after):
    path, appending = tmp_path / "a.txt", TxtWriter(existing="append")
    path.write_bytes(before.encode())
    wrote = write(appending, tmp_path / "a.jpg", *labels)
    assert path.read_bytes().decode() == after
    assert wrote.changed == (before != after)
    assert without_appended(path.read_bytes(), wrote.memo) == before
    assert not was_new(wrote.memo)
    other = write(appending, tmp_path / "a.jpg", "cat", memo=wrote.memo)
    text = path.read_bytes().decode()
    assert "cat" in text
    assert without_appended(text.encode(), other.memo) == before


def test_what_was_appended_and_edited_since_stays(tmp_path):
    path, appending = tmp_path / "a.txt", TxtWriter(existing="append")
    memo = write(appending, tmp_path / "a.jpg", "dog").memo
    assert path.read_text() == "dog\n" and was_new(memo)
    path.write_text("dog, mine\n")
    memo = write(appending, tmp_path / "a.jpg", "cat", memo=memo).memo
    assert path.read_text() == "dog, mine, cat\n"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(ImageError, match="not UTF-8 text"):
        write(appending, tmp_path / "a.jpg", "dog", memo=memo)
    assert path.read_bytes() == b"caf\xe9"


def test_what_to_do_with_texts_is_checked():
    with pytest.raises(TwlError, match="'add': expected append, keep or replace"):
        TxtSidecars(existing="add")


def test_the_same_text_is_not_written_again(tmp_path):
    write(TxtWriter(), tmp_path / "a.jpg", "dog")
    before = (tmp_path / "a.txt").stat()
    write(TxtWriter(), tmp_path / "a.jpg", "dog")
    assert (tmp_path / "a.txt").stat() == before


def test_an_image_that_bears_its_sidecars_name(tmp_path):
    path = tmp_path / "image.txt"
    path.write_bytes(b"JPEG in truth")
    with pytest.raises(ImageError, match="has the name of its own sidecar"):
        write(REPLACING, path, "dog")
    assert path.read_bytes() == b"JPEG in truth"


def test_two_images_do_not_share_a_sidecar(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.PNG").touch()
    for name, other in (("a.jpg", "a.PNG"), ("a.PNG", "a.jpg")):
        with pytest.raises(ImageError, match=f"'{other}' would use the same sidecar"):
            write(REPLACING, tmp_path / name, "dog")
    write(TxtWriter(names="full"), tmp_path / "a.jpg", "dog")
    (tmp_path / "b.jpg").touch()
    (tmp_path / "b.png").symlink_to("b.jpg")  # the same image
    write(TxtWriter(), tmp_path / "b.jpg", "dog")
    assert files(tmp_path) == ["a.PNG", "a.jpg", "a.jpg.txt", "b.jpg", "b.png", "b.txt"]


def test_members_of_a_tar_have_no_sidecar(tmp_path):
    file = ImageFile(tmp_path / "s.tar", "s.tar/a.jpg", byte_range=ByteRange(512, 10, 0))
    with pytest.raises(ImageError, match="is in a tar file, which has no place for a sidecar"):
        TxtWriter().write(file, Tags(file.name, (), ()))


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_text("kept")
    (tmp_path / "a.txt").symlink_to("elsewhere")
    with pytest.raises(ImageError, match=r"its \.txt is not a file \(l"):
        write(REPLACING, tmp_path / "a.jpg", "dog")
    os.mkfifo(tmp_path / "b.txt")
    with pytest.raises(ImageError, match=r"its \.txt is not a file \(p"):
        write(REPLACING, tmp_path / "b.jpg", "dog")
    assert (tmp_path / "elsewhere").read_text() == "kept"


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_the_rights_of_the_file_stay(tmp_path, mode):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(mode)
    write(REPLACING, tmp_path / "a.jpg", "dog")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_text() == "dog\n"


def test_the_longest_name_has_a_sidecar(tmp_path):
    write(TxtWriter(), tmp_path / ("x" * 251 + ".jpg"), "dog")
    with pytest.raises(
        ImageError, match=r"its \.txt cannot be (read|written) \(File name too long"
    ):
        write(TxtWriter(names="full"), tmp_path / ("x" * 251 + ".jpg"), "dog")


def test_names_that_are_not_utf8(tmp_path):
    write(TxtWriter(), tmp_path / os.fsdecode(b"caf\xe9\n.jpg"), "dog")
    assert [os.fsencode(each.name) for each in tmp_path.iterdir()] == [b"caf\xe9\n.txt"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ImageError, match=r"its \.txt cannot be written \(No such file"):
        write(TxtWriter(), tmp_path / "gone" / "a.jpg", "dog")


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (errno.ENOSPC, TwlError, r"a\.txt: cannot be written \(No space left"),
        (errno.EACCES, ImageError, r"its \.txt cannot be written \(Permission denied"),
    ],
)
def test_a_full_disk_ends_the_run_and_other_refusals_do_not(
    tmp_path, monkeypatch, number, error, message
):
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "a.txt").write_text("old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(TwlError, match=message) as raised:
        write(REPLACING, tmp_path / "a.jpg", "dog")
    assert type(raised.value) is error
    assert (tmp_path / "a.txt").read_text() == "old"
    assert files(tmp_path) == ["a.txt"]


def test_what_a_killed_run_left_is_taken_up(tmp_path, monkeypatch):
    def killed(descriptor: int) -> None:
        raise KeyboardInterrupt

    (tmp_path / "a.txt").write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killed)
        patch.setattr(Path, "unlink", lambda path, missing_ok: None)
        with pytest.raises(KeyboardInterrupt):
            replace_file(tmp_path / "a.txt", b"new")
    assert len(files(tmp_path)) == 2  # as after kill -9, which leaves no time to tidy up
    replace_file(tmp_path / "a.txt", b"new")
    assert files(tmp_path) == ["a.txt"]


def test_a_sidecar_that_another_run_writes_is_an_error_of_the_image(tmp_path):
    path = tmp_path / "a.txt"
    temporary = temporary_of(path)
    with temporary.open("xb") as other:
        lock(other.fileno(), path)
        with pytest.raises(ImageError, match=r"its \.txt is being written by another twl"):
            replace_file(path, b"mine")
        assert temporary.exists()
    replace_file(path, b"mine")  # it has ended without removing its file
    assert path.read_bytes() == b"mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_what_has_the_name_of_the_temporary_file_is_not_written_through(tmp_path):
    (tmp_path / "folder").mkdir()
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    path = tmp_path / "folder" / "a.txt"
    temporary = temporary_of(path)
    temporary.symlink_to(precious)
    with pytest.raises(ImageError, match=r"is in the way and not a regular file"):
        replace_file(path, b"mine")
    assert precious.read_bytes() == b"precious" and not path.exists()


def temporary_of(path: Path) -> Path:
    """The name under which a sidecar is written first."""
    digest = hashlib.blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    return path.with_name(f".twl-{digest}.tmp")
