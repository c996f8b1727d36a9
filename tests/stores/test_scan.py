"""Images in stores are found as they are on the disk."""

import io
import tarfile

import pytest

from tests.stores.conftest import PNG
from twlcli.errors import TwlError
from twlcli.images.discover.left_out import LeftOut
from twlcli.images.discover.scan import scan
from twlcli.stores import store

TREE = [
    "b.png",
    "a/x.png",
    "a.png",
    "a-b/x.png",
    "a/é.png",
    "a/\U0001f600.png",
    "a/\uffee.png",
    "what?.png",
    "[1].png",
    ".hidden.png",
    ".dots/x.png",
    "@eaDir/x.png",
    "notes.txt",
    "deep/er/still/x.JPG",
    "with space+plus%20.png",
]


@pytest.fixture
def both(bucket, tmp_path):
    """The same tree on the disk and in the bucket."""
    folder = tmp_path / "photos"
    for name in TREE:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        bucket.put(f"photos/{name}", b"")
    return folder


@pytest.mark.parametrize(
    "options",
    [{}, {"hidden": True}, {"include": ["*.png"]}, {"exclude": ["/a/", "*.JPG"]}],
    ids=str,
)
def test_folders_give_what_they_give_on_the_disk(both, options):
    local, remote = LeftOut(), LeftOut()
    expected = [file.name for file in scan([both], left_out=local, **options)]
    found = [file.name for file in scan(["s3://pics/photos"], left_out=remote, **options)]
    assert found == expected
    assert remote == local


def test_keys_with_empty_parts_are_found(bucket):
    for key in ("odd/x.png", "odd//lead.png", "odd/a//b.png", "odd/a/", "odd/.././up.png"):
        bucket.put(key)
    found = [file.name for file in scan(["s3://pics/odd/"], hidden=True)]
    assert sorted(found) == [".././up.png", "/lead.png", "a//b.png", "x.png"]
    assert len([*scan(["s3://pics/odd"])]) == 3
    with pytest.raises(TwlError, match=r"s3:///x: expected s3://BUCKET and a name in it"):
        scan(["s3:///x"])


def test_pages_come_one_after_the_other(both, monkeypatch):
    expected = [file.name for file in scan([both])]
    monkeypatch.setattr(store, "_PAGE", 3)
    assert [file.name for file in scan(["s3://pics/photos/"])] == expected


@pytest.mark.parametrize("glob", ["a*/*.png", "**/x.*", "a", "[1].png", "what?.png"])
def test_globs_match_what_they_match_on_the_disk(both, glob):
    names = [file.name for file in scan([f"{both}/{glob}"])]
    expected = [name.removeprefix(f"{both.as_posix()}/") for name in names]
    found = [
        file.name.removeprefix("s3://pics/photos/") for file in scan([f"s3://pics/photos/{glob}"])
    ]
    assert found == expected
    assert found


def test_several_sources_are_named_by_their_addresses(both):
    names = {file.name for file in scan(["s3://pics/photos/a", both / "b.png"])}
    assert "s3://pics/photos/a/x.png" in names
    assert (both / "b.png").as_posix() in names


def test_lists_name_objects(both, tmp_path):
    names = ["s3://pics/photos/b.png", "s3://pics/photos/none.png", str(both / "a.png")]
    (tmp_path / "list.txt").write_text("\n".join([*names, names[0]]))
    assert [file.name for file in scan([], lists=[tmp_path / "list.txt"])] == names


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("s3://nope/photos", "s3://nope/photos: no such bucket"),
        ("s3://pics/none", "s3://pics/none: no such file or folder"),
        ("s3://pics/photos/*.gif", "s3://pics/photos/*.gif: matches no images and no .tar"),
        ("odd-scheme://x/y", "odd-scheme://x/y: no store has addresses with odd-scheme://"),
    ],
)
def test_what_is_not_there_is_one_line(both, address, expected):
    with pytest.raises(TwlError) as raised:
        scan([address])
    assert str(raised.value) == expected


def test_a_missing_package_is_named():
    with pytest.raises(TwlError, match="gs:// addresses need the package gcsfs: pip install gcsfs"):
        scan(["gs://bucket/a"])


def test_an_empty_folder_says_what_was_looked_for(bucket):
    bucket.put("photos/notes.txt", b"")
    with pytest.raises(TwlError, match="no images in this folder match the patterns"):
        scan(["s3://pics/photos"], include=["*.png"])


def test_members_of_a_tar_are_found_by_ranges(bucket, proxy, tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for number in range(40):
            for name, data in ((f"{number}.png", PNG), (f"{number}.bin", bytes(300_000))):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    content = (tmp_path / "shard.tar").read_bytes()
    bucket.put("shard.tar", content)
    found = list(scan(["s3://pics/shard.tar"]))
    local = list(scan([tmp_path / "shard.tar"]))
    assert [each.name.rpartition("/")[2] for each in found] == [
        each.name.rpartition("/")[2] for each in local
    ]
    for here, there in zip(local, found, strict=True):
        assert here.byte_range is not None
        assert there.byte_range is not None
        assert (here.byte_range.offset, here.byte_range.size) == (
            there.byte_range.offset,
            there.byte_range.size,
        )
    assert proxy.gets("shard.tar") < 40


def test_other_stores_are_listed_too():
    import fsspec

    files = fsspec.filesystem("memory")
    try:
        for name in ("b.png", "a/x.png", "notes.txt"):
            files.pipe_file(f"/box/{name}", PNG)
        assert [file.name for file in scan(["memory://box"])] == ["b.png", "a/x.png"]
        assert [file.name for file in scan(["memory://box/b.png"])] == ["memory://box/b.png"]
    finally:
        files.rm("/box", recursive=True)
