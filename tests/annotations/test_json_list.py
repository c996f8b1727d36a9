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
        ("[]", "photos.json: names no image"),
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
