import pytest

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
    "data.yaml": "train: ../train/images\nnc: 2\nnames: ['cat', 'dog']\n",
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
    make(tmp_path, {"images/a.jpg": "", "labels/a.txt": "a dog\n"})
    with pytest.raises(AnnotationError, match="every image has the one label 'images'"):
        read_labels(tmp_path)
