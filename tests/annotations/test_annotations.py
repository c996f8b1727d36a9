from dataclasses import replace
from pathlib import Path

import pytest

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.detect import read_labels
from twlcli.errors import AnnotationError


def test_records_are_plain_rows_of_names(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("image,labels,unknown,split\nb.jpg,dog|cat,sun,train\n/c/d.jpg,,,\n")
    annotations = read_labels(table)
    assert annotations.records() == [
        {
            "image": str(tmp_path / "b.jpg"),
            "labels": ("cat", "dog"),
            "unknown": ("sun",),
            "split": "train",
        },
        {"image": str(Path("/c/d.jpg")), "labels": (), "unknown": (), "split": ""},
    ]


def test_records_name_groups_that_are_known(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("image,labels,who\na.jpg,dog,p1\nb.jpg,cat,\n")
    annotations = read_labels(table, group_column="who")
    assert [record["group"] for record in annotations.records()] == ["p1", ""]


@pytest.fixture
def folds(tmp_path) -> Annotations:
    table = tmp_path / "labels.csv"
    rows = zip("abcdef", ("0", "1", "2", "0", "train", "a,b"), strict=True)
    table.write_text("image,labels,set\n" + "".join(f'{i}.jpg,x,"{s}"\n' for i, s in rows))
    splits = ("fold 0", "fold 1", "fold 2", "fold 0", "train", "a,b")
    return replace(read_labels(table), splits=splits)


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("fold 0", "ad"),
        ("0", "ad"),
        ("0,fold 2", "acd"),
        ("fold 2, 0 ,train", "acde"),
        ("a,b", "f"),
        ("all", "abcdef"),
    ],
)
def test_splits_by_name(folds, name, images):
    assert folds.split(name).images == tuple(f"{image}.jpg" for image in images)
    assert name == "all" or folds.has_split(name)


@pytest.mark.parametrize(("name", "missing"), [("3", "3"), ("0,val", "val"), ("a", "a"), ("", "")])
def test_splits_that_are_not_there(folds, name, missing):
    with pytest.raises(
        AnnotationError, match=rf"no image is in split '{missing}' \(splits: fold 0"
    ):
        folds.split(name)
    assert folds.has_split(name) == (name == "0,val")


def test_splits_of_other_names_can_be_set(tmp_path):
    path = tmp_path / "photos.csv"
    path.write_text("image,labels,split\na.jpg,dog,0\nb.jpg,cat,1\n")
    with pytest.raises(AnnotationError) as caught:
        read_labels(path).split("train")
    assert str(caught.value).endswith(
        "no image is in split 'train' (splits: 0, 1); data.train_split of the recipe names others"
    )
