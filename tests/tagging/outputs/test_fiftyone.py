"""Data sets for FiftyOne; their form was tried with FiftyOne 1.22.1 and its database."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.tagging.outputs.written import ANY, give, opened, opened_stream
from twlcli.errors import ImageError
from twlcli.images.image_file import Failure
from twlcli.labels import Vocabulary
from twlcli.outputs import FiftyOne
from twlcli.tagging.outputs.output import RunFacts
from twlcli.tagging.tags import Tags

LABELS = ("dog", 'a"b', "日本")


def dataset_of(path: Path, *rows: Tags | Failure) -> Any:
    with opened(FiftyOne(path), Vocabulary(LABELS)) as write:
        for row in rows:
            write(row)
    return json.loads(path.read_text("utf-8"))


def test_the_form_that_from_json_reads(tmp_path):
    rows: list[Tags | Failure] = [
        Tags("a/1.jpg", ('a"b', "日本"), (0.93456, 0.5)),
        Failure("2.jpg", "x"),
        Tags("3", (), ()),
    ]
    dataset = dataset_of(tmp_path / "out.json", *rows)
    assert {key: dataset[key] for key in ("name", "media_type", "classes", "sample_fields")} == {
        "name": "twl",
        "media_type": "image",
        "classes": {"predictions": list(LABELS)},
        "sample_fields": {
            "filepath": "fiftyone.core.fields.StringField",
            "predictions": "fiftyone.core.fields.EmbeddedDocumentField("
            "fiftyone.core.labels.Classifications)",
        },
    }
    first, second = dataset["samples"]
    assert first["filepath"] == "a/1.jpg"
    assert first["predictions"] == {
        "_cls": "Classifications",
        "classifications": [
            {"_cls": "Classification", "label": 'a"b', "confidence": 0.9346},
            {"_cls": "Classification", "label": "日本", "confidence": 0.5},
        ],
    }
    assert second["predictions"] == {"_cls": "Classifications", "classifications": []}


def test_no_images_and_a_stream(tmp_path):
    assert dataset_of(tmp_path / "out.json")["samples"] == []
    stream = io.BytesIO()
    with opened_stream(stream, "fiftyone") as write:
        write(Tags("1.jpg", ("dog",), (0.5,)))
    assert len(json.loads(stream.getvalue())["samples"]) == 1


def test_a_name_that_is_no_text_is_that_image_s_failure(tmp_path):
    path = tmp_path / "out.json"
    with FiftyOne(path).open(RunFacts(ANY, lambda: "digest")) as sink:
        with pytest.raises(ImageError, match="its name is not UTF-8"):
            give(sink, Tags(os.fsdecode(b"caf\xe9.jpg"), ("dog",), (0.5,)))
        give(sink, Tags("café.jpg", ("dog",), (0.5,)))
    (sample,) = json.loads(path.read_text("utf-8"))["samples"]
    assert sample["filepath"] == "café.jpg"
