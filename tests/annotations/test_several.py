from typing import Any

import pytest

from twlcli.annotations.detect import read_labels
from twlcli.errors import AnnotationError
from twlcli.labels import Vocabulary


def make(folder, **tables):
    for name, text in tables.items():
        path = folder / f"{name}.csv"
        path.write_text(text)
    return [folder / f"{name}.csv" for name in tables]


def test_files_of_splits_are_one(tmp_path):
    (tmp_path / "sub").mkdir()
    train, val = make(
        tmp_path,
        train="image,labels\na.jpg,dog|cat\nb.jpg,\n",
        val="image,labels\nc.jpg,dog\n",
    )
    (test,) = make(tmp_path / "sub", test="image,labels,unknown\nd.jpg,eel,cat\n/e.jpg,cat,\n")
    annotations = read_labels(train, val_data=val, test_data=test)
    assert annotations.images == ("a.jpg", "b.jpg", "c.jpg", "sub/d.jpg", "/e.jpg")
    assert annotations.splits == ("train", "train", "val", "test", "test")
    assert annotations.vocabulary.names == ("cat", "dog", "eel")
    assert annotations.labels.dense().tolist() == [
        [1, 1, 0],
        [0, 0, 0],
        [0, 1, 0],
        [-1, 0, 1],
        [1, 0, 0],
    ]
    assert [annotations.place(row) for row in (1, 2, 4)] == [(train, 3), (val, 2), (test, 3)]
    assert annotations.notes == (
        f"labels that {train} does not know are absent from its images: eel",
        f"labels that {val} does not know are absent from its images: cat, eel",
        f"labels that {test} does not know are absent from its images: dog",
    )


def test_options_hold_for_all_files(tmp_path):
    train, val = make(
        tmp_path,
        train="pic,dog,cat,group\na.jpg,1,0,p\n",
        val="pic,dog,cat,group\nc.jpg,0,-1,q\n",
    )
    options: Any = {"image_column": "pic", "group_column": "group", "ignore_labels": ["cat"]}
    annotations = read_labels(train, val_data=val, minus_one="absent", **options)
    assert annotations.vocabulary.names == ("dog",)
    assert annotations.groups == ("p", "q")
    assert annotations.notes == ()
    mapped = read_labels(train, val_data=val, vocabulary=Vocabulary(("cat", "dog", "x")), **options)
    assert mapped.unlisted == ("cat", "x")


def test_an_image_is_in_one_split(tmp_path):
    train, val = make(
        tmp_path, train="image,labels\na.jpg,dog\n", val="image,labels\nb.jpg,\n./a.jpg,dog\n"
    )
    with pytest.raises(AnnotationError, match=r"val\.csv:3: image 'a\.jpg' is in .*train\.csv too"):
        read_labels(train, val_data=val)


def test_formats_may_differ(tmp_path):
    (train,) = make(tmp_path, train="image,labels\na.jpg,dog\n")
    for name in ("dog/b.jpg", "cat/c.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    annotations = read_labels(train, val_data=tmp_path / "photos")
    assert annotations.images == ("a.jpg", "photos/cat/c.jpg", "photos/dog/b.jpg")
    assert [annotations.line(row) for row in range(3)] == [2, None, None]
