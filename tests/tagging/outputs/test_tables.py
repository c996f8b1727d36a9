import csv
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tagging.outputs.written import give, opened, opened_stream, opened_table
from twlcli import io as files
from twlcli.annotations.csv_cells import cell_of_image, image_of_cell
from twlcli.errors import TwlError
from twlcli.images.image_file import Failure
from twlcli.labels import Vocabulary, is_text
from twlcli.tagging.outputs.csv import CsvSink, FailureTable
from twlcli.tagging.outputs.jsonl import JsonlSink
from twlcli.tagging.outputs.tables import format_of, streamed_table
from twlcli.tagging.tags import Tags

DOG = Vocabulary(("dog", "person"))
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.text(
    "./=+-@ \ta", min_size=1, max_size=5
)
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1+1")


def csv_text(vocabulary: Vocabulary, *rows: Tags) -> str:
    file = io.StringIO(newline="")
    sink = CsvSink(file, vocabulary)
    for row in rows:
        give(sink, row)
    return file.getvalue()


def test_csv_writer_writes_the_documented_form():
    rows = [Tags("beach/1.jpg", ("dog", "person"), (0.93, 0.71)), Tags("2.jpg", (), ())]
    assert csv_text(DOG, *rows) == (
        "image,labels,probabilities\nbeach/1.jpg,dog|person,0.93|0.71\n2.jpg,,\n"
    )


def test_csv_writer_rounds_to_four_decimals():
    text = csv_text(DOG, Tags("a", ("dog", "person"), (0.123456, 1e-7)))
    assert text.endswith("a,dog|person,0.1235|0.0\n")


@pytest.mark.parametrize("odd", ["a|b", "a,b", "a;b", "[a"])
def test_csv_writer_lists_labels_as_json_where_one_holds_a_separator(odd):
    vocabulary = Vocabulary((odd, 'quote"d'))
    text = csv_text(vocabulary, Tags("1", vocabulary.names, (0.5, 0.25)), Tags("2", (), ()))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [json.loads(row["labels"]) for row in rows] == [[odd, 'quote"d'], []]
    assert json.loads(rows[0]["probabilities"]) == [0.5, 0.25]


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_spreadsheet_runs_a_cell(formula):
    row = Tags(f"{formula}.jpg", (formula, "b"), (0.9, 0.8))
    cells = list(csv.reader(io.StringIO(csv_text(Vocabulary((formula, "b")), row), newline="")))[1]
    assert cells[0] == f"./{formula}.jpg"
    assert json.loads(cells[1]) == [formula, "b"]
    for cell in cells:
        assert cell.lstrip()[0] not in "=+-@\uff1d"


@pytest.mark.parametrize("sign", [";", "\t", "\r", ","])
def test_no_sign_begins_a_new_cell(sign):
    text = csv_text(DOG, Tags(f"a{sign}=1+1.jpg", ("dog",), (0.5,)))
    assert f'"a{sign}=1+1.jpg"' in text


def test_a_cell_of_a_dangerous_name_is_a_path_to_the_same_file(tmp_path):
    table = pytest.importorskip("twlcli.annotations.table")
    names = ("=1+1.jpg", "-a.jpg", "@x/+1.jpg")
    (tmp_path / "@x").mkdir()
    for name in names:
        (tmp_path / name).write_text(name)
    path = tmp_path / "tags.csv"
    vocabulary = Vocabulary(("-dog", "+dog"))
    with opened_table(path, "csv", vocabulary) as write:
        for name in names:
            write(Tags(name, vocabulary.names, (0.5, 0.4)))
    annotations = table.read_table(path)
    assert [(tmp_path / image).read_text() for image in annotations.images] == list(names)
    assert set(annotations.vocabulary) == set(vocabulary)


def test_names_with_and_without_dots_stay_different():
    for name in ("=a", "./=a", "././=a", "./a", "a", "..=a", "./.=a"):
        assert image_of_cell(cell_of_image(name)) == name


@settings(deadline=None, max_examples=100)
@given(names=st.lists(NAMES, min_size=1, max_size=4))
def test_csv_writer_keeps_any_file_name(names):
    text = csv_text(DOG, *(Tags(name, ("dog",), (0.5,)) for name in names))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert [image_of_cell(row[0]) for row in rows[1:]] == names
    assert all(row[0][:1] not in "=+-@\t\r\n " for row in rows[1:])
    assert len({row[0] for row in rows[1:]}) == len(set(names))


@pytest.mark.parametrize("labels", [("dog", "person"), ("a|b", "c"), ("a,b", "c"), ("a;b", "c")])
def test_csv_is_read_back_as_annotations(tmp_path, labels):
    table = pytest.importorskip("twlcli.annotations.table")
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (tmp_path / name).touch()
    path = tmp_path / "tags.csv"
    vocabulary = Vocabulary(labels)
    with opened_table(path, "csv", vocabulary) as write:
        write(Tags("1.jpg", (labels[0],), (0.9,)))
        write(Tags("2.jpg", (labels[1], labels[0]), (0.9, 0.8)))
        write(Tags("3.jpg", (), ()))
    annotations = table.read_table(path)
    names = annotations.vocabulary.names
    read = [{names[column] for column in annotations.labels.present(row)} for row in range(3)]
    assert annotations.images == ("1.jpg", "2.jpg", "3.jpg")
    assert read == [{labels[0]}, set(labels), set()]


@settings(deadline=None, max_examples=100)
@given(
    names=st.lists(NAMES, min_size=1, max_size=4),
    labels=st.lists(NAMES.filter(is_text), unique=True),
)
def test_jsonl_writer_keeps_any_text(names, labels):
    file = io.StringIO(newline="")
    sink = JsonlSink(file)
    for name in names:
        give(sink, Tags(name, tuple(labels), (0.5,) * len(labels)))
    lines = [json.loads(line) for line in file.getvalue().removesuffix("\n").split("\n")]
    assert lines == [{"image": name, "labels": dict.fromkeys(labels, 0.5)} for name in names]


def test_names_that_are_not_utf8_survive(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    for format_name in ("csv", "jsonl"):
        path = tmp_path / f"tags.{format_name}"
        with opened_table(path, format_name, DOG) as write:
            write(Tags(name, ("dog",), (0.5,)))
            write(Tags("日本.jpg", ("dog",), (0.5,)))
    assert b"\ncaf\xe9.jpg,dog,0.5\n" in (tmp_path / "tags.csv").read_bytes()
    first, second = (tmp_path / "tags.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(first)["image"] == name
    assert "日本.jpg" in second


def test_open_writer_names_the_file_only_when_complete(tmp_path):
    path = tmp_path / "tags.csv"
    path.write_text("old")
    with opened_table(path, "csv", DOG) as write:
        write(Tags("a", (), ()))
        assert path.read_text() == "old"
    assert path.read_text() == "image,labels,probabilities\na,,\n"
    assert [each.name for each in tmp_path.iterdir()] == ["tags.csv"]


def test_open_writer_leaves_a_partial_file_when_interrupted(tmp_path):
    path = tmp_path / "tags.csv"
    with (
        pytest.raises(KeyboardInterrupt),
        opened_table(path, "csv", DOG) as write,
    ):
        write(Tags("a", (), ()))
        raise KeyboardInterrupt
    assert not path.exists()
    assert (tmp_path / "tags.csv.partial").read_text() == "image,labels,probabilities\na,,\n"


def test_open_writer_writes_to_the_standard_output_row_by_row():
    output = io.BytesIO()
    with opened_stream(output, "csv", DOG) as write:
        write(Tags("a\r\nb", ("dog",), (1.0,)))
        assert output.getvalue() == b'image,labels,probabilities\n"a\r\nb","dog","1.0"\n'
    assert not output.closed


full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@full_disk
@pytest.mark.parametrize("format_name", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("rows", [1, 2000])
def test_a_full_disk_is_told_of_the_output_on_it(tmp_path, monkeypatch, format_name, rows):
    full = tmp_path / "full"
    claim = files.claim

    def claim_on_full_disk(temporary, path):
        return os.open("/dev/full", os.O_RDWR) if path == full else claim(temporary, path)

    monkeypatch.setattr(files, "claim", claim_on_full_disk)
    opened = [
        opened_table(path, format_name, DOG)
        for path in (tmp_path / "before", full, tmp_path / "behind")
    ]
    message = f"^{full}: cannot be written .No space left on device.$"
    with pytest.raises(TwlError, match=message), opened[0] as a, opened[1] as b, opened[2] as c:
        for number in range(rows):
            for write in (a, b, c):
                write(Tags(f"{number}.jpg", ("dog",), (number / rows,)))
    assert not full.exists() and not (tmp_path / "before").exists()


@full_disk
def test_a_full_disk_behind_the_standard_output_is_told(tmp_path):
    with (
        Path("/dev/full").open("wb", buffering=0) as output,
        pytest.raises(TwlError, match="the output stream: cannot be written"),
        opened_table(tmp_path / "tags", "csv", DOG),
        opened_stream(output, "csv", DOG),
    ):
        pytest.fail("the header was written")


def test_who_has_read_enough_of_the_standard_output_gets_no_error(tmp_path):
    """`twl tag --out FILE --out - | head` ends quietly; the file is not to blame."""
    read, write = os.pipe()
    os.close(read)
    with (
        os.fdopen(write, "wb", buffering=0) as output,
        pytest.raises(BrokenPipeError),
        opened_table(tmp_path / "tags", "csv", DOG),
        opened_stream(output, "csv", DOG),
    ):
        pytest.fail("the header was written")


def test_each_row_is_seen_on_the_standard_output_at_once(tmp_path):
    with (
        (tmp_path / "seen").open("wb") as output,
        opened_stream(output, "jsonl", DOG) as write,
    ):
        write(Tags("1.jpg", ("dog",), (0.5,)))
        assert (tmp_path / "seen").read_text() == '{"image": "1.jpg", "labels": {"dog": 0.5}}\n'


def test_failures_are_a_table_of_their_own(tmp_path):
    path = tmp_path / "errors.csv"
    with opened(FailureTable(path)) as write:
        write(Failure("=1", "x"))
        write(Tags("fine.jpg", ("dog",), (0.5,)))
        write(Failure("a,b\n.jpg", "truncated JPEG"))
    rows = list(csv.reader(io.StringIO(path.read_text())))
    assert rows == [["image", "error"], ["./=1", "x"], ["a,b\n.jpg", "truncated JPEG"]]
    assert [each.name for each in tmp_path.iterdir()] == ["errors.csv"]


@pytest.mark.parametrize("format_name", ["csv", "jsonl", "parquet"])
def test_tables_of_tags_leave_failures_out(tmp_path, format_name):
    pytest.importorskip("pyarrow")
    paths = tmp_path / "with", tmp_path / "without"
    for path in paths:
        with opened_table(path, format_name, DOG) as write:
            write(Tags("1.jpg", ("dog",), (0.5,)))
            if path.name == "with":
                write(Failure("2.jpg", "the file is empty"))
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_format_of(tmp_path):
    assert format_of(tmp_path / "a.CSV") == "csv"
    assert format_of(tmp_path / "a.jsonl") == "jsonl"
    assert format_of(tmp_path / "a.txt", "jsonl") == "jsonl"
    assert format_of(tmp_path / "a.parquet") == "parquet"
    with pytest.raises(TwlError, match="'parquet' needs a file"):
        streamed_table(io.BytesIO(), "parquet")
    with pytest.raises(TwlError, match=r"suffix '\.txt' .* expected \.csv, \.jsonl or"):
        format_of(tmp_path / "a.txt")
    with pytest.raises(TwlError, match=r"a\.JSON: \.json may be Label Studio's or FiftyOne's"):
        format_of(tmp_path / "a.JSON")
    with pytest.raises(
        TwlError, match=r"format 'xml' is not known \(known: csv, jsonl, parquet, label-"
    ):
        streamed_table(io.BytesIO(), "xml")
