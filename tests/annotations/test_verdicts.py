"""Rows that say whether their label is present."""

import pytest

from tests.annotations.told import error_of, labels_of
from twlcli.annotations.detect import read_labels


def write(tmp_path, text):
    path = tmp_path / "photos.csv"
    path.write_text(text)
    return path


def long_form(name, *values):
    rows = zip(["a,dog", "a,cat", "b,dog"], values, strict=True)
    return f"image,label,{name}\n" + "".join(f"{row},{value}\n" for row, value in rows)


@pytest.mark.parametrize("join_rows", [False, True])
@pytest.mark.parametrize("name", ["value", "present", "is_present", "Confidence", "score", "prob"])
@pytest.mark.parametrize(
    "values", [("1", "0", "0"), ("True", "False", "False"), ("1.00", "0.", "0,0"), ("y", "n", "n")]
)
def test_a_column_says_which_labels_are_present(tmp_path, name, values, join_rows):
    text = long_form(name, *(f'"{value}"' for value in values))
    annotations = read_labels(write(tmp_path, text), join_rows=join_rows)
    assert annotations.vocabulary.names == ("cat", "dog")
    assert annotations.labels.dense().tolist() == [[0, 1], [-1, 0]]
    assert annotations.notes[0].startswith(
        f"'{name}' {values[0][0] if values[0] == 'y' else 1} was"
    )


@pytest.mark.parametrize("values", [("0.9", "0.1", "0"), ("1", "0.5", "0"), ("1", "0", "-1")])
def test_a_fraction_says_nothing(tmp_path, values):
    path = write(tmp_path, long_form("confidence", *values))
    line, wrong = next((n, v) for n, v in enumerate(values, 2) if v not in ("0", "1"))
    assert error_of(path) == (
        f"photos.csv:{line}: 'confidence' is '{wrong}'; expected 1 or 0: whether the label is "
        "present; with `ignore_columns` confidence it is present in every row"
    )
    joined = read_labels(path, ignore_columns="confidence", join_rows=True)
    assert labels_of(joined) == {"a": ["cat", "dog"], "b": ["dog"]}


def test_a_fraction_far_below_is_found(tmp_path):
    rows = "".join(f"{row},dog,{row % 2}\n" for row in range(2000))
    path = write(tmp_path, f"image,label,confidence\n{rows}z,dog,0.7\n")
    assert error_of(path).startswith("photos.csv:2002: 'confidence' is '0.7'; expected 1 or 0")


@pytest.mark.parametrize(
    ("name", "values"), [("checked", ("1", "0", "0")), ("score", ("90", "0", "3"))]
)
def test_rows_are_not_joined_where_a_column_may_say_it(tmp_path, name, values):
    path = write(tmp_path, long_form(name, *values))
    hint = f"'{name}' may say whether the label of a row is present: call it 'confidence' if so"
    for options in ({}, {"join_rows": True}):
        assert hint in error_of(path, **options)
        assert error_of(path, **options).endswith(f"`ignore_columns` {name}")
    joined = read_labels(path, ignore_columns=name, join_rows=True)
    assert labels_of(joined) == {"a": ["cat", "dog"], "b": ["dog"]}


def test_a_score_of_whole_images_is_not_read(tmp_path):
    path = write(tmp_path, "image,labels,score\na,dog|cat,5.3\nb,cat,7\n")
    annotations = read_labels(path)
    assert labels_of(annotations) == {"a": ["cat", "dog"], "b": ["cat"]}
    assert annotations.notes == ("columns that were not read: score",)
