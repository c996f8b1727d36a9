"""Tables that are no text."""

import sys
from typing import Any

import numpy as np
import pytest

from twlcli.annotations.detect import read_labels
from twlcli.annotations.write import write_table
from twlcli.errors import AnnotationError, MissingExtraError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
openpyxl = pytest.importorskip("openpyxl")

ROWS: dict[str, list[Any]] = {
    "image": ["a.jpg", "b.jpg", "c.jpg"],
    "split": ["train", "train", "val"],
    "cat": [1, 0, None],
    "dog": [True, False, True],
    "eel": [1.0, 0.0, float("nan")],
}
TARGETS = [[1, 1, 1], [0, 0, 0], [-1, 1, -1]]


def sheet(path):
    book = openpyxl.Workbook()
    book.active.append(list(ROWS))
    for row in zip(*ROWS.values(), strict=True):
        book.active.append([None if cell != cell else cell for cell in row])
    book.create_sheet("notes").append(["of another sheet"])
    book.save(path)
    return path


def test_columns_of_numbers(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table(ROWS), path)
    for each in (path, sheet(tmp_path / "a.xlsx")):
        annotations = read_labels(each)
        assert annotations.format == each.suffix[1:]
        assert annotations.images == ("a.jpg", "b.jpg", "c.jpg")
        assert annotations.vocabulary.names == ("cat", "dog", "eel")
        assert annotations.splits == ("train", "train", "val")
        assert annotations.labels.dense().tolist() == TARGETS


def test_lists_in_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    labels = [["a, b", "cat"], [], None]
    images = [{"bytes": b"", "path": name} for name in ROWS["image"]]
    parquet.write_table(pyarrow.table({"image": images, "labels": labels}), path)
    annotations = read_labels(path)
    assert annotations.images == ("a.jpg", "b.jpg", "c.jpg")
    assert annotations.vocabulary.names == ("a, b", "cat")
    assert annotations.labels.dense().tolist() == [[1, 1], [0, 0], [0, 0]]


def test_what_is_written_is_read_back(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text(
        "image,labels,split,unknown\na.jpg,a b|c,train,\nb.jpg,,val,c\nü.jpg,c,train,a b\n"
    )
    annotations = read_labels(table, separator="|")
    path = tmp_path / "sub" / "labels.parquet"
    path.parent.mkdir()
    write_table(annotations, path)
    again = read_labels(path)
    assert [again.path(row).resolve() for row in range(3)] == [
        annotations.path(row).resolve() for row in range(3)
    ]
    assert again.vocabulary == annotations.vocabulary
    assert again.splits == annotations.splits
    np.testing.assert_array_equal(again.labels.dense(), annotations.labels.dense())


def test_what_twl_tag_writes_is_read(tmp_path):
    from twlcli.tagging.outputs.parquet import parquet_rows
    from twlcli.tagging.tags import Tags

    path = tmp_path / "tags.parquet"
    with path.open("wb") as file, parquet_rows(file) as groups:
        groups.add(Tags("a.jpg", ("dog", "cat"), (0.9, 0.5)))
        groups.add(Tags("b.jpg", (), ()))
    annotations = read_labels(path)
    assert annotations.vocabulary.names == ("cat", "dog")
    assert annotations.labels.dense().tolist() == [[1, 1], [0, 0]]


@pytest.mark.parametrize("suffix", [".parquet", ".xlsx"])
def test_damaged_files_are_one_line(tmp_path, suffix):
    good = tmp_path / f"good{suffix}"
    if suffix == ".xlsx":
        sheet(good)
    else:
        parquet.write_table(pyarrow.table(ROWS), good)
    content = good.read_bytes()
    path = tmp_path / f"bad{suffix}"
    for bad in (b"", b"image,labels\na.jpg,dog\n", content[:100], content[: len(content) // 2]):
        path.write_bytes(bad)
        with pytest.raises(AnnotationError, match=r"bad\..*: cannot be read as") as caught:
            read_labels(path)
        assert "\n" not in str(caught.value)


def test_a_wrong_cell_is_named_by_its_row(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"image": ["a.jpg"] * 2, "labels": [["a"], ["b"]]}), path)
    with pytest.raises(AnnotationError, match=r"a\.parquet:3: image 'a\.jpg' is already on line 2"):
        read_labels(path)


@pytest.mark.parametrize(
    ("suffix", "package", "extra"),
    [(".parquet", "pyarrow", "parquet"), (".xlsx", "openpyxl", "xlsx")],
)
def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch, suffix, package, extra):
    (tmp_path / f"a{suffix}").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"twlcli\[{extra}\]"):
        read_labels(tmp_path / f"a{suffix}")
