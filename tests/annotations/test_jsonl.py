import json

import pytest

from twlcli.annotations.imagefolder import is_imagefolder, read_imagefolder
from twlcli.annotations.jsonl import read_jsonl
from twlcli.annotations.read_options import ReadOptions
from twlcli.errors import AnnotationError


def write(tmp_path, *records, name="photos.jsonl"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [each if isinstance(each, str) else json.dumps(each) for each in records]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def error_of(path):
    with pytest.raises(AnnotationError) as caught:
        read_jsonl(path)
    return str(caught.value).removeprefix(str(path.parent) + "/")


def test_jsonl_forms_of_labels(tmp_path):
    path = write(
        tmp_path,
        {"image": "a.jpg", "labels": ["dog", " cat ", "dog"]},
        "",
        {"file_name": "b.jpg", "labels": {"dog": 0.93, "cow": 0, "cat": None, "ant": -1}},
        {"path": "c.jpg", "tags": "cat, dog", "split": "Valid"},
        {"image": "d\ne.jpg", "labels": None, "unknown": ["cow"], "width": 640},
        {"image": "f.jpg", "labels": {"dog": True, "cat": False}},
    )
    annotations = read_jsonl(path)
    assert annotations.images == ("a.jpg", "b.jpg", "c.jpg", "d\ne.jpg", "f.jpg")
    assert annotations.vocabulary.names == ("ant", "cat", "cow", "dog")
    assert annotations.labels.dense().tolist() == [
        [0, 1, 0, 1],
        [-1, -1, 0, 1],
        [0, 1, 0, 1],
        [0, 0, -1, 0],
        [0, 0, 0, 1],
    ]
    assert annotations.splits == ("", "", "val", "", "")
    assert annotations.lines is not None
    assert annotations.lines.tolist() == [1, 3, 4, 5, 6]
    assert annotations.place(1) == (path, 3)


def test_jsonl_numbers_and_words_for_nothing(tmp_path):
    path = write(
        tmp_path,
        {"image": "a.jpg", "labels": [5, 16, 5]},
        {"image": "b.jpg", "labels": "None"},
        {"image": "c.jpg", "labels": {"5": 0.7, "16": 0.01, "7": 0}},
    )
    annotations = read_jsonl(path)
    assert annotations.vocabulary.names == ("16", "5", "7")
    assert annotations.labels.dense().tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 0]]
    assert annotations.notes == (
        "numbers became the names of labels; a file can name them",
        "labels with any value above 0 were read as present, as '16' with 0.01",
    )


def test_jsonl_strings_are_split_as_cells(tmp_path):
    path = write(
        tmp_path, {"image": "a.jpg", "labels": "cat|dog"}, {"image": "b.jpg", "labels": "a, b"}
    )
    assert read_jsonl(path).vocabulary.names == ("a, b", "cat", "dog")
    assert len(read_jsonl(path).notes) == 1
    assert read_jsonl(path, ReadOptions(separator=",")).vocabulary.names == ("a", "b", "cat|dog")
    path = write(tmp_path, {"image": "a.jpg", "labels": '["cat", "dog"]'})
    assert read_jsonl(path).vocabulary.names == ("cat", "dog")


def test_jsonl_vocabulary(tmp_path):
    path = write(tmp_path, {"image": "a.jpg", "labels": ["b"], "vocabulary": ["c", "b", "a"]})
    annotations = read_jsonl(path)
    assert annotations.vocabulary.names == ("c", "b", "a")
    assert annotations.labels.dense().tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"image": "b.jpg", "labels": ["do',
            "photos.jsonl:2: the JSON is cut short at column 31 (Unterminated string starting at)",
        ),
        (
            '{"image": "b.jpg", "labels": ["dog",',
            "photos.jsonl:2: the JSON is cut short at column 37 (Expecting value)",
        ),
        (
            '{"image": "b.jpg", "labels": [dog]}',
            "photos.jsonl:2: column 31 is not JSON (Expecting value)",
        ),
        (
            '["b.jpg"]',
            'photos.jsonl:2: expected an object such as {"image": "a.jpg", "labels": ["dog"]}',
        ),
        (
            '{"picture": "b.jpg", "labels": []}',
            "photos.jsonl:2: there is no key 'image' (keys: 'picture', 'labels')",
        ),
        ('{"image": "b.jpg"}', "photos.jsonl:2: there is no key 'labels' (keys: 'image')"),
        (
            '{"image": 7, "labels": []}',
            "photos.jsonl:2: the image's path is a number, not a string",
        ),
        ('{"image": "", "labels": []}', "photos.jsonl:2: the image's path is empty"),
        (
            '{"image": "b.jpg", "labels": 3.5}',
            "photos.jsonl:2: 'labels' is a number, not a list of label names",
        ),
        (
            '{"image": "b.jpg", "labels": ["dog", 3.5]}',
            "photos.jsonl:2: 'labels' holds 3.5, which is not a label name",
        ),
        (
            '{"image": "b.jpg", "labels": {"dog": "yes"}}',
            "photos.jsonl:2: the value of label 'dog' is a string, not a number",
        ),
        (
            '{"image": "b.jpg", "labels": {"dog": -0.5}}',
            "photos.jsonl:2: the value of label 'dog' is -0.5; expected 0 to 1, or -1",
        ),
        (
            '{"image": "b.jpg", "labels": [], "split": 1}',
            "photos.jsonl:2: 'split' is a number, not a string",
        ),
        (
            '{"image": "a.jpg", "labels": []}',
            "photos.jsonl:2: image 'a.jpg' is already on line 1; each image may have only one row",
        ),
    ],
)
def test_jsonl_errors_name_the_line(tmp_path, line, message):
    path = write(tmp_path, {"image": "a.jpg", "labels": ["dog"]}, line)
    assert error_of(path) == message


def test_jsonl_empty_file(tmp_path):
    assert error_of(write(tmp_path, "")) == "photos.jsonl: the file is empty"
    assert (
        error_of(write(tmp_path, "\n\n"))
        == "photos.jsonl: names no image; expected an entry for each"
    )


def test_imagefolder_one_metadata_file(tmp_path):
    path = write(
        tmp_path,
        "file_name,labels,split",
        "a.jpg,dog|cat,train",
        "sub/b.jpg,,test",
        name="metadata.csv",
    )
    assert is_imagefolder(tmp_path)
    annotations = read_imagefolder(tmp_path)
    assert annotations.images == ("a.jpg", "sub/b.jpg")
    assert annotations.splits == ("train", "test")
    assert annotations.place(1) == (path, 3)
    assert annotations.root == tmp_path
    assert annotations.format == "imagefolder"


def test_imagefolder_splits_from_folders(tmp_path):
    write(tmp_path, {"file_name": "a.jpg", "labels": ["dog"]}, name="train/metadata.jsonl")
    write(tmp_path, "file_name,labels", "a.jpg,dog;cat", name="test/metadata.csv")
    second = write(
        tmp_path,
        {"file_name": "a.jpg", "labels": []},
        {"file_name": "b.jpg", "labels": []},
        name="validation/metadata.jsonl",
    )
    annotations = read_imagefolder(tmp_path)
    assert annotations.images == (
        "train/a.jpg",
        "validation/a.jpg",
        "validation/b.jpg",
        "test/a.jpg",
    )
    assert annotations.splits == ("train", "val", "val", "test")
    assert annotations.place(2) == (second, 2)
    assert annotations.split("val").place(1) == (second, 2)
    assert annotations.labels.dense().tolist() == [[0, 1], [0, 0], [0, 0], [1, 1]]


def test_imagefolder_error_names_the_split_file(tmp_path):
    write(tmp_path, {"file_name": "a.jpg", "labels": ["dog"]}, name="train/metadata.jsonl")
    path = write(tmp_path, {"file_name": "a.jpg"}, name="val/metadata.jsonl")
    with pytest.raises(AnnotationError) as caught:
        read_imagefolder(tmp_path)
    assert str(caught.value).startswith(f"{path}:1: there is no key 'labels'")


def test_imagefolder_none(tmp_path):
    (tmp_path / "train").mkdir()
    assert not is_imagefolder(tmp_path)
    with pytest.raises(AnnotationError, match=r"holds no metadata\.jsonl or metadata\.csv"):
        read_imagefolder(tmp_path)
