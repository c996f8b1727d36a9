"""Ordinary files beside which stands one that must not be read: each kind with its neighbour."""

from pathlib import Path

import pytest

from twlcli.annotations.detect import read_labels
from twlcli.errors import AnnotationError


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def labels_in(path: Path, **options) -> dict[str, list[str]]:
    found = read_labels(path, **options)
    names = found.vocabulary.names
    return {
        image: [names[column] for column in found.labels.present(row)]
        for row, image in enumerate(found.images)
    }


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("image,label,xmin,xmax", ["a.jpg,dog,0,30", "a.jpg,cat,1,20", "b.jpg,cat,17,40"]),
        ("id,image,label", ["0,a.jpg,dog", "1,a.jpg,cat", "2,b.jpg,cat"]),
        ("object_id,image,label", ["0,a.jpg,dog", "1,a.jpg,cat", "0,b.jpg,cat"]),
    ],
)
def test_columns_in_which_0_and_1_occur_say_nothing_of_labels(tmp_path, header, rows):
    (tmp_path / "t.csv").write_text("\n".join((header, *rows)))
    found = labels_in(tmp_path / "t.csv", join_rows=True)
    assert found == {"a.jpg": ["cat", "dog"], "b.jpg": ["cat"]}


@pytest.mark.parametrize("answers", [("yes", "no", "yes"), ("1", "0", "1")])
def test_columns_of_answers_alone_are_not_passed_over(tmp_path, answers):
    rows = ("a.jpg,dog", "a.jpg,cat", "b.jpg,cat")
    lines = (f"{row},{answer}" for row, answer in zip(rows, answers, strict=True))
    (tmp_path / "t.csv").write_text("\n".join(("image,label,answer", *lines)))
    with pytest.raises(AnnotationError, match="'answer' may say whether the label of a row is"):
        read_labels(tmp_path / "t.csv", join_rows=True)


@pytest.mark.parametrize("value", ["0", "false", '"no"', "0.0"])
def test_objects_whose_label_is_absent_are_refused(tmp_path, value):
    path = tmp_path / "t.jsonl"
    path.write_text(
        f'{{"image": "a.jpg", "label": "dog", "present": 1}}\n'
        f'{{"image": "b.jpg", "label": "cat", "present": {value}}}\n'
    )
    with pytest.raises(AnnotationError, match=r"t\.jsonl:2: 'present' is .*, as if its labels"):
        read_labels(path)
    path.write_text(path.read_text().replace(f'"present": {value}', '"present": 0.7'))
    assert labels_in(path) == {"a.jpg": ["dog"], "b.jpg": ["cat"]}


@pytest.mark.parametrize(
    "folders",
    [("training_set", "test_set"), ("seg_train", "seg_test"), ("train.X1", "train.X2", "val.X")],
)
def test_folders_called_as_splits_are_no_classes(tmp_path, folders):
    for folder in folders:
        put(tmp_path, f"{folder}/cat/1.jpg", f"{folder}/dog/2.jpg")
    with pytest.raises(AnnotationError, match="are no classes"):
        read_labels(tmp_path)


@pytest.mark.parametrize("folders", [("a", "b", "c"), ("set menu", "snack"), ("x", "train x")])
def test_folders_called_as_classes_are_classes(tmp_path, folders):
    for folder in folders:
        put(tmp_path, f"{folder}/1.jpg")
    assert read_labels(tmp_path).vocabulary.names == tuple(sorted(folders))


def test_folders_that_hold_label_files_are_no_classes(tmp_path):
    put(tmp_path, "trip1/a.jpg", "trip2/b.jpg")
    for trip, image in (("trip1", "a.jpg"), ("trip2", "b.jpg")):
        (tmp_path / trip / "labels.csv").write_text(f"image,labels\n{image},dog\n")
    with pytest.raises(AnnotationError, match=r"trip1/labels\.csv, trip2/labels\.csv in it"):
        read_labels(tmp_path)


def test_uploads_in_a_table_of_label_studio_are_found(tmp_path):
    put(tmp_path, "cat1.jpg", "cat2.jpg")
    (tmp_path / "t.csv").write_text(
        "annotation_id,annotator,choice,created_at,id,image,lead_time,updated_at\n"
        "1,1,cat,x,1,/data/upload/1/0a1b2c3d-cat1.jpg,1.5,x\n"
        "2,1,dog,x,2,/data/upload/1/0a1b2c3d-cat2.jpg,1.5,x\n"
    )
    assert labels_in(tmp_path / "t.csv") == {"cat1.jpg": ["cat"], "cat2.jpg": ["dog"]}
