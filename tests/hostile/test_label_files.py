"""Label files of strangers: endless lines, a million columns, paths that lead elsewhere."""

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from tests.hostile.test_links import twl
from twlcli.annotations import builder, encoding
from twlcli.annotations.detect import read_labels
from twlcli.annotations.missing import check_images
from twlcli.errors import AnnotationError
from twlcli.labels import LONGEST, Vocabulary

posix = pytest.mark.skipif(os.name != "posix", reason="paths of POSIX")


def refused(path: Path, message: str, **options) -> str:
    begin = time.monotonic()
    with pytest.raises(AnnotationError, match=message) as caught:
        read_labels(path, **options)
    assert time.monotonic() - begin < 5
    assert len(str(caught.value)) < 2000 and "\n" not in str(caught.value)
    return str(caught.value)


def table(folder: Path, text: str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


# --- size -----------------------------------------------------------------------------------------


def test_a_million_columns_are_refused_at_once(tmp_path):
    header = ",".join(f"l{number}" for number in range(1_000_000))
    path = table(tmp_path, f"image,{header}\na.jpg{',1' * 1_000_000}\n")
    refused(path, r"labels\.csv:1: 1,000,001 columns; at most 100,000 are read")


def test_many_columns_take_no_longer_than_they_have_to(tmp_path):
    """It was quadratic: 100,000 columns took 50 seconds, ten times as many an hour."""
    header = ",".join(f"l{number}" for number in range(90_000))
    path = table(tmp_path, f"image,{header}\na.jpg{',1' * 90_000}\n")
    begin = time.monotonic()
    assert len(read_labels(path).vocabulary) == 90_000
    assert time.monotonic() - begin < 10


def test_a_label_is_not_endless(tmp_path):
    path = table(tmp_path, f"image,labels\na.jpg,{'x' * 1_000_000}\n")
    refused(path, "label 'x{24}…' has 1,000,000 characters, more than 10,000")
    lines = json.dumps({"image": "a.jpg", "labels": ["y" * 20_000]})
    refused(table(tmp_path, lines, "a.jsonl"), "label 'y{24}…' has 20,000 characters")
    with pytest.raises(AnnotationError, match="has 20,000 characters"):
        Vocabulary(("dog", "z" * 20_000))
    assert len(Vocabulary(("z" * LONGEST,))) == 1


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "labels.jsonl", "labels"])
def test_a_line_is_not_endless(tmp_path, monkeypatch, name):
    monkeypatch.setattr(encoding, "LONGEST_LINE", 100_000)
    header = (
        '{"image": "a.jpg", "labels": ["' if name.endswith("jsonl") else "image\tlabels\na.jpg,"
    )
    refused(table(tmp_path, header + "x" * 200_000, name), "a line of more than 100,000 characters")
    refused(
        table(tmp_path, "x" * 200_000, name), "a line of more than 100,000 characters|no column"
    )


def test_cells_over_many_lines_are_not_endless_either(tmp_path, monkeypatch):
    monkeypatch.setattr("twlcli.annotations.rows.LONGEST_LINE", 100_000)
    path = table(tmp_path, 'image,labels\na.jpg,"' + "xxxxx\n" * 50_000)
    refused(path, "field larger than field limit|is never closed")


def test_there_are_not_endlessly_many_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "MOST_LABELS", 1000)
    labels = "|".join(f"l{number}" for number in range(2000))
    refused(table(tmp_path, f"image,labels\na.jpg,{labels}\n"), "more than 1,000 different labels")


LARGE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from twlcli.annotations.detect import read_labels
from twlcli.errors import TwlError
try:
    read_labels(sys.argv[1])
except TwlError as error:
    print(str(error)[:300])
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl", "labels.txt"])
def test_a_line_of_two_gigabytes_needs_no_such_memory(tmp_path, name):
    path = tmp_path / name
    with path.open("wb") as file:
        file.write(b'{"image": "' if name.endswith("jsonl") else b"image,labels\n")
        for _ in range(2048):
            file.write(b"x" * (1 << 20))
    done = subprocess.run([sys.executable, "-c", LARGE, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "has a line of more than 67,108,864 characters" in done.stdout


@pytest.mark.slow
def test_a_million_boxes_of_one_image_are_one_label(tmp_path):
    box = '{"image_id": 1, "category_id": 1}'
    content = (
        '{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 1, "name": "dog"}], '
        f'"annotations": [{",".join([box] * 1_000_000)}]}}'
    )
    begin = time.monotonic()
    read = read_labels(table(tmp_path, content, "boxes.json"))
    assert read.labels.present(0).tolist() == [0] and time.monotonic() - begin < 20


# --- depth, entities, archives --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "[" * 1_000_000),
        ("a.json", '[{"image": ' * 100_000),
        ("a.jsonl", '{"image": ' + "[" * 1_000_000),
        ("a.jsonl", '{"image": "a.jpg", "labels": ' + "[" * 200_000 + "]" * 200_000 + "}"),
        ("a.csv", "image,labels\na.jpg," + "[" * 90_000 + "\n"),
        ("a.csv", "image,labels\na.jpg,[" + "-" * 90_000 + "1]\n"),
        ("a.csv", "image,labels\na.jpg," + "[{(" * 30_000 + "\n"),
    ],
)
def test_deep_nesting_is_told_in_one_line(tmp_path, name, text):
    refused(table(tmp_path, text, name), name)


ENTITIES = {
    "external": '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
    "parameter": '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:1/x"> %x;]>',
    "expanding": "<!DOCTYPE a [<!ENTITY x 'xxxxxxxxxx'>"
    + "".join(f"<!ENTITY x{n} '{f'&x{n - 1 or str()};' * 10}'>" for n in range(1, 12))
    + "]>",
}


@pytest.mark.parametrize("kind", ENTITIES)
@pytest.mark.parametrize("codec", ["utf-8", "utf-16"])
def test_entities_are_refused(tmp_path, kind, codec):
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / name).mkdir(parents=True)
    xml = "<annotation><object><name>&x;</name></object></annotation>"
    head = f'<?xml version="1.0" encoding="{codec}"?>'
    (tmp_path / "Annotations" / "a.xml").write_bytes((head + ENTITIES[kind] + xml).encode(codec))
    refused(tmp_path, "has a DOCTYPE")


def test_an_xml_file_is_not_endless(tmp_path):
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "Annotations" / "a.xml").write_bytes(b" " * (17 << 20))
    refused(tmp_path, "is larger than 16 MiB")


def test_a_sheet_that_claims_to_be_huge_is_as_large_as_it_is(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["image", "labels", None], ["a.jpg", "dog"], ["b.jpg", None]):
        book.active.append(row)
    plain = io.BytesIO()
    book.save(plain)
    path = tmp_path / "labels.xlsx"
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("sheet1.xml"):
                content = content.replace(
                    b'<dimension ref="A1:C3"', b'<dimension ref="A1:XFD1048576"'
                )
                content = content.replace(
                    b'<dimension ref="A1:B3"', b'<dimension ref="A1:XFD1048576"'
                )
                assert b"XFD1048576" in content
            new.writestr(name, content)
    begin = time.monotonic()
    read = read_labels(path)
    assert (read.images, read.vocabulary.names) == (("a.jpg", "b.jpg"), ("dog",))
    assert time.monotonic() - begin < 10


# --- paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", ["https://x.invalid/a.jpg", "file:///etc/passwd", "s3://b/a.jpg"])
def test_addresses_are_never_fetched(tmp_path, image):
    path = table(tmp_path, f"image,labels\n{image},dog\n")
    with pytest.raises(AnnotationError) as caught:
        check_images(read_labels(path))
    assert f":2: image '{image}' is an address; images are read from files" in str(caught.value)


@pytest.mark.parametrize("image", [r"\\server\share\a.jpg", "//server/share/a.jpg", r"\/server/a"])
def test_on_windows_no_server_is_told_who_the_user_is(tmp_path, monkeypatch, image):
    monkeypatch.setattr(builder, "_WINDOWS", True)
    message = refused(table(tmp_path, f"image,labels\n{image},dog\n"), "on a network share")
    assert ":2: " in message


@posix
@pytest.mark.parametrize("image", ["/etc/passwd", "../secret.txt", "sub/../../secret.txt"])
def test_what_is_no_image_is_not_shown(tmp_path, image):
    """Paths may lead anywhere, as one's own tables do; but what is there is read as an image."""
    folder = tmp_path / "set"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("root:x:0:0:SECRET\n")
    path = table(folder, f"image,labels\n{image},dog\n")
    result = twl("data", "check", path)
    assert "not an image" in result.output
    assert "SECRET" not in result.output and "root:x" not in result.output


@posix
def test_pipes_and_devices_are_missing_images(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    path = table(tmp_path, "image,labels\npipe.jpg,dog\n/dev/zero,dog\n/dev/stdin,dog\n")
    with pytest.raises(AnnotationError, match=r"pipe\.jpg' is missing .*all 3 images"):
        check_images(read_labels(path))


@posix
@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl", "labels.json", "labels.xlsx"])
def test_a_label_file_that_is_a_pipe_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    refused(tmp_path / name, "is not a file")


# --- labels ---------------------------------------------------------------------------------------

ODD = ("a\nb", "a\x1b[31mb", "\u202edog", "a\tb", "a\rb", "<script>", "a|b", '"', "日本")


def test_odd_labels_are_kept_by_every_table(tmp_path):
    lines = [{"image": f"{number}.jpg", "labels": [label]} for number, label in enumerate(ODD)]
    source = table(tmp_path, "\n".join(map(json.dumps, lines)), "a.jsonl")
    for number in range(len(ODD)):
        (tmp_path / f"{number}.jpg").touch()
    for name in ("out.csv", "out.tsv", "out.parquet"):
        if name.endswith("parquet"):
            pytest.importorskip("pyarrow")
        assert twl("data", "convert", source, "--out", tmp_path / name).exit_code == 0
        read, wanted = read_labels(tmp_path / name), read_labels(source)
        assert read.vocabulary == wanted.vocabulary
        assert read.labels.dense().tolist() == wanted.labels.dense().tolist()


@pytest.mark.parametrize("label", ["a\0b", "\ud800"])
def test_labels_that_no_file_can_hold_are_refused(tmp_path, label):
    line = json.dumps({"image": "a.jpg", "labels": [label]})
    refused(table(tmp_path, line, "a.jsonl"), "not valid text|NUL")
    with pytest.raises(AnnotationError, match="not valid text"):
        Vocabulary((label,))
