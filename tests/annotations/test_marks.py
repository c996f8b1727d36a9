"""What the cells of columns of a label each say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.annotations.told import error_of, labels_of
from twlcli.annotations.detect import read_labels
from twlcli.annotations.marks import mark_value, words_for


def write(tmp_path, dogs, cats):
    path = tmp_path / "photos.csv"
    rows = zip("abcd", dogs, cats, strict=True)
    path.write_text("image,dog,cat\n" + "".join(f'{i}.jpg,"{d}","{c}"\n' for i, d, c in rows))
    return path


EXPECTED = {"a.jpg": ["dog"], "b.jpg": ["cat", "dog"], "c.jpg": [], "d.jpg": ["cat"]}


@pytest.mark.parametrize(
    ("present", "absent"),
    [
        *[("yes", "no"), ("Y", "N"), ("t", "f"), ("T", "F"), ("true", "false"), ("X", "-")],
        *[("x", ""), ("✓", ""), ("✔", "✘"), ("present", "absent"), ("Ja", "Nein"), ("oui", "non")],
        *[("1.00", "0.00"), ("1.", "0."), ("01", "00"), ("1,0", "0,0"), (" 1 ", " 0"), ("+1", "0")],
    ],
)
def test_spellings_of_present_and_absent(tmp_path, present, absent):
    path = write(tmp_path, (present, present, absent, absent), (absent, present, absent, present))
    annotations = read_labels(path)
    assert annotations.vocabulary.names == ("cat", "dog")
    assert labels_of(annotations) == EXPECTED
    assert annotations.labels.unknown_per_label().tolist() == [0, 0]


def test_words_are_told_by_column(tmp_path):
    path = write(tmp_path, ("yes", "Yes", "no", "NO"), ("0", "1", "0", "1"))
    annotations = read_labels(path)
    assert labels_of(annotations) == EXPECTED
    assert annotations.notes == (
        "'yes' was read as present and 'no' as absent in columns of labels: dog",
    )


@pytest.mark.parametrize(
    "cells", [("F", "M", "F", "M"), ("f", "f", "f", "f"), ("x", "y", "x", "y")]
)
def test_other_letters_are_no_marks(tmp_path, cells):
    annotations = read_labels(write(tmp_path, cells, ("0", "1", "0", "1")))
    assert annotations.vocabulary.names == ("cat",)
    assert annotations.notes == ("columns left out because they are no label's: dog",)


@pytest.mark.parametrize(
    ("cells", "named"), [("0.93", "'0.93'"), (("hi", "lo", "hi", "lo"), "'hi', 'lo'")]
)
def test_a_refusal_names_column_and_value(tmp_path, cells, named):
    cells = (cells, "0.5", "0", "0.1") if isinstance(cells, str) else cells
    message = error_of(write(tmp_path, cells, cells))
    assert message.endswith(f"; column 'dog' holds {named}, and 1 and 0 were expected")


def test_one_fraction_among_marks_is_named_with_its_line(tmp_path):
    message = error_of(write(tmp_path, ("1", "0", "0.93", "1"), ("0", "1", "0", "1")))
    assert message.startswith("photos.csv:4: column 'dog' holds '0.93', which is not 1, 0, -1")


@given(st.sampled_from(["0", "1", "-1"]), st.integers(0, 4), st.sampled_from(["", ".", ","]))
def test_whole_numbers_are_marks_however_they_are_written(digits, zeros, point):
    text = digits + (point + "0" * zeros if point else "")
    assert mark_value(text) == int(digits)


@pytest.mark.parametrize("cell", ["", "2", "0.5", "1.5", "yes", "--1", "1e0", "0x1", "nan"])
def test_others_are_none(cell):
    assert mark_value(cell) is None


def test_a_word_alone_needs_empty_cells():
    assert words_for(["x"], with_empty=True) == {"x": 1, "-": 0}
    assert words_for(["x"], with_empty=False) == words_for(["n"], with_empty=True) == {}


def test_a_label_of_all_images_is_one_beside_others(tmp_path):
    annotations = read_labels(write(tmp_path, ("yes",) * 4, ("no", "yes", "no", "yes")))
    assert annotations.vocabulary.names == ("cat", "dog")
    assert annotations.labels.present_per_label().tolist() == [2, 4]
    assert annotations.notes[-1] == "labels that every image has: dog"
