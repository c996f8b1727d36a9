import io
import os
import tarfile
import tracemalloc
from itertools import islice
from pathlib import Path

import pytest

from twlcli.errors import TwlError
from twlcli.images.discover.scan import ImageFile, scan


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def names(*paths: Path | str, **options) -> list[str]:
    return [file.name for file in scan(paths, **options)]


def test_scan_walks_a_folder_in_order(tmp_path):
    fill(tmp_path, "b.jpg", "a.PNG", "notes.txt", "sub/z.webp", "sub/deep/c.HEIC", "abc/d.tif")
    assert names(tmp_path) == ["a.PNG", "b.jpg", "abc/d.tif", "sub/z.webp", "sub/deep/c.HEIC"]
    found = next(scan([tmp_path]))
    assert found == ImageFile(tmp_path / "a.PNG", "a.PNG", folders=(tmp_path,))
    assert found.path.is_absolute()


def test_scan_takes_a_given_file_whatever_its_name(tmp_path, monkeypatch):
    fill(tmp_path, "photo", "sub/.hidden.txt")
    monkeypatch.chdir(tmp_path)
    found = list(scan(["photo", "sub/.hidden.txt"]))
    assert [file.name for file in found] == ["photo", "sub/.hidden.txt"]
    assert found[0].path == tmp_path / "photo"


def test_scan_of_several_paths_keeps_names_distinct(tmp_path, monkeypatch):
    fill(tmp_path, "one/a.jpg", "two/a.jpg")
    monkeypatch.chdir(tmp_path)
    assert names("one", "two/") == ["one/a.jpg", "two/a.jpg"]
    assert names("two/a.jpg", "one") == ["two/a.jpg", "one/a.jpg"]


def test_scan_visits_a_folder_given_twice_once(tmp_path, monkeypatch):
    fill(tmp_path, "one/a.jpg", "one/sub/b.jpg")
    monkeypatch.chdir(tmp_path)
    assert names("one", "one", "one/sub") == ["one/a.jpg", "one/sub/b.jpg"]


def test_scan_takes_a_file_that_several_sources_name_once(tmp_path, monkeypatch):
    fill(tmp_path, "one/a.jpg", "one/b.jpg", "two/c.jpg")
    (tmp_path / "zwei").symlink_to(tmp_path / "two")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list").write_text("two/../one/a.jpg\n./one/b.jpg\none/b.jpg\nzwei/c.jpg\n")
    assert names("one/b.jpg", ".") == ["one/b.jpg", "one/a.jpg", "two/c.jpg"]
    assert names("one/b.jpg", "o*/*.jpg", lists=["list"]) == [
        *("one/b.jpg", "one/a.jpg"),
        "zwei/c.jpg",
    ]
    assert names(lists=["list", "list"]) == ["two/../one/a.jpg", "one/b.jpg", "zwei/c.jpg"]


def test_scan_keeps_files_with_two_names_apart(tmp_path):
    fill(tmp_path, "a.jpg", "z/c.jpg")
    os.link(tmp_path / "a.jpg", tmp_path / "b.jpg")
    (tmp_path / "c.jpg").symlink_to("a.jpg")
    assert names(tmp_path / "a.jpg", tmp_path / "*") == [
        str(tmp_path / name) for name in ("a.jpg", "b.jpg", "c.jpg", "z/c.jpg")
    ]


def test_scan_reads_lists_relative_to_the_current_folder(tmp_path, monkeypatch):
    fill(tmp_path, "in/a.jpg", "in/photo", "in/b.jpg", "lists/x.jpg")
    (tmp_path / "lists" / "all").write_text("in/a.jpg\n\nin/gone.jpg\nin\nin/photo\n")
    monkeypatch.chdir(tmp_path)
    found = {file.name: file for file in scan([], lists=["lists/all"])}
    assert {name: file.failure for name, file in found.items()} == {
        "in/a.jpg": None,
        "in/gone.jpg": "no such file",
        "in": "is a folder; a list names files",
        "in/photo": None,
    }
    assert found["in/a.jpg"].path == tmp_path / "in" / "a.jpg"
    assert names("in", lists=["lists/all"])[:2] == ["in/a.jpg", "in/b.jpg"]


def test_scan_reads_a_list_from_the_standard_input(tmp_path, monkeypatch):
    fill(tmp_path, "a.jpg", "b.jpg")
    monkeypatch.chdir(tmp_path)
    assert names(lists=["-"], standard_input=io.BytesIO(b"b.jpg\r\na.jpg")) == ["b.jpg", "a.jpg"]
    given = io.BytesIO(b"a.jpg\0b\n.jpg\0")
    found = list(scan([], lists=["-"], null=True, standard_input=given))
    assert [(file.name, file.failure) for file in found] == [
        ("a.jpg", None),
        ("b\n.jpg", "no such file"),
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_scan_does_not_offer_a_pipe_that_a_list_names(tmp_path):
    os.mkfifo(tmp_path / "a.jpg", 0o600)
    os.mkfifo(tmp_path / "b.tar", 0o600)
    (tmp_path / "list").write_text(f"{tmp_path}/a.jpg\n{tmp_path}/b.tar\n{tmp_path}/{'x' * 300}\n")
    assert [file.failure for file in scan([], lists=[tmp_path / "list"])] == [
        "not a file (prw-------)",
        "not a file (prw-------)",
        "cannot be read (File name too long)",
    ]


def test_scan_draws_a_list_as_it_goes(tmp_path):
    fill(tmp_path, "a.jpg", "b.jpg")
    drawn = []

    class Slow(io.BytesIO):
        def read1(self, size=-1):
            drawn.append(size)
            return super().read1(len(f"{tmp_path}/a.jpg\n"))

    given = Slow(f"{tmp_path}/a.jpg\n{tmp_path}/b.jpg\n".encode())
    files = scan([], lists=["-"], standard_input=given)
    assert drawn == []
    assert next(files).name == f"{tmp_path}/a.jpg"
    assert len(drawn) == 1


def test_scan_takes_the_images_in_a_tar_that_is_named(tmp_path, monkeypatch):
    fill(tmp_path, "in/a.jpg", "other.jpg")
    monkeypatch.chdir(tmp_path)
    for name in ("shard-0.tar", "shard-1.TAR", "in/backup.tar"):
        with tarfile.open(name, "w") as tar:
            tar.add("other.jpg", "sub/x.jpg")
    assert names("shard-0.tar") == ["shard-0.tar/sub/x.jpg"]
    both = ["shard-0.tar/sub/x.jpg", "shard-1.TAR/sub/x.jpg"]
    assert names("shard-*.*", "shard-0.tar") == both
    (tmp_path / "list").write_text("shard-0.tar\nshard-1.TAR\nshard-2.tar\n")
    found = [(file.name, file.failure) for file in scan([], lists=["list"])]
    assert found == [(name, None) for name in both] + [("shard-2.tar", "no such file")]
    assert names("in") == ["a.jpg"]
    assert names("in/**") == ["in/a.jpg", "in/backup.tar/sub/x.jpg"]
    with pytest.raises(
        TwlError, match=r"no images in this folder; .* name them: '.*empty/\*\.tar'"
    ):
        fill(tmp_path, "empty/s.tar") and scan([tmp_path / "empty"])


def test_scan_applies_patterns_to_every_source(tmp_path, monkeypatch):
    fill(tmp_path, "in/raw/a.jpg", "in/b.jpg", "in/b_small.jpg", "raw/in/c.jpg")
    monkeypatch.chdir(tmp_path)
    with tarfile.open("s.tar", "w") as tar:
        for name in ("raw/a.jpg", "b.jpg", "b_small.jpg"):
            tar.add("in/b.jpg", name)
    (tmp_path / "list").write_text("raw/in/c.jpg\nin/b_small.jpg\nin/b.jpg\ns.tar\n")
    exclude = ["/raw/", "*_small.*"]
    assert names("in", exclude=exclude) == ["b.jpg"]
    assert names("raw", exclude=exclude) == ["in/c.jpg"]
    assert names("**/*.jpg", exclude=exclude) == ["in/b.jpg", "in/raw/a.jpg"]
    assert names("s.tar", exclude=exclude) == ["s.tar/b.jpg"]
    assert names(lists=["list"], exclude=exclude) == ["in/b.jpg", "s.tar/b.jpg"]
    assert names("in", include=["*_small.*"]) == ["b_small.jpg"]
    assert names("s.tar", "in/b.jpg", include=["raw/"]) == ["s.tar/raw/a.jpg"]
    with pytest.raises(TwlError, match="in: no images in this folder match the patterns"):
        scan(["in"], exclude=["*.jpg"])


def test_scan_does_not_enter_an_excluded_folder(tmp_path, monkeypatch):
    fill(tmp_path, "a.jpg", "raw/b.jpg", "sub/raw/c.jpg", "sub/d.jpg")
    real = os.scandir
    entered = []

    def scandir(folder):
        entered.append(Path(folder).relative_to(tmp_path).as_posix())
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert names(tmp_path, exclude=["raw/"]) == ["a.jpg", "sub/d.jpg"]
    assert set(entered) == {".", "sub"}


def test_scan_skips_hidden_unless_asked(tmp_path):
    fill(tmp_path, "a.jpg", "._a.jpg", ".thumbs/b.jpg")
    assert names(tmp_path) == ["a.jpg"]
    assert names(tmp_path, hidden=True) == ["._a.jpg", "a.jpg", ".thumbs/b.jpg"]


def test_scan_ends_on_links_in_circles(tmp_path):
    fill(tmp_path, "a.jpg", "sub/b.jpg")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "sub")
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    found = {file.name: file.failure for file in scan([tmp_path])}
    assert list(found) == ["a.jpg", "self.jpg", "again/b.jpg"]
    assert found["self.jpg"] == "cannot be read (Too many levels of symbolic links)"


def test_scan_follows_links_to_files_and_names_broken_ones(tmp_path):
    fill(tmp_path, "in/a.jpg", "elsewhere.jpg")
    (tmp_path / "in" / "good.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    (tmp_path / "in" / "gone.jpg").symlink_to(tmp_path / "nothing")
    found = {file.name: file.failure for file in scan([tmp_path / "in"])}
    assert found == {
        "a.jpg": None,
        "good.jpg": None,
        "gone.jpg": "link to a file that is not there",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_scan_does_not_offer_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.jpg", 0o600)
    (found,) = scan([tmp_path])
    assert found.failure == "not a file (prw-------)"


def test_scan_reports_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    fill(tmp_path, "a.jpg", "locked/b.jpg", "z/c.jpg")
    real = os.scandir

    def scandir(folder):
        if str(folder).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    found = list(scan([tmp_path]))
    assert [file.name for file in found] == ["a.jpg", "locked/", "z/c.jpg"]
    assert found[1].failure == "folder cannot be read (Permission denied)"


def test_scan_refuses_what_is_not_there(tmp_path):
    fill(tmp_path, "a.jpg", "empty/notes.txt")
    with pytest.raises(TwlError, match="holidy: no such file or folder"):
        scan([tmp_path, tmp_path / "holidy"])
    with pytest.raises(TwlError, match="empty: no images in this folder"):
        scan([tmp_path, tmp_path / "empty"])
    with pytest.raises(TwlError, match=r"holi\*/\*\.jpg: matches no images"):
        scan([tmp_path / "holi*" / "*.jpg"])
    with pytest.raises(TwlError, match="no such file, expected a list of file names"):
        scan([], lists=[tmp_path / "list"])
    with pytest.raises(TwlError, match="is a folder, expected a list of file names"):
        scan([], lists=[tmp_path])
    with pytest.raises(TwlError, match="standard input"):
        scan([], lists=["-"])


def test_scan_keeps_names_that_are_not_utf8(tmp_path):
    raw = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    try:
        Path(os.fsdecode(raw)).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    fill(tmp_path, "line\nbreak.jpg", "日本.jpg")
    found = names(tmp_path)
    assert found == sorted(["caf\udce9.jpg", "line\nbreak.jpg", "日本.jpg"])
    assert os.fsencode(found[0]) == b"caf\xe9.jpg"


def test_scan_holds_no_list_of_the_whole_tree(tmp_path):
    for folder in range(40):
        fill(tmp_path, *(f"{folder:02}/{file}.jpg" for file in range(50)))

    def peak(count: int) -> int:
        tracemalloc.start()
        assert sum(1 for _ in islice(scan([tmp_path]), count)) == count
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(2000)  # pathlib makes Python's table of names larger, once
    assert peak(2000) < 1.5 * peak(100)
