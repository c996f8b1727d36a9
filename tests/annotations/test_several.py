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


@pytest.mark.parametrize(
    ("train", "val", "told", "message"),
    [
        (
            "a.jpg,dog|cat",
            '"c.jpg","dog,cat"',
            {"separator": ","},
            "separated in different ways: '|'",
        ),
        ("a.jpg,dog|cat", """c.jpg,"['dog']" """, None, "'|' in {train} and lists in {val}; write"),
        ("a.jpg,x y\nb.jpg,x\nd.jpg,y", "c.jpg,x z", {"separator": " "}, "ways: blanks in {train}"),
    ],
)
def test_labels_are_separated_alike_in_all_files(tmp_path, train, val, told, message):
    paths = make(tmp_path, train=f"image,labels\n{train}\n", val=f"image,labels\n{val.strip()}\n")
    with pytest.raises(AnnotationError) as caught:
        read_labels(paths[0], val_data=paths[1])
    assert message.format(train=paths[0], val=paths[1]) in str(caught.value)
    if told:
        assert read_labels(paths[0], val_data=paths[1], **told).notes


@pytest.mark.parametrize(
    ("train", "val", "told", "message"),
    [
        (
            "a.jpg,1,0",
            "c.jpg,1,",
            {"blank": "absent"},
            "{val}: empty cells of the label 'cat' would",
        ),
        (
            "a.jpg,1,",
            "c.jpg,1,0",
            {"blank": "absent"},
            "{train}: empty cells of the label 'cat' would",
        ),
        (
            "a.jpg,1,0",
            "c.jpg,1,-1",
            {"minus_one": "absent"},
            "{val}: -1 would be absent, as no cell",
        ),
    ],
)
def test_cells_mean_the_same_in_all_files(tmp_path, train, val, told, message):
    paths = make(tmp_path, train=f"image,dog,cat\n{train}\n", val=f"image,dog,cat\n{val}\n")
    with pytest.raises(AnnotationError) as caught:
        read_labels(paths[0], val_data=paths[1])
    assert message.format(train=paths[0], val=paths[1]) in str(caught.value)
    (option,) = told
    assert f"`{option}` says what" in str(caught.value)
    annotations = read_labels(paths[0], val_data=paths[1], **told)
    assert annotations.labels.dense().tolist() == [[0, 1], [0, 1]]


def test_cells_mean_the_same_in_the_files_of_a_folder(tmp_path):
    for name, cell in (("train", "dog|cat"), ("val", '"dog,cat"')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metadata.csv").write_text(f"file_name,labels\na.jpg,{cell}\n")
    with pytest.raises(AnnotationError, match="labels are separated in different ways"):
        read_labels(tmp_path)


def test_notes_name_their_file(tmp_path):
    paths = make(
        tmp_path, train="image,labels,x\na.jpg,NA,1\n", val="image,labels,x\nb.jpg,dog,1\n"
    )
    assert read_labels(paths[0], val_data=paths[1]).notes[:2] == (
        "columns that were not read: x",
        f"{paths[0]}: cells 'NA' were read as empty: no label",
    )
