"""Tables that are no text."""

import json
import sys
import time
from typing import Any

import numpy as np
import pytest

from tests.annotations.told import error_of, labels_of
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
        said = "sheets that were not read: notes" in annotations.notes
        assert said == (each.suffix == ".xlsx")


def test_lists_in_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    labels = [["a, b", "cat"], [], None]
    images = [{"bytes": b"", "path": name} for name in ROWS["image"]]
    parquet.write_table(pyarrow.table({"image": images, "labels": labels}), path)
    annotations = read_labels(path)
    assert annotations.images == ("a.jpg", "b.jpg", "c.jpg")
    assert annotations.vocabulary.names == ("a, b", "cat")
    assert annotations.labels.dense().tolist() == [[1, 1], [0, 0], [0, 0]]


# --- other kinds of columns in Parquet -----------------------------------------------------------

TWO = ["a.jpg", "b.jpg"]


def parquet_of(tmp_path, metadata=None, **columns):
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"image": TWO, **columns})
    if metadata is not None:
        features = json.dumps({"info": {"features": metadata}})
        table = table.replace_schema_metadata({"huggingface": features})
    parquet.write_table(table, path)
    return path


def test_values_by_name_in_parquet(tmp_path):
    values = [{"dog": 1, "cat": 0}, {"dog": 0, "cat": 1}]
    expected = {"a.jpg": ["dog"], "b.jpg": ["cat"]}
    assert labels_of(read_labels(parquet_of(tmp_path, labels=values))) == expected
    kind = pyarrow.map_(pyarrow.string(), pyarrow.int64())
    maps = pyarrow.array([list(each.items()) for each in values], type=kind)
    assert labels_of(read_labels(parquet_of(tmp_path, labels=maps))) == expected
    fractions = [{"dog": 0.9, "cat": 0.0}, {"dog": 0.0, "cat": 1.0}]
    assert "(its values are not all 1 and 0)" in error_of(parquet_of(tmp_path, labels=fractions))


def test_classes_that_hugging_face_names(tmp_path):
    names = {"names": ["cat", "dog"], "_type": "ClassLabel"}
    path = parquet_of(tmp_path, {"label": names}, label=[1, 0])
    assert labels_of(read_labels(path)) == {"a.jpg": ["dog"], "b.jpg": ["cat"]}
    for feature in ({"feature": names, "_type": "Sequence"}, [names]):
        path = parquet_of(tmp_path, {"labels": feature}, labels=[[1, 0], [1]])
        assert labels_of(read_labels(path)) == {"a.jpg": ["cat", "dog"], "b.jpg": ["dog"]}
    others: list[Any] = [{"labels": 7}, {"other": names}, [], {"labels": {"names": 1}}]
    for metadata in others:
        path = parquet_of(tmp_path, metadata, labels=[[1, 0], [1]])
        assert read_labels(path).vocabulary.names == ("0", "1")


def test_images_whose_class_is_not_known_are_left_out(tmp_path):
    names = {"names": ["tench, Tinca", "dog", "eel"], "_type": "ClassLabel"}
    note = "images left out because their class is -1, not known: 1"
    for labels in ([-1, 0], [[-1], [0, -1]]):
        annotations = read_labels(parquet_of(tmp_path, {"label": names}, label=labels))
        assert labels_of(annotations) == {"b.jpg": ["tench, Tinca"]}
        assert annotations.vocabulary.names == ("tench, Tinca", "dog", "eel")
        assert annotations.notes == (note,)
    annotations = read_labels(
        parquet_of(tmp_path, {"kind": names}, kind=[-1, 0], label=["x", "y|x"])
    )
    assert labels_of(annotations) == {"a.jpg": ["x"], "b.jpg": ["x", "y"]}


def test_lists_without_names_in_parquet_are_refused(tmp_path):
    boxes = [[{"name": "dog", "score": 0.9}], []]
    path = parquet_of(tmp_path, labels=boxes)
    assert error_of(path) == (
        "a.parquet: the column 'labels' holds lists of struct<name: string, score: double>; "
        "expected lists of names"
    )
    path = parquet_of(tmp_path, boxes=boxes, labels=[["dog"], []])
    assert labels_of(read_labels(path)) == {"a.jpg": ["dog"], "b.jpg": []}
    path = parquet_of(tmp_path, labels=[[0.1, 0.9], [0.2]])
    assert error_of(path).startswith("a.parquet:2: '[0.1, 0.9]' is no list of labels")
    path = parquet_of(tmp_path, labels=[[["dog"]], []])
    assert error_of(path).startswith("a.parquet:2: '[[\"dog\"]]' is no list of labels")


@pytest.mark.parametrize(
    "images",
    [[b"\xff\xd8\xff", b"\x89PNG"], [b"GIF\0", b"a"], [{"bytes": b"\xff", "path": None}] * 2],
)
def test_images_inside_parquet_are_refused(tmp_path, images):
    path = parquet_of(tmp_path, image=images, label=["x", "y"], file=TWO)
    assert error_of(path) == (
        "a.parquet:1: the column 'image' holds files themselves, not their paths; save them as "
        "files, and name a column of their paths with `image_column`"
    )
    assert read_labels(path, image_column="file").images == ("a.jpg", "b.jpg")


def test_paths_beside_images_inside_parquet_are_read(tmp_path):
    images = [{"bytes": b"\xff", "path": name} for name in TWO]
    annotations = read_labels(parquet_of(tmp_path, image=images, label=["x", "y"]))
    assert annotations.images == ("a.jpg", "b.jpg")
    note = "of the images inside 'image' only the paths were read; they must be files"
    assert annotations.notes == (note,)
    path = parquet_of(tmp_path, image=[name.encode() for name in TWO], label=["x", "y"])
    assert read_labels(path).images == ("a.jpg", "b.jpg")


# --- workbooks -----------------------------------------------------------------------------------


def workbook_of(tmp_path, change, rows=(("image", "dog"), ("a.jpg", 1), ("b.jpg", 0))):
    path = tmp_path / "a.xlsx"
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    change(book)
    book.save(path)
    return path


def test_merged_cells_are_refused(tmp_path):
    path = workbook_of(tmp_path, lambda book: book.active.merge_cells("B2:B3"))
    assert error_of(path) == (
        "a.xlsx: cells B2:B3 are merged, and only the first has a value; part them and fill each"
    )


@pytest.mark.parametrize("formula", ["=1-B2", "=SUM(B1:B2)"])
def test_formulas_without_a_value_are_refused(tmp_path, formula):
    def change(book):
        book.active["B3"] = formula

    message = error_of(workbook_of(tmp_path, change))
    assert message.startswith("a.xlsx: cell B3 is a formula without a stored value; open and save")


def test_cells_of_columns_that_are_not_read_may_be_merged_or_without_a_value(tmp_path):
    def change(book):
        book.active["C2"] = "=B2"
        book.active.merge_cells("C3:D4")

    rows = (("image", "labels", "notes", "more"), ("a.jpg", "dog"), ("b.jpg", "cat"))
    expected = {"a.jpg": ["dog"], "b.jpg": ["cat"]}
    assert labels_of(read_labels(workbook_of(tmp_path, change, rows))) == expected


def test_lines_in_a_cell_are_labels(tmp_path):
    rows = (("image", "labels"), ("a.jpg", "dog\ncat"), ("b.jpg", "cat"))
    path = workbook_of(tmp_path, lambda _: None, rows)
    assert labels_of(read_labels(path)) == {"a.jpg": ["cat", "dog"], "b.jpg": ["cat"]}


def test_errors_of_formulas_are_no_labels(tmp_path):
    rows = (("image", "labels"), ("a.jpg", "dog"), ("b.jpg", "#REF!"))
    message = error_of(workbook_of(tmp_path, lambda _: None, rows))
    assert (
        message == "a.xlsx: a cell of labels holds #REF!, the error of a formula; mend or empty it"
    )


def test_other_sheets_are_named(tmp_path):
    def change(book):
        book.create_sheet("legend").append(["x"])
        book.move_sheet(book.create_sheet("secret"), -2)
        book["secret"].sheet_state = "hidden"

    annotations = read_labels(workbook_of(tmp_path, change))
    assert labels_of(annotations) == {"a.jpg": ["dog"], "b.jpg": []}
    assert annotations.notes == ("sheets that were not read: secret, legend",)


def test_a_sheet_for_each_split_is_refused(tmp_path):
    def change(book):
        book.active.title = "Train"
        book.create_sheet("val")

    assert error_of(workbook_of(tmp_path, change)) == (
        "a.xlsx: has a sheet for each split (Train, val); save each as a file; `val_data` and "
        "`test_data` name the others"
    )


def test_cells_far_away_take_no_time(tmp_path):
    def change(book):
        book.active.cell(100_000, 16_000).font = openpyxl.styles.Font(bold=True)

    path = workbook_of(tmp_path, change)
    began = time.monotonic()
    assert len(read_labels(path)) == 2
    assert time.monotonic() - began < 60  # it takes a second, and many minutes with the empty cells


def test_what_openpyxl_does_not_know_is_one_plain_line(tmp_path):
    path = workbook_of(tmp_path, lambda book: book.create_chartsheet("c"))
    assert "holds something such as a chart that is not known here" in error_of(path)


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


def test_why_a_file_cannot_be_read_is_said(tmp_path):
    """pyarrow raises OSErrors that are not the system's: it was "cannot be read (None)"."""
    path = parquet_of(tmp_path, image=TWO * 500, labels=["dog", "cat"] * 500)
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(400) + content[404:])
    with pytest.raises(
        AnnotationError, match=r"a\.parquet: cannot be read( as Parquet)? \("
    ) as told:
        read_labels(path)
    assert "None" not in str(told.value) and "\n" not in str(told.value)


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


def test_paths_are_relative_to_the_folder_as_it_is_now(tmp_path, monkeypatch):
    for name, label in (("one", "cat"), ("two", "dog")):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        table = pyarrow.table({"image": ["a.jpg"], "labels": [[label]]})
        parquet.write_table(table, "labels.parquet")
        assert read_labels("labels.parquet").vocabulary.names == (label,)
