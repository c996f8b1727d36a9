import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twlcli.annotations.corrections import _changed, corrected, read_corrections
from twlcli.annotations.csv_cells import cell_of_image, cell_of_text
from twlcli.annotations.detect import read_labels
from twlcli.errors import AnnotationError
from twlcli.labels import LabelMatrix

LABELS = "image,labels\na.jpg,cat|dog\nb.jpg,dog\nc.jpg,\n"


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(LABELS)
    return path


def write(folder, *lines, header="image,label,verdict"):
    path = folder / "corrections.csv"
    path.write_text("\n".join((header, *lines)) + "\n")
    return path


def test_corrections_change_labels(labels, tmp_path):
    lines = ["a.jpg,cat,absent", "c.jpg,dog,present", "b.jpg,cat,unknown", "b.jpg,dog,present"]
    annotations = read_labels(labels, corrections=write(tmp_path, *lines))
    assert annotations.vocabulary.names == ("cat", "dog")
    assert annotations.labels.dense().tolist() == [[0, 1], [-1, 1], [0, 1]]
    assert annotations.images == ("a.jpg", "b.jpg", "c.jpg")
    note = f"{tmp_path / 'corrections.csv'}: 3 of 4 corrections change a label"
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


def test_names_that_a_spreadsheet_would_run_come_back(tmp_path):
    cells = (cell_of_image("=1.jpg"), cell_of_text("+sum"))
    (found,) = read_corrections(write(tmp_path, ",".join((*cells, "present"))))
    assert (found.image, found.label, found.value, found.line) == ("=1.jpg", "+sum", 1, 2)


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("verdict;label;image", "Present ;dog;a.jpg"),
        ("who\timage\tlabel\tverdict", "me\ta.jpg\tdog\tPRESENT"),
        ("\ufeffImage,Label,Verdict,note", "a.jpg,dog,present,"),
    ],
)
def test_columns_may_stand_in_any_order(header, line, tmp_path):
    (found,) = read_corrections(write(tmp_path, line, "", header=header))
    assert (found.image, found.label, found.value) == ("a.jpg", "dog", 1)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a.jpg,cat,yes"], ":2: verdict 'yes'; expected present, absent, unknown"),
        (["d.jpg,cat,absent"], ":2: there is no image 'd.jpg' in "),
        (["a.jpg,bat,absent"], "; did you mean 'cat'?"),
        (["a.jpg,cat"], ":2: has 2 cells; expected 3"),
        (
            ["a.jpg,cat,absent", "b.jpg,cat,absent", "a.jpg,cat,present"],
            ":4: label 'cat' of image 'a.jpg' has another verdict on line 2",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(lines, message, labels, tmp_path):
    path = write(tmp_path, *lines)
    with pytest.raises(AnnotationError, match=re.escape(message)):
        corrected(read_labels(labels), path)


@pytest.mark.parametrize("text", ["", "image,label\na.jpg,cat\n", "\x00"])
def test_what_is_no_table_of_corrections_is_refused(text, labels, tmp_path):
    path = tmp_path / "corrections.csv"
    path.write_text(text)
    with pytest.raises(AnnotationError, match=re.escape(str(path))):
        read_labels(labels, corrections=path)


def test_corrections_come_before_labels_are_left_out(labels, tmp_path):
    path = write(tmp_path, "c.jpg,cat,present")
    assert read_labels(labels, corrections=path, ignore_labels=["cat"]).vocabulary.names == ("dog",)
    assert read_labels(labels, corrections=path, min_images=2).vocabulary.names == ("cat", "dog")
