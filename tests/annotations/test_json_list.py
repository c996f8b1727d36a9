import json

import pytest

from tests.annotations.told import error_of, labels_of
from twlcli.annotations.detect import read_labels


def write(tmp_path, content):
    path = tmp_path / "photos.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return path


def test_a_list_is_read_as_lines_are(tmp_path):
    objects = [
        {"image": "a.jpg", "labels": ["dog", "cat"], "split": "train"},
        {"image": "b.jpg", "labels": "dog|cow", "split": "val"},
        {"image": "c.jpg", "labels": {"dog": 0.9, "cat": None}, "unknown": ["cow"]},
    ]
    annotations = read_labels(write(tmp_path, objects))
    assert annotations.format == "json"
    assert labels_of(annotations) == {
        "a.jpg": ["cat", "dog"],
        "b.jpg": ["cow", "dog"],
        "c.jpg": ["dog"],
    }
    assert annotations.labels.dense()[2].tolist() == [-1, -1, 1]
    assert annotations.splits == ("train", "val", "")
    assert annotations.lines is None


@pytest.mark.parametrize(
    "content",
    [
        {"a.jpg": ["dog"], "b.jpg": "dog|cat", "c.jpg": []},
        {"a.jpg": {"labels": ["dog"]}, "b.jpg": {"dog": 1, "cat": 1}, "c.jpg": None},
        {
            "version": 3,
            "data": [
                {"image": "a.jpg", "labels": ["dog"]},
                {"image": "b.jpg", "labels": ["cat", "dog"]},
                {"image": "c.jpg", "labels": []},
            ],
        },
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_objects_of_images_are_read(tmp_path, content, indent):
    path = write(tmp_path, json.dumps(content, indent=indent))
    annotations = read_labels(path)
    assert annotations.format == "json"
    assert labels_of(annotations) == {"a.jpg": ["dog"], "b.jpg": ["cat", "dog"], "c.jpg": []}


def test_one_line_that_is_an_image_is_json_lines(tmp_path):
    path = write(tmp_path, '{"image": "a.jpg", "labels": ["dog"], "boxes": [{"x": 1}]}')
    annotations = read_labels(path)
    assert annotations.format == "jsonl"
    assert annotations.notes == ("keys that were not read: boxes",)


def test_marks_beside_the_image_are_refused(tmp_path):
    message = error_of(write(tmp_path, [{"image": "a.jpg", "dog": 1, "cat": 0}]))
    assert message.endswith(
        "no key 'labels' (keys: 'image', 'dog', 'cat'); 1 and 0 by label stand in an object, "
        '"labels": {"dog": 1}'
    )


def test_values_above_1_are_refused(tmp_path):
    message = error_of(write(tmp_path, [{"image": "a.jpg", "labels": {"dog": 93}}]))
    assert message.endswith("the value of label 'dog' is 93; expected 0 to 1, or -1")


def test_a_number_is_a_label(tmp_path):
    path = write(tmp_path, [{"image": f"{n}.jpg", "label": n % 3} for n in range(6)])
    assert read_labels(path).vocabulary.names == ("0", "1", "2")


def test_keys_can_be_named_and_images_are_looked_for(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").touch()
    path = write(tmp_path, [{"pic": "a", "what": [1], "who": "p"}])
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    annotations = read_labels(
        path, image_column="pic", labels_column="what", group_column="who", names=names
    )
    assert labels_of(annotations) == {"images/a.jpg": ["dog"]}
    assert annotations.groups == ("p",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "photos.json:1: column 2 is not JSON"),
        ("[]", "photos.json: names no image; expected an entry for each"),
        ("[1]", "photos.json: object 1: expected an object such as"),
        ([{"image": "a", "labels": []}, []], "photos.json: object 2: expected an object such as"),
        (
            [{"image": "a", "labels": 1.5}],
            "photos.json: object 1: 'labels' is a number, not a list",
        ),
        ([{"labels": []}], "photos.json: object 1: there is no key 'image' (keys: 'labels')"),
        (
            [{"image": "a", "labels": []}] * 2,
            "photos.json: image 'a' is already on another line; each image may have only one row",
        ),
    ],
)
def test_errors_name_the_object(tmp_path, content, message):
    assert error_of(write(tmp_path, content)).startswith(message)


@pytest.mark.parametrize(
    "form", ['[{"image": "a", "labels": [%s]}]', '{"image": "a", "labels": [%s]}']
)
def test_numbers_that_are_too_long_are_one_plain_line(tmp_path, form):
    message = error_of(write(tmp_path, form % ("9" * 5000)))
    assert message.endswith("cannot read its JSON: a number has too many digits")
