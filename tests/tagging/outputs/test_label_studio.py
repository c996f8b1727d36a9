"""Tasks for Label Studio; their form was tried with Label Studio 1.23.2."""

import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest

from tests.annotations.told import labels_of
from tests.tagging.outputs.written import opened, opened_stream
from twlcli.annotations.detect import read_labels
from twlcli.errors import TwlError
from twlcli.images.image_file import Failure
from twlcli.labels import Vocabulary
from twlcli.outputs import LabelStudio, LabelStudioConfig
from twlcli.tagging.outputs.label_studio import interface
from twlcli.tagging.tags import Tags

LABELS = ("dog", 'a"b', "it's", "<img src=x>", "&amp;", "日本", "$image", "line\nbreak", "a|b")
NAMES = ("1998/0.jpg", "100%25 #1?&d=x.jpg", "a\"b<i>&amp;'+.jpg", "日本/é.jpg", "line\nbreak.jpg")
ROWS = (
    Tags(NAMES[0], ("dog", "日本"), (0.93, 0.71)),
    Tags(NAMES[1], (), ()),
    Tags(NAMES[2], LABELS, tuple(0.9 - place / 100 for place in range(len(LABELS)))),
    Tags(NAMES[3], ("dog",), (0.5,)),
    Tags(NAMES[4], ("dog", "a|b"), (0.8, 0.123456)),
)
LOCAL = "/data/local-files/?d="


def tasks_of(path: Path, rows: Iterable[Tags | Failure] = ROWS, **options: Any) -> list[Any]:
    with opened(LabelStudio(path, **options), Vocabulary(LABELS)) as write:
        for row in rows:
            write(row)
    return list(json.loads(path.read_text("utf-8")))


def test_the_documented_form(tmp_path):
    rows: list[Tags | Failure] = [
        Tags("1.jpg", ("dog", "person"), (0.93, 0.71)),
        Failure("2.jpg", "broken"),
    ]
    tasks = tasks_of(tmp_path / "out.json", rows, image_prefix="/data/local-files/?d=photos/")
    result = {
        "from_name": "tags",
        "to_name": "image",
        "type": "choices",
        "value": {"choices": ["dog", "person"]},
    }
    prediction = {"model_version": "twl digest", "score": 0.71, "result": [result]}
    task = {"data": {"image": "/data/local-files/?d=photos/1.jpg"}, "predictions": [prediction]}
    assert tasks == [task]


def test_each_task_has_a_line_and_none_is_a_list_too(tmp_path):
    tasks_of(tmp_path / "out.json")
    lines = (tmp_path / "out.json").read_text("utf-8").splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("[", "]", len(ROWS) + 2)
    assert tasks_of(tmp_path / "none.json", []) == []


def test_the_score_is_that_of_the_tag_in_most_doubt(tmp_path):
    scores = [task["predictions"][0]["score"] for task in tasks_of(tmp_path / "out.json")]
    assert scores == [0.71, 0.0, 0.82, 0.5, 0.1235]
    assert tasks_of(tmp_path / "out.json")[1]["predictions"][0]["result"] == []


def test_addresses_name_the_files(tmp_path):
    for task, row in zip(tasks_of(tmp_path / "out.json"), ROWS, strict=True):
        address = urlsplit(task["data"]["image"])
        assert (address.path, parse_qs(address.query)) == ("/data/local-files/", {"d": [row.image]})
    for prefix, before in [
        ("https://example.org/photos", "https://example.org/photos/"),
        ("s3://bucket/", "s3://bucket/"),
        ("", ""),
    ]:
        task = tasks_of(tmp_path / "out.json", image_prefix=prefix)[1]
        assert task["data"]["image"] == before + "100%2525%20%231%3F%26d%3Dx.jpg"
    odd = Tags(os.fsdecode(b"caf\xe9.jpg"), (), ())
    assert tasks_of(tmp_path / "out.json", [odd])[0]["data"]["image"] == f"{LOCAL}caf%E9.jpg"


def test_a_stream_takes_tasks_as_they_come():
    stream = io.BytesIO()
    with opened_stream(stream, "label-studio") as write:
        write(ROWS[0])
        assert b"1998/0.jpg" in stream.getvalue()
    assert len(json.loads(stream.getvalue())) == 1


def test_a_run_that_stops_leaves_no_file(tmp_path):
    path = tmp_path / "out.json"
    with pytest.raises(KeyboardInterrupt), opened(LabelStudio(path)) as write:
        write(ROWS[0])
        raise KeyboardInterrupt
    assert [each.name for each in tmp_path.iterdir()] == ["out.json.partial"]


def test_the_interface_offers_every_label_as_it_is(tmp_path):
    with opened(LabelStudioConfig(tmp_path / "out.xml"), Vocabulary(LABELS)) as write:
        write(ROWS[0])
    view = ElementTree.parse(tmp_path / "out.xml").getroot()
    image, choices = view
    assert image.attrib == {"name": "image", "value": "$image"}
    assert {
        "name": "tags",
        "toName": "image",
        "choice": "multiple",
    }.items() <= choices.attrib.items()
    assert tuple(choice.attrib["value"] for choice in choices) == LABELS


@pytest.mark.parametrize("label", ["a\x01b", "\x1b[31m", "\ufffe"])
def test_what_xml_cannot_hold_is_refused_before_anything_is_written(tmp_path, label):
    with pytest.raises(TwlError, match="has a character that XML"):
        interface((label,))
    with (
        pytest.raises(TwlError, match="an alias"),
        opened(LabelStudioConfig(tmp_path / "out.xml"), Vocabulary((label,))),
    ):
        raise AssertionError
    assert not list(tmp_path.iterdir())


# --- the whole way round -------------------------------------------------------------------------


def exported(tasks: Sequence[Any]) -> list[Any]:
    """What "JSON" exports when each prediction was made an annotation, as it is."""
    return [
        {
            "id": number,
            "annotations": [
                {
                    "id": number,
                    "completed_by": 1,
                    "result": task["predictions"][0]["result"],
                    "was_cancelled": False,
                    "ground_truth": False,
                    "lead_time": None,
                    "prediction": {},
                    "task": number,
                    "parent_prediction": number,
                }
            ],
            "file_upload": "08fd5958-predictions.json",
            "drafts": [],
            "predictions": [number],
            "data": task["data"],
            "meta": {},
            "inner_id": number,
        }
        for number, task in enumerate(tasks, start=1)
    ]


def exported_min(tasks: Sequence[Any]) -> list[Any]:
    """What "JSON-MIN" exports then: one choice is a text, and without any there is no key."""
    rows = []
    for number, task in enumerate(tasks, start=1):
        row = {**task["data"], "id": number}
        for result in task["predictions"][0]["result"]:
            choices = result["value"]["choices"]
            row[result["from_name"]] = {"choices": choices} if len(choices) > 1 else choices[0]
        rows.append({**row, "annotator": 1, "annotation_id": number, "lead_time": None})
    return rows


@pytest.mark.skipif(os.name != "posix", reason="names that Windows does not allow")
@pytest.mark.parametrize("export", [exported, exported_min])
@pytest.mark.parametrize("prefix", [LOCAL, f"{LOCAL}photos/", "https://example.org/archive/photos"])
def test_what_label_studio_exports_has_the_labels_and_names_of_the_tags(tmp_path, export, prefix):
    photos = tmp_path / "photos"
    for name in NAMES:
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).touch()
    tasks = tasks_of(tmp_path / "predictions.json", image_prefix=prefix)
    (tmp_path / "export.json").write_text(json.dumps(export(tasks)))
    annotations = read_labels(tmp_path / "export.json", images=photos)
    assert annotations.format == "label-studio"
    assert {image: set(labels) for image, labels in labels_of(annotations).items()} == {
        row.image: set(row.labels) for row in ROWS
    }
