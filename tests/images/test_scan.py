import os
import tracemalloc
from itertools import islice
from pathlib import Path

import pytest

from twlcli.errors import TwlError
from twlcli.images.scan import FoundFile, scan


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
    assert found == FoundFile(tmp_path / "a.PNG", "a.PNG")
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
    assert names(".", "two/a.jpg") == ["one/a.jpg", "two/a.jpg", "two/a.jpg"]


def test_scan_visits_a_folder_given_twice_once(tmp_path, monkeypatch):
    fill(tmp_path, "one/a.jpg", "one/sub/b.jpg")
    monkeypatch.chdir(tmp_path)
    assert names("one", "one", "one/sub") == ["one/a.jpg", "one/sub/b.jpg"]


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

    peak(10)
    assert peak(2000) < 1.5 * peak(100)
