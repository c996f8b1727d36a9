"""Lists of 1 and 0 with an entry for each label."""

import json

import numpy as np
import pytest

from tests.annotations.test_list_cells import table
from tests.annotations.told import error_of, labels_of
from twlcli.annotations.detect import read_labels
from twlcli.annotations.vectors import entries_of

VECTORS = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 0, 0]])
NAMED = [["cat", "eel"], ["eel"], ["cat", "dog"], []]

SPELLINGS = {
    "json": lambda row: str(row.tolist()),
    "numpy": lambda row: str(row),
    "floats": lambda row: str(row.astype(float)),
    "torch": lambda row: f"tensor([{', '.join(f'{each}.' for each in row)}])",
    "array": lambda row: f"array({row.tolist()}, dtype=int8)",
    "bools": lambda row: str(row.astype(bool).tolist()),
    "digits": lambda row: "".join(map(str, row)),
    "blanks": lambda row: " ".join(map(str, row)),
    "bars": lambda row: "|".join(map(str, row)),
    "tuple": lambda row: str(tuple(row.tolist())),
}


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("cat\ndog\neel\n")
    return path


def csv_of(tmp_path, spell):
    return table(tmp_path, *map(spell, VECTORS))


def jsonl_of(tmp_path, spell):
    path = tmp_path / "photos.jsonl"
    lines = [{"image": f"{row}.jpg", "labels": spell(each)} for row, each in enumerate(VECTORS)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def json_of(tmp_path, spell):
    path = tmp_path / "photos.json"
    path.write_text(f"[{','.join(jsonl_of(tmp_path, spell).read_text().splitlines())}]")
    return path


def parquet_of(tmp_path, spell):
    pyarrow = pytest.importorskip("pyarrow")
    path = tmp_path / "photos.parquet"
    table = pyarrow.table(
        {
            "image": [f"{row}.jpg" for row in range(len(VECTORS))],
            "labels": [spell(each) for each in VECTORS],
        }
    )
    pytest.importorskip("pyarrow.parquet").write_table(table, path)
    return path


def as_ints(row):
    return row.tolist()


def as_floats(row):
    return row.astype(float).tolist()


FORMS = [(csv_of, spell) for spell in SPELLINGS.values()]
FORMS += [(write, spell) for write in (jsonl_of, json_of) for spell in (as_ints, as_floats)]
FORMS += [(jsonl_of, SPELLINGS["json"]), (parquet_of, as_ints), (parquet_of, as_floats)]


@pytest.mark.parametrize(("write", "spell"), FORMS)
def test_vectors_need_names(tmp_path, names, write, spell):
    path = write(tmp_path, spell)
    assert error_of(path) == (
        f"{path.name}: every image has a list of 3 entries of 1 and 0, one for each label; `names` "
        "names a file with the names of the labels in their order"
    )
    annotations = read_labels(path, names=names)
    assert annotations.vocabulary.names == ("cat", "dog", "eel")
    assert list(labels_of(annotations).values()) == NAMED
    assert annotations.labels.dense().tolist() == VECTORS.tolist()
    assert len(annotations.notes) == 1 and "read as entries of the labels" in annotations.notes[0]


@pytest.mark.parametrize(
    "cells",
    [
        ("[0]", "[1]", "[0, 1]"),  # numbers of labels: not of one length
        ("[0, 1]", "[0, 1]"),  # always both
        ("0|1", "0|1", ""),
        ("101", "110"),  # numbers do not begin with 0
        ("101", "11"),
        ("[3, 3]", "[5]"),
        ("[0, 2]", "[1, 0]"),
        ('["0", "1"]', '["1", "0"]'),  # texts
        ("1", "0"),
    ],
)
def test_lists_of_numbers_are_no_vectors(tmp_path, cells):
    assert "read as entries" not in str(read_labels(table(tmp_path, *cells)).notes)


@pytest.mark.parametrize(
    ("cells", "row"),
    [
        (("[1, 0, 1]", "[0, -1, 0]", "[1, 1, 0]"), 2),
        (("[1, 0, 1]", "[0, 1, 0]", "", "[1, 1]"), 4),
        (("1 0 1 0 1", "1 0 1 0 0", "1 0 2 0 1"), 3),
        (("1|0|1|0|1", "1|0|1|0|0", "dog"), 3),
        (("0101", "010"), 2),
        (("[1, 1]", "[1, 1]"), 1),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_lists_that_are_nearly_vectors_are_refused(tmp_path, names, cells, row, named):
    path = table(tmp_path, *cells)
    message = error_of(path, **({"names": names} if named else {}))
    assert message.startswith(
        f"photos.csv: image {row} has '{cells[row - 1]}', but lists that repeat 1 or 0 have"
    )
    assert message.endswith("; mend the list; lists of the labels' numbers name each once")


def test_a_vector_that_has_another_length_than_the_names(tmp_path, names):
    path = table(tmp_path, "[1, 0]", "[0, 1]", "[1, 1]")
    assert error_of(path, names=names).endswith(
        f"every image has a list of 2 entries of 1 and 0, but {names} has 3 names"
    )
    path = table(tmp_path, "[1, 0]", "[2, 1]")
    assert labels_of(read_labels(path, names=names)) == {
        "0.jpg": ["cat", "dog"],
        "1.jpg": ["dog", "eel"],
    }


def test_images_without_labels_stand_beside_vectors(tmp_path, names):
    path = table(tmp_path, "[1, 0, 0]", "", "nan", "[0, 1, 1]")
    expected = [["cat"], [], [], ["dog", "eel"]]
    assert list(labels_of(read_labels(path, names=names)).values()) == expected


@pytest.mark.parametrize(
    "labels", ["dog", "", "[2]", "[]", [], ["1"], {"a": 1}, None, 1, "[1, 'a']"]
)
def test_what_is_no_vector(labels):
    assert entries_of(labels) is None
