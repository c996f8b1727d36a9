import errno
import os
import stat
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twlcli.annotations.sidecars import read_sidecars
from twlcli.errors import ImageError, TwlError
from twlcli.images.image_file import ByteRange, ImageFile
from twlcli.tagging.outputs.sidecar import replace_file
from twlcli.tagging.outputs.txt import TxtWriter
from twlcli.tagging.tags import Tags

LABELS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters=","), min_size=1
)


def write(writer: TxtWriter, path: Path, *labels: str, **options: bool) -> None:
    tags = Tags(path.name, labels, (0.5,) * len(labels))
    writer.write(ImageFile(path, path.name), tags, **options)


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


@pytest.mark.parametrize(("force", "ours"), [(True, False), (False, True)])
def test_a_text_is_replaced_on_demand(tmp_path, force, ours):
    (tmp_path / "a.txt").write_text("a caption of mine")
    write(TxtWriter(force=force), tmp_path / "a.jpg", "dog", ours=ours)
    assert (tmp_path / "a.txt").read_text() == "dog\n"


def test_the_same_text_is_not_written_again(tmp_path):
    write(TxtWriter(), tmp_path / "a.jpg", "dog")
    before = (tmp_path / "a.txt").stat()
    write(TxtWriter(), tmp_path / "a.jpg", "dog")
    assert (tmp_path / "a.txt").stat() == before


def test_an_image_that_bears_its_sidecars_name(tmp_path):
    path = tmp_path / "image.txt"
    path.write_bytes(b"JPEG in truth")
    with pytest.raises(ImageError, match="has the name of its own sidecar"):
        write(TxtWriter(force=True), path, "dog")
    assert path.read_bytes() == b"JPEG in truth"


def test_two_images_do_not_share_a_sidecar(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.PNG").touch()
    for name, other in (("a.jpg", "a.PNG"), ("a.PNG", "a.jpg")):
        with pytest.raises(ImageError, match=f"'{other}' would use the same sidecar"):
            write(TxtWriter(force=True), tmp_path / name, "dog")
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
        write(TxtWriter(force=True), tmp_path / "a.jpg", "dog")
    os.mkfifo(tmp_path / "b.txt")
    with pytest.raises(ImageError, match=r"its \.txt is not a file \(p"):
        write(TxtWriter(force=True), tmp_path / "b.jpg", "dog")
    assert (tmp_path / "elsewhere").read_text() == "kept"


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_the_rights_of_the_file_stay(tmp_path, mode):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(mode)
    write(TxtWriter(force=True), tmp_path / "a.jpg", "dog")
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
        write(TxtWriter(force=True), tmp_path / "a.jpg", "dog")
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
