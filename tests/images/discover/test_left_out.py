import pytest

from tests.images.discover.test_scan import fill, names
from tests.images.discover.test_tar import good, write
from twlcli.errors import TwlError
from twlcli.images import kinds
from twlcli.images.discover.left_out import LeftOut
from twlcli.images.discover.scan import scan
from twlcli.images.discover.tar import members
from twlcli.images.discover.walk import walk_folders
from twlcli.images.image_file import is_image

SYSTEM = ("@eaDir", "#recycle", "@Recycle", "lost+found", "$RECYCLE.BIN", "__MACOSX")
HIDDEN = (".thumbnails", ".@__thumb", ".Trash", ".Trash-1000", ".Trashes")


@pytest.fixture
def installed(monkeypatch):
    """What is installed: nothing that is not put into it."""
    packages: set[str] = set()
    monkeypatch.setattr(kinds, "_is_installed", packages.__contains__)
    return packages


@pytest.mark.parametrize("name", [*SYSTEM, "System Volume Information", "@EADIR"])
def test_a_system_folder_is_left_out_and_counted(tmp_path, name):
    fill(tmp_path, "a.jpg", f"{name}/b.jpg", f"sub/{name}/deep/c.jpg", "sub/d.jpg")
    left_out = LeftOut()
    assert names(tmp_path, left_out=left_out) == ["a.jpg", "sub/d.jpg"]
    assert left_out.folders == {name: 2}
    assert list(left_out.lines()) == [f"2 system folders were left out ({name})"]


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_system_folders_are_left_out_whatever_is_asked(tmp_path, name):
    fill(tmp_path, "a.jpg", f"{name}/b.jpg", ".mine/c.jpg")
    for hidden, found, count in ((False, ["a.jpg"], 0), (True, [".mine/c.jpg", "a.jpg"], 1)):
        left_out = LeftOut()
        assert sorted(names(tmp_path, hidden=hidden, left_out=left_out)) == found
        assert left_out.folders.total() == count  # hidden folders are not worth a word


def test_a_system_folder_that_is_named_is_read(tmp_path, monkeypatch):
    fill(tmp_path, "a.jpg", "@eaDir/b.jpg", "@eaDir/x/@eaDir/c.jpg", "sub/@eaDir/d.jpg")
    monkeypatch.chdir(tmp_path)
    assert names("@eaDir") == ["b.jpg"]
    assert names(tmp_path, "@eaDir") == [f"{tmp_path.as_posix()}/a.jpg", "@eaDir/b.jpg"]
    assert names("@eaDir/*.jpg") == ["@eaDir/b.jpg"]
    assert names("*/@eaDir/*.jpg") == ["sub/@eaDir/d.jpg"]
    left_out = LeftOut()
    assert names("**/*.jpg", left_out=left_out) == ["a.jpg"]
    assert left_out.folders == {"@eaDir": 2}


def test_what_would_not_be_searched_anyway_is_not_counted(tmp_path, monkeypatch):
    fill(tmp_path, "a.jpg", "@eaDir/b.jpg", "old/@eaDir/b.jpg")
    monkeypatch.chdir(tmp_path)
    left_out = LeftOut()
    assert names("*.jpg", left_out=left_out) == ["a.jpg"]
    assert names(".", exclude=["old/", "@eaDir/"], left_out=left_out) == ["a.jpg"]
    assert not left_out.folders


def test_labelled_folders_are_searched_likewise(tmp_path):
    fill(tmp_path, "cat/a.jpg", "cat/@eaDir/a.jpg", "lost+found/b.jpg")
    assert list(walk_folders(tmp_path)) == [("", []), ("cat/", ["a.jpg"])]


def test_photographs_that_nothing_reads_are_counted_by_kind(tmp_path, installed):
    fill(tmp_path, "a.jpg", "a.CR2", "b.nef", "sub/c.nef", "d.jxl", "e.psd", "f.txt", "g.heic")
    left_out = LeftOut()
    assert names(tmp_path, left_out=left_out) == ["a.jpg", "g.heic"]
    assert left_out.suffixes == {".cr2": 1, ".nef": 2, ".jxl": 1, ".psd": 1}
    assert list(left_out.lines()) == [
        "3 files are RAW photographs (CR2, NEF), which need the 'raw' extra: "
        "pip install 'twlcli[raw]'",
        "1 file is a JPEG XL photograph (JXL), which needs the 'jxl' extra: "
        "pip install 'twlcli[jxl]'",
        "1 file is a Photoshop document (PSD), which twl does not read",
    ]
    fewer = LeftOut()
    names(tmp_path, include=["*.jpg", "sub/"], exclude=["*.CR2"], left_out=fewer)
    assert fewer.suffixes == {".nef": 1}


def test_photographs_are_taken_where_their_extra_is_installed(tmp_path, installed):
    fill(tmp_path, "a.jpg", "a.cr2", "d.JXL", "e.psd")
    installed |= {"rawpy", "pillow_jxl"}
    left_out = LeftOut()
    assert names(tmp_path, left_out=left_out) == ["a.cr2", "a.jpg", "d.JXL"]
    assert left_out.suffixes == {".psd": 1}
    assert is_image("x.DNG") and not is_image("x.psb")


def test_a_folder_of_such_photographs_alone_is_no_riddle(tmp_path, installed):
    fill(tmp_path, "a.arw", "@eaDir/a.jpg")
    with pytest.raises(TwlError) as caught:
        scan([tmp_path])
    assert str(caught.value) == (
        f"{tmp_path}: no images in this folder; 1 system folder was left out (@eaDir); 1 file is "
        "a RAW photograph (ARW), which needs the 'raw' extra: pip install 'twlcli[raw]'"
    )


def test_tars_are_searched_likewise(tmp_path, installed):
    contents = dict.fromkeys(
        ("a.jpg", "__MACOSX/a.jpg", "x/@eaDir/b.jpg", "c.nef", "__MACOSX/c.nef"), b""
    )
    left_out = LeftOut()
    path = write(tmp_path / "s.tar", contents)
    found = [(each.name, each.failure) for each in members(path, "s.tar", left_out=left_out)]
    assert found == good("a.jpg")
    assert left_out.suffixes == {".nef": 1}
