import pytest

from twlcli.annotations.detect import read_labels


def read(tmp_path, names, files, **options):
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    table = tmp_path / "labels.csv"
    table.write_text("image,labels\n" + "".join(f"{name},dog\n" for name in names))
    return read_labels(table, **options)


@pytest.mark.parametrize(
    ("names", "files", "note"),
    [
        (["a", "b"], ["a.jpg", "b.jpg"], "with the ending .jpg, such as 'a.jpg'"),
        (["a", "b"], ["a.png", "b.JPG"], "with the ending .png, such as 'a.png'"),
        (
            ["a.jpg", "b.jpg"],
            ["JPEGImages/a.jpg", "JPEGImages/b.jpg"],
            "in JPEGImages, such as 'JPEGImages/a.jpg'",
        ),
        (["a", "b.c"], ["x/y/a.jpeg", "x/y/b.c.jpg"], "in x/y and with the ending .jpeg, such as "),
        (
            ["p/a", "q/b"],
            ["images/p/a.jpg", "images/q/b.jpg"],
            "in images and with the ending .jpg",
        ),
    ],
)
def test_images_are_found(tmp_path, names, files, note):
    annotations = read(tmp_path, names, files)
    assert annotations.images == tuple(files)
    assert annotations.notes[0].startswith(f"images were found {note}")
    assert annotations.labels.dense().tolist() == [[1], [1]]


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["a.jpg", "b.jpg"], ["a.jpg", "x/b.jpg"]),  # one is where it should be
        (["a.jpg", "b.jpg"], ["x/a.jpg", "y/b.jpg", "z/b.jpg"]),  # one in two of them
        (["a.jpg"], ["x/A.jpg", "x/A.JPG"]),  # two that are like it
        (["a.jpg"], ["a.png"]),  # which may be another
        (["7.jpg"], ["007.jpg"]),
        (["a.jpg"], ["x/a.jpg", "y/a.jpg"]),  # in two
        (["a", "a.jpg"], ["x/a.jpg", "x/b.jpg"]),  # which would be one image
        (["a", "b"], ["a.txt", "b.txt"]),
        (["a.jpg"], [".hidden/a.jpg"]),
    ],
)
def test_images_that_are_left_as_they_are(tmp_path, names, files):
    annotations = read(tmp_path, names, files)
    assert annotations.images == tuple(names)
    assert annotations.notes == ()


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (
            ["a.png", "b.png", "c.png"],
            ["images_001/images/a.png", "images_002/images/b.png", "x/c.png"],
        ),
        (["/a", "/b"], ["a.jpg", "b.jpg"]),
        (["/home/me/data/p/a.jpg", "/home/me/data/q/b.jpg"], ["p/a.jpg", "q/b.jpg"]),
        (["/home/me/a.jpg", "/home/you/b.jpg"], ["images/a.jpg", "images/b.jpg"]),
        (["C:\\data\\p\\a.jpg", "C:\\data\\p\\b.jpg"], ["p/a.jpg", "p/b.jpg"]),
        (["https://x.org/p/a%20b.jpg?w=1", "https://x.org/p/c.jpg"], ["p/a b.jpg", "p/c.jpg"]),
        (["file:///d/a.jpg", "file:///d/b.jpg"], ["in/a.jpg", "in/b.jpg"]),
        (["Chex/train/p1/v.jpg", "Chex/train/p2/v.jpg"], ["train/p1/v.jpg", "train/p2/v.jpg"]),
        (["A.jpg", "b.JPG"], ["a.JPG", "B.jpg"]),
        (["Caf\u00e9.jpg", "b.jpg"], ["Cafe\u0301.jpg", "B.jpg"]),
        ([" a.jpg ", " b.jpg"], ["a.jpg", "b.jpg"]),
    ],
)
def test_images_are_found_by_other_paths(tmp_path, names, files):
    annotations = read(tmp_path, names, files)
    assert annotations.images == tuple(files)
    for_what = f"such as '{files[0]}' for '{names[0]}'"
    assert annotations.notes in (
        (f"images were found by other paths, {for_what}",),
        (f"images were found in images_001/images, such as '{files[0]}'",),
    )


def test_images_are_found_below_the_folder_that_is_named(tmp_path):
    annotations = read(tmp_path, ["a"], ["other/b.jpg", "x/in/a.jpg"], images=tmp_path / "x")
    assert annotations.path(0) == tmp_path / "x" / "in" / "a.jpg"


def test_images_that_are_missing_beside_others_stay_missing(tmp_path):
    names = [f"{number}.jpg" for number in range(100)]
    there = [f"in/{name}" for name in names if name != "7.jpg"]
    annotations = read(tmp_path, names, there)
    assert set(annotations.images) == {*there, "7.jpg"}
