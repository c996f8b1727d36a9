import os
from pathlib import Path

import pytest

from tests.annotations.told import error_of, labels_of
from twlcli.annotations.detect import read_labels
from twlcli.annotations.folders import is_folders, read_folders, walk
from twlcli.errors import AnnotationError
from twlcli.images.discover import walk as discover_walk


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_folders_class_is_the_immediate_folder(tmp_path):
    touch(tmp_path, "dog/b.JPG", "dog/a.png", "cat/deep/er/c.webp", "cat/notes.txt", "empty/x.txt")
    assert is_folders(tmp_path)
    annotations = read_folders(tmp_path)
    assert labels_of(annotations) == {
        "cat/deep/er/c.webp": ["cat"],
        "dog/a.png": ["dog"],
        "dog/b.JPG": ["dog"],
    }
    assert annotations.vocabulary.names == ("cat", "dog")
    assert annotations.split_names() == ()
    assert annotations.lines is None
    assert annotations.notes == ()


def test_folders_with_splits(tmp_path):
    touch(tmp_path, "train/dog/a.jpg", "train/cat/a.jpg", "valid/dog/b.jpg", "test/cow/in/c.jpg")
    annotations = read_folders(tmp_path)
    assert labels_of(annotations) == {
        "test/cow/in/c.jpg": ["cow"],
        "train/cat/a.jpg": ["cat"],
        "train/dog/a.jpg": ["dog"],
        "valid/dog/b.jpg": ["dog"],
    }
    assert annotations.splits == ("test", "train", "train", "val")


def test_folders_one_named_like_a_split_is_a_class(tmp_path):
    touch(tmp_path, "test/a.jpg", "exam/b.jpg")
    assert labels_of(read_folders(tmp_path)) == {"exam/b.jpg": ["exam"], "test/a.jpg": ["test"]}


@pytest.mark.parametrize("around", ["", "images/", "pets/"])
def test_folders_beside_splits_are_left_out(tmp_path, around):
    names = ["train/dog/a.jpg", "train/cat/b.jpg", "val/dog/c.jpg"]
    others = ["unlabeled/d.jpg", "unlabeled/deep/e.jpg", "test/f.jpg"]
    if around == "pets/":  # a name that says nothing: what lies in it must be splits alone
        others = ["test/f.jpg"]
    touch(tmp_path, *(around + name for name in names + others))
    annotations = read_folders(tmp_path)
    assert labels_of(annotations) == {
        f"{around}train/cat/b.jpg": ["cat"],
        f"{around}train/dog/a.jpg": ["dog"],
        f"{around}val/dog/c.jpg": ["dog"],
    }
    assert annotations.splits == ("train", "train", "val")
    counts = "1 in test" + (", 2 in unlabeled" if len(others) > 1 else "")
    assert annotations.notes == (
        f"images left out because they lie in no split with class folders: {counts}",
    )


def test_folders_in_a_container(tmp_path):
    touch(tmp_path, "images/dog/a.jpg", "images/cat/b.jpg")
    assert read_folders(tmp_path).vocabulary.names == ("cat", "dog")


@pytest.mark.parametrize("name", ["images", "data", "JPEGImages"])
def test_folders_of_all_images_are_no_class(tmp_path, name):
    touch(tmp_path, f"{name}/a.jpg", f"{name}/b.jpg")
    with pytest.raises(AnnotationError) as caught:
        read_folders(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: every image has the one label '{name}'; expected a folder for each class"
    )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            "images/a.jpg",
            ": every image has the one label 'images'; expected a folder for each class",
        ),
        ("images/train/a.jpg", "/images/train/a.jpg: lies in no class's folder; expected "),
    ],
)
def test_folders_beside_boxes(tmp_path, image, message):
    touch(tmp_path, image, "labels/train/a.txt", "labels/a.txt")
    with pytest.raises(AnnotationError) as caught:
        read_folders(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}{message}")
    end = f"; the text files in {tmp_path}/labels, as of a detection data set, are not read"
    assert str(caught.value).endswith(end)


@pytest.mark.parametrize(
    "folders", [("images", "masks"), ("train2017", "val2017"), ("test-jpg", "train-jpg")]
)
def test_folders_that_are_called_as_parts_of_a_data_set_are_no_classes(tmp_path, folders):
    touch(tmp_path, *(f"{name}/a.jpg" for name in folders))
    message = error_of(tmp_path).removeprefix(f"{tmp_path.name}: ")
    assert message == (
        f"the folders {folders[0]}, {folders[1]} are no classes; expected a folder for each class; "
        "`format` folders reads them as classes"
    )
    assert read_labels(tmp_path, format="folders").vocabulary.names == folders
    touch(tmp_path, "dog/a.jpg")  # one that is a class
    assert read_labels(tmp_path).vocabulary.names == tuple(sorted((*folders, "dog")))


def test_folders_named_by_numbers_are_classes(tmp_path):
    touch(tmp_path, "0/a.jpg", "1/a.jpg")
    assert read_labels(tmp_path).vocabulary.names == ("0", "1")


def test_folders_in_class_folders_are_noted(tmp_path):
    touch(tmp_path, "train/animals/dog/a.jpg", "train/animals/cat/b.jpg", "val/cars/vw/c.jpg")
    annotations = read_folders(tmp_path)
    assert annotations.vocabulary.names == ("animals", "cars")
    assert annotations.notes == (
        "folders in class folders are no labels: animals/cat, animals/dog, cars/vw; a table may "
        "list them",
    )


def test_folders_of_one_class_are_noted(tmp_path):
    touch(tmp_path, "dog/a.jpg", "dog/deep/b.jpg")
    assert read_folders(tmp_path).notes == ("every image has the one label 'dog'",)


def test_folders_name_the_text_files_that_are_not_read(tmp_path):
    touch(tmp_path, "dog/a.jpg", "dog/a.txt", "dog/b.jpg", "cat/c.jpg", "cat/readme.txt")
    assert read_folders(tmp_path).notes == ("text files beside images were not read: dog/a.txt",)


def test_folders_loose_photographs_are_noted(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg", "dog/c.jpg", "cat/f.jpg", ".hidden/d.jpg", "dog/.e.jpg")
    annotations = read_folders(tmp_path)
    assert annotations.images == ("cat/f.jpg", "dog/c.jpg")
    assert annotations.notes == ("images left out because they are in no class folder: 2",)


def test_folders_split_without_classes(tmp_path):
    touch(tmp_path, "train/a.jpg", "train/dog/b.jpg")
    with pytest.raises(AnnotationError) as caught:
        read_folders(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/train/a.jpg: lies in no class's folder; expected train/CLASS/a.jpg"
    )


def test_folders_without_photographs(tmp_path):
    touch(tmp_path, "a.jpg", "dog/a.txt")
    assert not is_folders(tmp_path)
    with pytest.raises(AnnotationError, match="no image is in a sub-folder"):
        read_folders(tmp_path)


def test_walk_follows_links_but_not_in_circles(tmp_path):
    touch(tmp_path, "data/dog/a.jpg", "elsewhere/b.jpg")
    data = tmp_path / "data"
    (data / "cat").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (data / "dog" / "up").symlink_to(data, target_is_directory=True)
    (data / "self").symlink_to(data / "self")
    (data / "dog" / "broken.jpg").symlink_to(tmp_path / "nowhere")
    assert dict(walk(data)) == {
        "": ["self"],
        "cat/": ["b.jpg"],
        "dog/": ["a.jpg", "broken.jpg"],
    }


def test_walk_goes_as_deep_as_folders_lie(tmp_path, monkeypatch):
    depth = 1500
    monkeypatch.chdir(tmp_path)
    for _ in range(depth):
        Path("d").mkdir()
        os.chdir("d")
    Path("a.jpg").touch()
    os.chdir(tmp_path)
    try:
        assert list(walk(tmp_path))[-1] == ("d/" * depth, ["a.jpg"])
    finally:  # whoever tidies up may not come as deep
        (tmp_path / ("d/" * depth) / "a.jpg").unlink()
        for level in range(depth, 0, -1):
            (tmp_path / ("d/" * level)).rmdir()


def test_walk_ends_among_folders_that_link_to_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(discover_walk, "MAX_WAYS", 20)
    names = [str(number) for number in range(9)]
    for name in names:
        (tmp_path / name).mkdir()
        for other in names:
            (tmp_path / name / f"to {other}").symlink_to(tmp_path / other)
    with pytest.raises(AnnotationError, match="links lead here in more than 20 ways"):
        list(walk(tmp_path))
