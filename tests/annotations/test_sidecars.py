import pytest

from tests.annotations.told import labels_of
from twlcli.annotations.read_options import ReadOptions
from twlcli.annotations.sidecars import is_sidecars, read_sidecars
from twlcli.errors import AnnotationError


def make(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_sidecars_forms(tmp_path):
    make(
        tmp_path,
        {
            "a.jpg": b"",
            "a.txt": "1girl, long hair,,smile\n",
            "b.jpg": b"",
            "b.jpg.txt": "dog\r\ncat\r\n",
            "b.txt": "not this one",
            "sub/c.png": b"",
            "sub/c.TXT": b"\xef\xbb\xbfcaf\xc3\xa9",
            "sub/d.png": b"",
            "sub/d.txt": "caf\u00e9".encode("cp1252"),
            "e.jpg": b"",
            "e.txt": b"",
            "f.jpg": b"",
            "readme.txt": "of no image",
        },
    )
    assert is_sidecars(tmp_path)
    annotations = read_sidecars(tmp_path)
    assert labels_of(annotations) == {
        "a.jpg": ["1girl", "long hair", "smile"],
        "b.jpg": ["cat", "dog"],
        "e.jpg": [],
        "sub/c.png": ["caf\u00e9"],
        "sub/d.png": ["caf\u00e9"],
    }
    assert annotations.notes == (
        "of two text files of an image this one was read: b.jpg.txt",
        "images left out because they have no text file: 1",
    )
    assert annotations.format == "sidecars"


def test_sidecars_separator(tmp_path):
    make(tmp_path, {"a.jpg": b"", "a.txt": "salt, pepper|dog\ncat"})
    assert labels_of(read_sidecars(tmp_path, ReadOptions(separator="|"))) == {
        "a.jpg": ["cat", "dog", "salt, pepper"]
    }


def test_sidecars_splits_from_the_topmost_folder(tmp_path):
    make(
        tmp_path,
        {
            f"{folder}/a.{ending}": b"dog" if ending == "txt" else b""
            for folder in ("train", "validation/deep", "other")
            for ending in ("jpg", "txt")
        },
    )
    annotations = read_sidecars(tmp_path)
    assert annotations.images == ("other/a.jpg", "train/a.jpg", "validation/deep/a.jpg")
    assert annotations.splits == ("", "train", "val")


@pytest.mark.parametrize(
    ("folders", "expected"), [("cat dog", False), ("cat cat", True), ("train/cat train/cat", True)]
)
def test_sidecars_of_few_images_in_class_folders_are_none(tmp_path, folders, expected):
    first, second = folders.split()
    make(tmp_path, {f"{first}/a.jpg": b"", f"{second}/b.jpg": b"", f"{second}/c.jpg": b""})
    make(tmp_path, {f"{first}/a.txt": "note: blurry"})
    assert is_sidecars(tmp_path) is expected
    make(tmp_path, {f"{second}/b.txt": "dog", f"{second}/c.txt": "dog"})
    assert is_sidecars(tmp_path)


@pytest.mark.parametrize("box", ["0 0.5 0.5 1 1", "12 0 0 1.0 1", "3 .5 1. 0.25 0.125 0 0 1 1"])
def test_sidecars_boxes_of_whole_numbers_are_refused(tmp_path, box):
    make(tmp_path, {"a.jpg": b"", "a.txt": box})
    with pytest.raises(AnnotationError, match="is a box of a detection data set"):
        read_sidecars(tmp_path)


@pytest.mark.parametrize("tags", ["0 1 1", "7 2 3 4 5", "1 dog 0 0 1 1"])
def test_sidecars_other_numbers_are_tags(tmp_path, tags):
    make(tmp_path, {"a.jpg": b"", "a.txt": tags})
    assert read_sidecars(tmp_path).vocabulary.names == (tags,)


def test_sidecars_boxes_are_refused(tmp_path):
    make(tmp_path, {"a.jpg": b"", "a.txt": "0 0.51 0.42 0.2 0.33\n1 0.1 0.2 0.3 0.4\n"})
    with pytest.raises(AnnotationError) as caught:
        read_sidecars(tmp_path)
    message = (
        f"{tmp_path}/a.txt:1: '0 0.51 0.42 0.2 0.33' is a box of a detection data set, not tags"
    )
    assert str(caught.value).startswith(f"{message}; boxes beside images are read with a data.yaml")


def test_sidecars_none(tmp_path):
    make(tmp_path, {"a.jpg": b"", "b.txt": "dog"})
    assert not is_sidecars(tmp_path)
    with pytest.raises(AnnotationError, match="no image has a text file beside it"):
        read_sidecars(tmp_path)
