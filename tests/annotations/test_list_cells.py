"""Lists of labels in a cell, as programs and people write them."""

import csv
from pathlib import Path

import pytest

from tests.annotations.told import error_of, labels_of
from twlcli.annotations.detect import read_labels


def table(tmp_path: Path, *cells: str, name: str = "photos.csv") -> Path:
    path = tmp_path / name
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "labels"])
        rows.writerows([f"{row}.jpg", cell] for row, cell in enumerate(cells))
    return path


def lists(tmp_path: Path, *cells: str) -> list[list[str]]:
    return list(labels_of(read_labels(table(tmp_path, *cells))).values())


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["{dog,cat}", "{dog}", "{}"], [["cat", "dog"], ["dog"], []]),  # Postgres
        (['{"wild cat",dog}', "{dog,NULL}"], [["dog", "wild cat"], ["dog"]]),
        (["set()", "frozenset({'dog', 'cat'})", "{'dog'}"], [[], ["cat", "dog"], ["dog"]]),
        (["array([3, 5])", "array([], dtype=int64)"], [["3", "5"], []]),
        (["array(['dog'], dtype=object)", "np.array(['cat' 'dog'])"], [["dog"], ["cat", "dog"]]),
        (['c("dog", "cat")', 'c("dog")'], [["cat", "dog"], ["dog"]]),  # R
        (['c("dog", "cat")', "cow, big", "character(0)"], [["cat", "dog"], ["cow, big"], []]),
        (["c(3, 7)", "5", "3:5", "c(1L, 2L)"], [["3", "7"], ["5"], ["3", "4", "5"], ["1", "2"]]),
        (["c(5)", "dog"], [["c(5)"], ["dog"]]),  # names that look like lists
        (["set(up)|dog", "set(up)"], [["dog", "set(up)"], ["set(up)"]]),
        (["b'day", "dog"], [["b'day"], ["dog"]]),
        (["[brackets]", "dog"], [["[brackets]"], ["dog"]]),
        (["[wip] dog", "[wip]|cat"], [["[wip] dog"], ["[wip]", "cat"]]),
        (["[cat]", "{dog}", "nan", ""], [["cat"], ["dog"], [], []]),  # all are
        (["dog\ncat", "cow, dog\r\n\ncat"], [["cat", "dog"], ["cat", "cow", "dog"]]),
        (["(dog, cat)", "(cow, cat)"], [["cat", "dog"], ["cat", "cow"]]),
        (["b'dog'", "b'cat'"], [["dog"], ["cat"]]),
        (["[b'dog', b'cat']", "[]"], [["cat", "dog"], []]),
        (["[3 5]", "[ 3]", "[3. 7.]"], [["3", "5"], ["3"], ["3", "7"]]),
        (["[np.str_('dog')]", "[np.str_('cat'), np.str_('dog')]"], [["dog"], ["cat", "dog"]]),
        (["[np.int64(3), np.int64(5)]"], [["3", "5"]]),
        (["['dog', None]", "[None]"], [["dog"], []]),
        (["{'dog': 1, 'cat': 0}", "{'dog': 0, 'cat': True}"], [["dog"], ["cat"]]),
        (["[dog, wild cat]", "[dog]"], [["dog", "wild cat"], ["dog"]]),
        (["none", "dog"], [[], ["dog"]]),
        (["7", "7.0", "8.00", ""], [["7"], ["7"], ["8"], []]),  # pandas
        (["7.0|8.0", "1.5"], [["7", "8"], ["1.5"]]),
        (['["7.0"]', '["7"]'], [["7.0"], ["7"]]),  # texts, as twl itself writes them
    ],
)
def test_spellings_of_lists(tmp_path, cells, expected):
    assert lists(tmp_path, *cells) == expected


@pytest.mark.parametrize(
    ("cells", "line", "why"),
    [
        (["(dog, cat)", "dog"], 3, "'dog' is no list of labels"),
        (["x", "[dog, cat]"], 2, "'x' is no list of labels"),
        (["x", "[3 5]"], 2, "'x' is no list of labels"),
        (["[dog cat]"], 2, "'[dog cat]' is no list of labels"),
        (["{dog,cat"], 2, "'{dog,cat' is no list of labels"),
        (
            ["{'dog': 0.9}"],
            2,
            "'{'dog': 0.9}' is no list of labels (its values are not all 1 and 0)",
        ),
    ],
)
def test_what_begins_as_a_list_and_is_none(tmp_path, cells, line, why):
    message = error_of(table(tmp_path, *cells))
    assert message.startswith(f"photos.csv:{line}: {why}")
    assert message.endswith("all are read as lists unless a separator is given")


@pytest.mark.parametrize("cells", [('c("dog", "cat")', "3:5"), ("c(3, 7)", "5:3")])
def test_a_range_that_is_none_of_r_is_refused(tmp_path, cells):
    message = f"photos.csv:3: '{cells[1]}' may be a label or numbers; write out which"
    assert error_of(table(tmp_path, *cells)) == message


@pytest.mark.parametrize(
    "cells", [("dog:0.9|cat:0.1", "dog:0.4"), ("dog (0.9); cat (0.1)", "dog (1.0)"), ("dog=.5",)]
)
def test_labels_with_values_are_refused(tmp_path, cells):
    message = error_of(table(tmp_path, *cells))
    assert "every label ends with a number, as '" in message
    assert message.endswith('may stand in JSON Lines: "labels": {"dog": 0.9}')


def test_labels_that_end_with_a_number_by_chance_are_read(tmp_path):
    assert lists(tmp_path, "ratio 1:1", "ratio 16:9") == [["ratio 1:1"], ["ratio 16:9"]]
    assert lists(tmp_path, "dog:0.9", "cat") == [["dog:0.9"], ["cat"]]


@pytest.mark.parametrize("sign", ["/", "+", "、"])
def test_labels_joined_by_another_sign_are_noted(tmp_path, sign):
    path = table(tmp_path, f"dog{sign}cat", "dog", "cat", "AC/DC")
    annotations = read_labels(path)
    assert len(annotations.vocabulary) == 4
    assert annotations.notes == (
        f"'dog{sign}cat' was read as one label, though 'dog' and 'cat' are labels; a separator of "
        f"'{sign}' splits such cells",
    )
    assert read_labels(path, separator=sign).notes == ()


def test_numbers_are_not_joined_by_their_point(tmp_path):
    annotations = read_labels(table(tmp_path, "1.0", "1.1", "1.10", "10", "1.1.1"))
    assert annotations.vocabulary.names == ("1", "1.1", "1.1.1", "1.10", "10")
    assert "separator" not in " ".join(annotations.notes)


def test_the_whole_number_is_said_once(tmp_path):
    annotations = read_labels(table(tmp_path, "7.0", "8.0", "7"))
    assert annotations.notes == ("whole numbers were read without their fraction, as '7.0' as 7",)


def test_one_stray_separator_is_refused(tmp_path):
    path = table(tmp_path, "dog,cat", "dog|cow", "cow,cat", "dog")
    assert error_of(path) == (
        "photos.csv:3: '|' is in 1 of the lists of labels, and ',' in 2 others; which separates "
        "labels?; `separator` says it"
    )
    assert read_labels(path, separator=",").vocabulary.names == ("cat", "cow", "dog", "dog|cow")
    often = ["tench, Tinca|dog"] * 3 + ["tench, Tinca"] * 40
    assert read_labels(table(tmp_path, *often)).vocabulary.names == ("dog", "tench, Tinca")
    many = ["a|b"] * 2 + ["a,b"] * 40
    assert "'|' is in 2 of the lists of labels, and ',' in 40 others" in error_of(
        table(tmp_path, *many)
    )


def test_text_files_may_hold_a_list(tmp_path):
    for name, text in (("a", '["dog","cat"]'), ("b", "['dog']\n"), ("c", "[x], dog")):
        (tmp_path / f"{name}.jpg").touch()
        (tmp_path / f"{name}.txt").write_text(text)
    assert labels_of(read_labels(tmp_path)) == {
        "a.jpg": ["cat", "dog"],
        "b.jpg": ["dog"],
        "c.jpg": ["[x]", "dog"],
    }


@pytest.mark.parametrize("separator", ["\t", "\\t"])
def test_tabs_between_labels(tmp_path, separator):
    path = table(tmp_path, "dog\tcat")
    assert read_labels(path, separator=separator).vocabulary.names == ("cat", "dog")
