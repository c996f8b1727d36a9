from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twlcli.annotations.jsonl import read_jsonl
from twlcli.annotations.separators import blanks_separate, find_separator
from twlcli.annotations.sidecars import read_sidecars
from twlcli.annotations.table import read_table
from twlcli.errors import AnnotationError


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        # All words occur alone: plant pathology, the proteins of an atlas.
        (["scab frog", "scab", "frog"], True),
        (["20 15 10", "20", "15", "10"], True),
        (["dog cat", "cat dog"], False),  # which says nothing
        # Words with _.
        (["frog_eye_leaf_spot scab"], True),
        (["1girl solo long_hair"], True),
        # Words that recombine, without any alone: satellite images.
        (
            [
                "clear primary",
                "haze primary",
                "clear primary road",
                "haze primary road",
                "clear road",
                "haze road water",
                "clear primary road water",
            ],
            True,
        ),
        # Names of several words.
        (["teddy bear", "polar bear", "bear"], False),
        (["orange juice", "apple juice", "orange", "apple"], False),
        (["red apple", "green apple", "red pear", "green pear"], False),
        (["traffic light", "fire hydrant", "stop sign", "parking meter", "dog"], False),
        (["No Finding", "Pleural Effusion", "Mass"], False),
        (["new york new york", "new", "york"], False),
        (["bird of prey", "bird", "of", "prey"], False),
        ([f"label {number}" for number in range(50)], False),
        ([], False),
        (["", "dog", "cat"], False),
    ],
)
def test_blanks_separate(cells, expected):
    assert blanks_separate(cells) is expected
    assert blanks_separate(reversed(cells)) is expected


@given(
    st.lists(
        st.sets(st.sampled_from(["ant", "bee", "cow", "dog", "eel"]), min_size=1).map(sorted),
        max_size=20,
    )
)
def test_blanks_separate_where_every_word_is_a_cell(lists):
    cells = [" ".join(each) for each in lists]
    alone = ["ant", "bee", "cow", "dog", "eel"]
    assert blanks_separate(cells + alone) == any(len(each) > 1 for each in lists)


@given(st.lists(st.text(alphabet="ab_ 1|,;[\t", max_size=8), max_size=12))
def test_any_cells_have_a_separator(cells):
    try:
        found = find_separator(enumerate(cells, 1), of=Path("a.csv"))
    except AnnotationError as error:
        assert str(error).endswith("which separates labels?; `separator` says it")
        return
    assert found.text in ("|", ";", ",", "json", "choices", " ")
    if found.text == " ":
        assert not any(each in cell for cell in cells for each in "|;,")


def table_of(tmp_path, cells):
    path = tmp_path / "labels.csv"
    rows = "".join(f"{row}.jpg,{cell}\n" for row, cell in enumerate(cells))
    path.write_text(f"image,labels\n{rows}")
    return read_table(path)


def jsonl_of(tmp_path, cells):
    path = tmp_path / "labels.jsonl"
    path.write_text(
        "".join(f'{{"image": "{row}.jpg", "labels": "{cell}"}}\n' for row, cell in enumerate(cells))
    )
    return read_jsonl(path)


def sidecars_of(tmp_path, cells):
    for row, cell in enumerate(cells):
        (tmp_path / f"{row}.jpg").touch()
        (tmp_path / f"{row}.txt").write_text(cell)
    return read_sidecars(tmp_path)


@pytest.mark.parametrize("reading", [table_of, jsonl_of, sidecars_of])
def test_files_with_blanks(tmp_path, reading):
    other = "," if reading is sidecars_of else "|"
    annotations = reading(tmp_path, ["scab rust", "scab", "  rust ", ""])
    assert annotations.vocabulary.names == ("rust", "scab")
    assert annotations.labels.dense().tolist() == [[1, 1], [0, 1], [1, 0], [0, 0]]
    assert annotations.notes == (
        f"labels are separated by blanks, as in 'scab rust'; a separator of '{other}' keeps such "
        "cells whole",
    )
    annotations = reading(tmp_path, ["traffic light", "dog", "", "stop sign"])
    assert annotations.vocabulary.names == ("dog", "stop sign", "traffic light")
    assert annotations.notes == (
        "'stop sign' was read as one label; a separator of ' ' splits such cells",
    )
    annotations = reading(tmp_path, [f"scab rust{other}rust", "scab", "rust", ""])
    assert annotations.vocabulary.names == ("rust", "scab", "scab rust")
    assert annotations.notes == ()


@pytest.mark.parametrize("extra", ["probabilities", "vocabulary"])
def test_tables_of_twl_have_no_blanks_between_labels(tmp_path, extra):
    path = tmp_path / "labels.csv"
    path.write_text(f"image,labels,{extra}\na.jpg,wild cat,\nb.jpg,wild,\nc.jpg,cat,\n")
    annotations = read_table(path)
    assert annotations.vocabulary.names == ("cat", "wild", "wild cat")
    assert annotations.notes == ()
