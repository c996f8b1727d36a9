import pytest

from tests.annotations.told import error_of, labels_of
from twlcli.annotations.detect import find_format, read_labels
from twlcli.errors import AnnotationError

NAMES = "names:\n  0: cat\n  1: dog\n  2: eel\n"
ULTRALYTICS = {
    "images/train/a.jpg": "",
    "images/train/b.jpg": "",
    "images/val/c.png": "",
    "labels/train/a.txt": "1 0.5 0.5 0.2 0.2\n0 0.1 0.1 0.1 0.1\n1 0.2 0.2 0.1 0.1\n",
    "labels/val/c.txt": "2 0 0 1 1 0.5 0.5\n",
    "data.yaml": f"path: ../d\ntrain: images/train\nval: images/val\n{NAMES}",
}
ROBOFLOW = {
    "train/images/a.jpg": "",
    "train/labels/a.txt": "0 0.5 0.5 1 1\n",
    "valid/images/c.jpg": "",
    "valid/labels/c.txt": "",
    "data.yaml": "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n",
}


def make(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def records(annotations):
    return [
        (image, record["labels"], record["split"])
        for image, record in zip(annotations.images, annotations.records(), strict=True)
    ]


@pytest.mark.parametrize("file", ["", "data.yaml"])
def test_boxes_are_labels(tmp_path, file):
    make(tmp_path, ULTRALYTICS)
    assert find_format(tmp_path / file) == "yolo"
    annotations = read_labels(tmp_path / file)
    assert annotations.vocabulary.names == ("cat", "dog", "eel")
    assert sorted(records(annotations)) == [
        ("images/train/a.jpg", ("cat", "dog"), "train"),
        ("images/train/b.jpg", (), "train"),
        ("images/val/c.png", ("eel",), "val"),
    ]
    assert annotations.notes == (
        "images without a text file were read as images without labels: 1",
    )


def test_splits_may_come_first(tmp_path):
    make(tmp_path, ROBOFLOW)
    annotations = read_labels(tmp_path)
    assert annotations.format == "yolo"
    assert records(annotations) == [
        ("train/images/a.jpg", ("cat",), "train"),
        ("valid/images/c.jpg", (), "val"),
    ]


def test_without_names_numbers_are_labels(tmp_path):
    make(tmp_path, ULTRALYTICS)
    (tmp_path / "data.yaml").unlink()
    annotations = read_labels(tmp_path)
    assert annotations.vocabulary.names == ("0", "1", "2")
    assert "the classes' numbers became labels; a file can name them" in annotations.notes
    (tmp_path / "other.txt").write_text("ape\nbee\ncow\n")
    named = read_labels(tmp_path, names=tmp_path / "other.txt")
    assert named.vocabulary.names == ("ape", "bee", "cow")


def test_what_is_no_box_or_has_no_name_is_refused(tmp_path):
    make(tmp_path, ULTRALYTICS)
    text = tmp_path / "labels" / "val" / "c.txt"
    text.write_text("2 0 0 1 1\n\ndog\n")
    with pytest.raises(AnnotationError, match=r"c\.txt:3: 'dog' is no box"):
        read_labels(tmp_path, format="yolo")
    text.write_text("7 0 0 1 1\n")
    with pytest.raises(AnnotationError, match=r"c\.txt:1: '7' is no label of .*data\.yaml"):
        read_labels(tmp_path)


def test_a_yaml_file_of_something_else_is_no_label_file(tmp_path):
    make(tmp_path, {"data.yaml": NAMES, "a.jpg": ""})
    with pytest.raises(AnnotationError):
        read_labels(tmp_path / "data.yaml")


# --- it is always this format --------------------------------------------------------------------

ODD_LINES = [
    "-1 .5 .5 .1 .1",
    "0 .5 nan .1 .1",
    "# boxes",
    "0,.5,.5,.1,.1",
    "0 .5 .5",
    "0",
    "0 3 5",
]
ODD_LINES += ["a dog", "0 34 55 120 80", "0.5 .5 .5 .1 .1"]


@pytest.mark.parametrize("line", ODD_LINES)
@pytest.mark.parametrize("layout", ["yaml", "no yaml", "given"])
def test_an_odd_line_is_named(tmp_path, line, layout):
    make(tmp_path, ULTRALYTICS)
    if layout == "no yaml":
        (tmp_path / "data.yaml").unlink()
    (tmp_path / "labels/val/c.txt").write_text(f"0 .5 .5 .1 .1\n{line}\n")
    message = error_of(tmp_path / "data.yaml" if layout == "given" else tmp_path)
    assert f"labels/val/c.txt:2: '{line}' is no box; expected a class number" in message


LINES = ["0 0.5 1e-05 0.1 1E-5", "0 -0.01 .5 1.02 1", "0.0 .5 .5 .1 .1", "00 0.5 0.5 0.1 0.1"]
LINES += ["0 .5 .5 .1 .1 17", "0 .5 .5 .1 .1 .2 .2 2 .3 .3 0", "0 .1 .1 .2 .1 .2 .2 .1 .2"]


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_small_numbers_a_track_a_pose_or_corners(tmp_path, line):
    make(tmp_path, {**ULTRALYTICS, "labels/val/c.txt": line})
    assert records(read_labels(tmp_path))[-1] == ("images/val/c.png", ("cat",), "val")


def test_without_any_box_it_is_refused(tmp_path):
    make(tmp_path, {"images/train2017/a.jpg": "", "images/val2017/b.jpg": ""})
    (tmp_path / "labels").mkdir()
    assert error_of(tmp_path).endswith("no image has a text file with a box")
    make(tmp_path, {"labels/a.txt": "0 .5 .5 .1 .1"})  # not at the same place as its image
    assert error_of(tmp_path).endswith("text files that belong to no image: labels/a.txt")
    make(tmp_path, {"labels/train2017/a.txt": ""})
    assert "no image has a text file with a box" in error_of(tmp_path)
    make(tmp_path, {"labels/train2017/a.txt": "0 .5 .5 .1 .1"})
    notes = read_labels(tmp_path).notes
    assert "text files that belong to no image: 1, such as labels/a.txt" in notes


def test_masks_in_a_folder_of_labels_are_no_boxes(tmp_path):
    make(tmp_path, {"images/a.jpg": "", "labels/a.png": ""})
    assert find_format(tmp_path) == "folders"


def test_names_may_stand_beside_the_boxes(tmp_path):
    make(tmp_path, {**ULTRALYTICS, "labels/classes.txt": "cat\ndog\neel\n"})
    (tmp_path / "data.yaml").unlink()
    annotations = read_labels(tmp_path)
    assert annotations.vocabulary.names == ("cat", "dog", "eel")
    assert len(annotations.notes) == 1


# --- the splits of data.yaml ---------------------------------------------------------------------

FILES = {f"images/{name}.jpg": "" for name in ("one/a", "one/b", "two/c", "two/d", "e")}
BOXES = {"labels/one/a.txt": "0 .5 .5 .1 .1", "labels/two/c.txt": "1 .5 .5 .1 .1"}


def splits_of(folder, yaml, **files):
    make(folder, {**FILES, **BOXES, **files, "data.yaml": f"names: [cat, dog]\n{yaml}"})
    annotations = read_labels(folder)
    assert labels_of(annotations).get("images/one/a.jpg") in (["cat"], None)
    found = dict.fromkeys(annotations.split_names(), "")
    for image, split in zip(annotations.images, annotations.splits, strict=True):
        found[split] += image[-5]
    return {name: "".join(sorted(letters)) for name, letters in found.items()}, annotations.notes


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("train: images/one\nval: images/two", {"train": "ab", "val": "cd"}),
        ("train: images/two\nval: images/one", {"train": "cd", "val": "ab"}),
        ("train: [images/one, images/two]\nval: [all.txt]", {"train": "abcd", "val": "e"}),
        (
            "train:\n  - images/two/\nval: images/one\ntest: all.txt",
            {"train": "cd", "val": "ab", "test": "e"},
        ),
        ("train: list.txt\nval: ./all.txt", {"train": "bc", "val": "e"}),
        ("path: images\ntrain: one\nval: two", {"train": "ab", "val": "cd"}),
        ("path: ../elsewhere\ntrain: images/one\nval: two.txt", None),
        ("train: ../images/one\nval: ../images/two\ntest:", {"train": "ab", "val": "cd"}),
        ("train: images/one\nval: images/one", {"train": "ab"}),
    ],
)
def test_splits_are_as_the_file_says(tmp_path, yaml, expected):
    lists = {"list.txt": "./images/one/b.jpg\nimages/two/c.jpg\n\n", "all.txt": "images/e.jpg\n"}
    if expected is None:
        with pytest.raises(
            AnnotationError, match=r"'val' names two.txt, which is not there \(looked"
        ):
            splits_of(tmp_path, yaml, **lists)
        return
    found, notes = splits_of(tmp_path, yaml, **lists)
    assert found == expected
    left_out = 5 - sum(map(len, expected.values()))
    assert any(f"in no split: {left_out}, such as" in note for note in notes) == bool(left_out)


def test_a_split_of_other_images_than_it_says(tmp_path):
    yaml = "train: images\nval: images/two"
    make(tmp_path, {**FILES, **BOXES, "data.yaml": f"names: [cat, dog]\n{yaml}\n"})
    notes = read_labels(tmp_path).notes
    assert "'val' of data.yaml is left out: its images are those of 'train'" in notes
    make(tmp_path, {"data.yaml": "names: [cat]\ntrain: images/two\nval: images\n"})
    assert error_of(tmp_path).endswith(
        "'images/two/c.jpg' is in 'train' and in 'val'; splits share no image"
    )


def test_a_test_split_may_be_missing(tmp_path):
    _, notes = splits_of(tmp_path, "train: images/one\nval: images/two\ntest: images/test")
    assert "'test' names images/test, which is not there; it was left out" in notes


def test_a_data_set_in_another_folder(tmp_path):
    make(tmp_path / "there", {**FILES, **BOXES})
    make(
        tmp_path / "here",
        {"my.yaml": "path: ../there\ntrain: images/one\nval: images/two\nnames: [a, b]"},
    )
    annotations = read_labels(tmp_path / "here/my.yaml")
    assert labels_of(annotations)["../there/images/one/a.jpg"] == ["a"]
    assert annotations.path(0).exists()


def test_boxes_beside_their_images(tmp_path):
    make(tmp_path, {"a.jpg": "", "a.txt": "0 .5 .5 .1 .1", "b.jpg": "", "b.txt": ""})
    assert "boxes beside images are read with a data.yaml" in error_of(tmp_path)
    make(tmp_path, {"data.yaml": "train: .\nnames: [cat]\n"})
    assert labels_of(read_labels(tmp_path)) == {"a.jpg": ["cat"], "b.jpg": []}
