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
        (["a.jpg", "b.jpg"], ["x/a.jpg", "y/b.jpg"]),  # not in one folder
        (["a.jpg"], ["x/a.jpg", "y/a.jpg"]),  # in two
        (["a", "a.jpg"], ["x/a.jpg", "x/b.jpg"]),  # which would be one image
        (["a", "b"], ["a.txt", "b.txt"]),
        (["/a", "/b"], ["a.jpg", "b.jpg"]),
        (["a.jpg"], [".hidden/a.jpg"]),
    ],
)
def test_images_that_are_left_as_they_are(tmp_path, names, files):
    annotations = read(tmp_path, names, files)
    assert annotations.images == tuple(names)
    assert annotations.notes == ()


def test_images_are_found_below_the_folder_that_is_named(tmp_path):
    annotations = read(tmp_path, ["a"], ["other/b.jpg", "x/in/a.jpg"], images=tmp_path / "x")
    assert annotations.path(0) == tmp_path / "x" / "in" / "a.jpg"


def test_images_that_are_missing_beside_others_stay_missing(tmp_path):
    names = [f"{number}.jpg" for number in range(100)]
    there = [f"in/{name}" for name in names if name != "7.jpg"]
    annotations = read(tmp_path, names, there)
    assert set(annotations.images) == {*there, "7.jpg"}
