"""Labels with the corrections of a file."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.annotations.test_corrections import write
from twlcli.annotations.corrected import _changed
from twlcli.annotations.detect import read_labels
from twlcli.errors import AnnotationError
from twlcli.labels import LabelMatrix

LABELS = "image,labels\na.jpg,cat|dog\nb.jpg,dog\nc.jpg,\n"


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(LABELS)
    return path


def test_corrections_change_labels(labels, tmp_path):
    lines = ["a.jpg,cat,absent", "c.jpg,dog,present", "b.jpg,cat,unknown", "b.jpg,dog,present"]
    annotations = read_labels(labels, corrections=write(tmp_path, *lines))
    assert annotations.vocabulary.names == ("cat", "dog")
    assert annotations.labels.dense().tolist() == [[0, 1], [-1, 1], [0, 1]]
    assert annotations.images == ("a.jpg", "b.jpg", "c.jpg")
    note = f"{tmp_path / 'corrections.csv'}: 3 of 4 corrections changed a label"
    assert annotations.notes[-1] == note


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_corrected_is_what_a_plain_loop_makes(data):
    count, width = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 4))
    cell = st.sampled_from([-1, 0, 1])
    line = st.lists(cell, min_size=width, max_size=width)
    dense = data.draw(st.lists(line, min_size=count, max_size=count))
    places = st.tuples(st.integers(0, count - 1), st.integers(0, width - 1))
    changes = data.draw(st.dictionaries(places, cell))
    found, changed = _changed(LabelMatrix.from_dense(np.array(dense)), changes)
    expected = [list(row) for row in dense]
    for (row, column), value in changes.items():
        expected[row][column] = value
    assert found.dense().tolist() == expected
    assert changed == sum(dense[row][column] != value for (row, column), value in changes.items())
    for row in range(count):
        assert (np.diff(found.row(row)[0]) > 0).all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "d.jpg,cat,absent",
            ":2: there is no image 'd.jpg' in {labels}, and no such file in {folder}",
        ),
        (
            "a.jpg,cats,absent",
            "corrections.csv:2: there is no label 'cats' in {labels}; did you mean 'cat'?",
        ),
    ],
)
def test_what_is_not_there_is_named_with_its_line(line, message, labels, tmp_path):
    path = write(tmp_path, line)
    message = message.format(labels=labels, folder=tmp_path)
    with pytest.raises(AnnotationError, match=re.escape(message)):
        read_labels(labels, corrections=path)


def test_corrections_come_before_labels_are_left_out(labels, tmp_path):
    path = write(tmp_path, "c.jpg,cat,present")
    assert read_labels(labels, corrections=path, ignore_labels=["cat"]).vocabulary.names == ("dog",)
    assert read_labels(labels, corrections=path, min_images=2).vocabulary.names == ("cat", "dog")


def test_images_that_were_not_annotated_come_with_their_verdicts_alone(labels, tmp_path):
    (tmp_path / "d.jpg").touch()
    (tmp_path / "e.jpg").touch()
    lines = ["a.jpg,cat,absent", "e.jpg,dog,present", "./d.jpg,dog,absent", "d.jpg,cat,present"]
    path = write(tmp_path, *lines)
    annotations = read_labels(labels, corrections=path)
    assert annotations.images == ("a.jpg", "b.jpg", "c.jpg", "e.jpg", "d.jpg")
    expected = [[0, 1], [0, 1], [0, 0], [-1, 1], [1, 0]]
    assert annotations.labels.dense().tolist() == expected
    assert annotations.splits == ("",) * 5
    assert [annotations.line(row) for row in (2, 3)] == [4, None]
    assert annotations.notes[-2:] == (
        f"{path}: 2 images are added, with 1.5 of 2 labels known of each",
        f"{path}: 1 of 1 correction changed a label",
    )


def test_where_there_are_splits_new_images_are_for_training(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("image,labels,split,group\na.jpg,cat,train,p\nb.jpg,dog,test,q\n")
    (tmp_path / "c.jpg").touch()
    path = write(tmp_path, "c.jpg,dog,present")
    annotations = read_labels(table, corrections=path, group_column="group")
    assert annotations.splits == ("train", "test", "train")
    assert annotations.groups == ("p", "q", "")
    assert annotations.select([2]).labels.dense().tolist() == [[-1, 1]]


def test_labels_that_were_not_annotated_are_added_where_they_are_present(labels, tmp_path):
    lines = ["a.jpg,bird,present", "b.jpg,bird,absent", "c.jpg,horse,absent", "b.jpg,cat,present"]
    path = write(tmp_path, *lines)
    annotations = read_labels(labels, corrections=path)
    assert annotations.vocabulary.names == ("cat", "dog", "bird")
    assert annotations.labels.dense().tolist() == [[1, 1, 1], [1, 1, 0], [0, 0, -1]]
    assert annotations.notes[-3:] == (
        f"{path}: labels that {labels} lacks are added, and unknown where nothing is said of them: "
        "bird",
        f"{path}: labels that {labels} lacks and that are nowhere present are left out: horse",
        f"{path}: 3 of 3 corrections changed a label",
    )


def test_an_image_is_the_same_however_it_is_spelled(labels, tmp_path):
    names = [str(tmp_path / "a.jpg"), f"../{tmp_path.name}/b.jpg", "./c.jpg"]
    path = write(tmp_path, *(f"{name},cat,unknown" for name in names))
    annotations = read_labels(labels, corrections=path)
    assert annotations.images == ("a.jpg", "b.jpg", "c.jpg")
    assert annotations.labels.dense()[:, 0].tolist() == [-1, -1, -1]
    contradiction = write(tmp_path, "a.jpg,cat,absent", f"{names[0]},cat,present")
    with pytest.raises(AnnotationError, match=r":3: .* has another verdict before"):
        read_labels(labels, corrections=contradiction)


def test_what_is_no_image_is_not_added(labels, tmp_path):
    (tmp_path / "notes.txt").touch()
    path = write(tmp_path, "notes.txt,cat,present")
    with pytest.raises(AnnotationError, match=r":2: 'notes\.txt' is no image"):
        read_labels(labels, corrections=path)


def test_a_file_of_that_name_further_below_is_pointed_to(labels, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "z.jpg").touch()
    path = write(tmp_path, "z.jpg,cat,present")
    with pytest.raises(AnnotationError, match=r"images are named from there, as 'new/z\.jpg' is"):
        read_labels(labels, corrections=path)
