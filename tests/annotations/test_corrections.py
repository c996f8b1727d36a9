import re

import pytest

from twlcli.annotations.corrections import read_corrections
from twlcli.annotations.csv_cells import cell_of_image, cell_of_text
from twlcli.annotations.detect import read_labels
from twlcli.errors import AnnotationError


def write(folder, *lines, header="image,label,verdict", name="corrections.csv"):
    path = folder / name
    path.write_text("\n".join((header, *lines)) + "\n")
    return path


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
        (["a.jpg,cat"], ":2: has 2 cells; expected 3"),
        (
            ["a.jpg,cat,absent", "b.jpg,cat,absent", "./a.jpg,cat,present"],
            ":4: label 'cat' of image './a.jpg' has another verdict on line 2",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(lines, message, tmp_path):
    with pytest.raises(AnnotationError, match=re.escape(message)):
        read_corrections(write(tmp_path, *lines))


@pytest.mark.parametrize("text", ["", "image,label\na.jpg,cat\n", "\x00"])
def test_what_is_no_table_of_corrections_is_refused(text, tmp_path):
    path = tmp_path / "corrections.csv"
    path.write_text(text)
    with pytest.raises(AnnotationError, match=re.escape(str(path))):
        read_corrections(path)


def test_a_folder_holds_the_corrections_of_several_days(tmp_path):
    folder = tmp_path / "corrections"
    folder.mkdir()
    with pytest.raises(AnnotationError, match="holds no table of corrections"):
        read_corrections(folder)
    second = write(folder, "b.jpg,cat,absent", "a.jpg,cat,present", name="b.csv")
    first = write(folder, "a.jpg,cat,present", name="a.CSV")
    (folder / "note.txt").write_text("not a table")
    (folder / "._a.csv").write_bytes(b"\x00\x05\x16\x07")
    found = read_corrections(folder)
    assert [(each.file, each.line, each.image) for each in found] == [
        (first, 2, "a.jpg"),
        (second, 2, "b.jpg"),
    ]
    write(folder, "a.jpg,cat,absent", name="c.csv")
    message = f"c.csv:2: label 'cat' of image 'a.jpg' has another verdict on line 2 of {first}"
    with pytest.raises(AnnotationError, match=re.escape(message)):
        read_corrections(folder)


def test_alone_they_are_labels(tmp_path):
    lines = ["b.jpg,dog,present", "b.jpg,cat,absent", "a.jpg,cat,unknown", "c.jpg,dog,Absent"]
    annotations = read_labels(write(tmp_path, *lines))
    assert annotations.format == "corrections"
    assert annotations.images == ("b.jpg", "a.jpg", "c.jpg")
    assert annotations.vocabulary.names == ("cat", "dog")
    assert annotations.labels.dense().tolist() == [[0, 1], [-1, -1], [-1, 0]]
    assert "labels of an image that have no verdict were read as unknown" in annotations.notes


def test_alone_they_are_labels_in_every_form_that_programs_write(tmp_path):
    lines = ["b.jpg,dog,present", "a.jpg,cat,absent"]
    text = "\n".join(("image,label,verdict", *lines)) + "\n"
    forms = {
        "utf16.csv": text.encode("utf-16"),
        "cr.csv": text.replace("\n", "\r").encode(),
        "tabs.tsv": text.replace(",", "\t").encode(),
        "more.csv": b"note,verdict,label,image\n,present,dog,b.jpg\nx,absent,cat,a.jpg\n",
    }
    for name, content in forms.items():
        path = tmp_path / name
        path.write_bytes(content)
        annotations = read_labels(path)
        assert annotations.format == "corrections", name
        assert annotations.images == ("b.jpg", "a.jpg")
        assert annotations.labels.dense().tolist() == [[-1, 1], [0, -1]]
    typo = write(tmp_path, *lines, "c.jpg,dog,maybe")
    with pytest.raises(AnnotationError, match=":4: verdict 'maybe'"):
        read_labels(typo)


def test_a_workbook_of_them_is_read_as_well(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (("image", "label", "verdict"), ("b.jpg", "dog", "absent")):
        book.active.append(row)
    book.save(tmp_path / "corrections.xlsx")
    annotations = read_labels(tmp_path / "corrections.xlsx")
    assert annotations.labels.dense().tolist() == [[0]]
    assert read_corrections(tmp_path / "corrections.xlsx")[0].label == "dog"


def test_a_folder_of_them_is_labels_too(tmp_path):
    write(tmp_path, "a.jpg,cat,present", name="1.csv")
    write(tmp_path, "b.jpg,cat,absent", name="2.csv")
    annotations = read_labels(tmp_path)
    assert (annotations.format, annotations.root) == ("corrections", tmp_path)
    assert annotations.labels.dense().tolist() == [[1], [0]]


@pytest.mark.parametrize("line", ["a.jpg,dog,1", "a.jpg,dog|cat,good"])
def test_a_table_with_other_verdicts_is_read_as_any_table(line, tmp_path):
    assert read_labels(write(tmp_path, line)).format == "csv"
