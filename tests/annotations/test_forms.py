"""The same labels in the forms of many tools and data sets, read back as they were."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from twlcli.annotations.detect import read_labels

NAMES = ("cat", "dog", "eel", "frog_eye", "gnu")
Rows = list[tuple[str, list[str]]]


def drawn(seed: int) -> np.ndarray:
    """Targets (40, 5) in which labels come alone and in many combinations."""
    generator = np.random.default_rng(seed)
    targets = (generator.random((40, len(NAMES))) < 0.35).astype(np.int8)
    targets[: len(NAMES)] = np.eye(len(NAMES))
    return targets


def rows_of(targets: np.ndarray) -> Rows:
    return [
        (f"{number:03d}.jpg", [NAMES[column] for column in np.flatnonzero(row)])
        for number, row in enumerate(targets)
    ]


def table(header: list[str], rows: Iterator[list[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file).writerows([header, *rows])
    return file.getvalue()


def lists(cell: Callable[[list[str]], str], header: str = "image,labels") -> Callable[[Rows], str]:
    return lambda rows: table(header.split(","), ([image, cell(labels)] for image, labels in rows))


def marks(present: str, absent: str, image: str = "image") -> Callable[[Rows], str]:
    return lambda rows: table(
        [image, *NAMES],
        ([name, *(present if each in has else absent for each in NAMES)] for name, has in rows),
    )


def celeba(rows: Rows) -> str:
    lines = [f"{len(rows)}", f"{' '.join(NAMES)} "]
    for image, labels in rows:
        lines.append(f"{image} {' '.join(' 1' if name in labels else '-1' for name in NAMES)}")
    return "\n".join(lines) + "\n"


def open_images(rows: Rows) -> str:
    """A verdict on each label of each image."""
    return table(
        ["ImageID", "Source", "LabelName", "Confidence"],
        (
            [image.removesuffix(".jpg"), "verification", name, int(name in labels)]
            for image, labels in rows
            for name in NAMES
        ),
    )


def fastai(rows: Rows) -> str:
    return table(
        ["fname", "labels", "is_valid"],
        ([image, " ".join(labels), image < "010"] for image, labels in rows),
    )


def chexpert(rows: Rows) -> str:
    return table(
        ["Path", "Sex", "Age", *NAMES],
        (
            [image, "Female", 68, *("1.0" if name in labels else "0.0" for name in NAMES)]
            for image, labels in rows
        ),
    )


def nih(rows: Rows) -> str:
    return table(
        ["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age"],
        ([image, "|".join(labels), 0, 1, 58] for image, labels in rows),
    )


def hpa(rows: Rows) -> str:
    return table(
        ["Id", "Target"],
        ([image, " ".join(str(NAMES.index(name)) for name in labels)] for image, labels in rows),
    )


def vott(rows: Rows) -> str:
    return table(
        ["image", "xmin", "ymin", "xmax", "ymax", "label"],
        ([image, 1, 2, 3, 4, name] for image, labels in rows for name in labels or [""]),
    )


def label_studio(cell: Callable[[list[str]], Any]) -> Callable[[Rows], str]:
    return lambda rows: json.dumps(
        [
            {"id": number, "image": image, "choice": cell(labels)}
            for number, (image, labels) in enumerate(rows)
        ]
    )


def json_lines(value: Callable[[list[str]], Any]) -> Callable[[Rows], str]:
    return lambda rows: "".join(
        json.dumps({"image": image, "labels": value(labels)}) + "\n" for image, labels in rows
    )


def coco(rows: Rows) -> str:
    return json.dumps(
        {
            "images": [{"id": n, "file_name": image} for n, (image, _) in enumerate(rows)],
            "categories": [{"id": n, "name": name} for n, name in enumerate(NAMES)],
            "annotations": [
                {"id": 0, "image_id": n, "category_id": NAMES.index(name), "bbox": [0, 0, 1, 1]}
                for n, (_, labels) in enumerate(rows)
                for name in labels
            ],
        }
    )


FORMS: dict[str, tuple[str, Callable[[Rows], str], dict[str, Any]]] = {
    "separated by |": ("csv", lists("|".join), {}),
    "separated by ;": ("csv", lists(";".join), {}),
    "separated by , and blanks": ("csv", lists(", ".join), {}),
    "separated by blanks": ("csv", lists(" ".join, "image_name,tags"), {}),
    "JSON cells": ("csv", lists(json.dumps), {}),
    "Python lists": ("csv", lists(str), {}),
    "Python sets": ("csv", lists(lambda labels: str(set(labels)) if labels else ""), {}),
    "Python tuples": ("csv", lists(lambda labels: str(tuple(labels))), {}),
    "NumPy arrays": ("csv", lists(lambda labels: str(np.array(labels))), {}),
    "pandas' nan": ("csv", lists(lambda labels: "|".join(labels) or "nan"), {}),
    "Label Studio's CSV": (
        "csv",
        lists(
            lambda labels: json.dumps({"choices": labels}) if len(labels) > 1 else "".join(labels)
        ),
        {},
    ),
    "1 and 0": ("csv", marks("1", "0"), {}),
    "1.0 and 0.0": ("csv", marks("1.0", "0.0"), {}),
    "True and False": ("csv", marks("True", "False"), {}),
    "1 and blank": ("csv", marks("1", ""), {}),
    "1 and -1": ("csv", marks("1", "-1", "image_id"), {}),
    "tabs": ("tsv", lambda rows: marks("1", "0")(rows).replace(",", "\t"), {}),
    "CelebA's list": ("txt", celeba, {}),
    "Open Images": ("csv", open_images, {}),
    "fastai's table": ("csv", fastai, {}),
    "CheXpert": ("csv", chexpert, {}),
    "NIH ChestX-ray14": ("csv", nih, {}),
    "HPA": ("csv", hpa, {"names": "names.txt"}),
    "VoTT": ("csv", vott, {"join_rows": True}),
    "Label Studio's JSON-MIN": ("json", label_studio(lambda labels: {"choices": labels}), {}),
    "JSON Lines": ("jsonl", json_lines(lambda labels: labels), {}),
    "JSON Lines of values": (
        "jsonl",
        json_lines(lambda labels: {name: int(name in labels) for name in NAMES}),
        {},
    ),
    "JSON Lines of texts": ("jsonl", json_lines(", ".join), {}),
    "COCO": ("json", coco, {}),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_back(tmp_path, form, seed):
    suffix, write, options = FORMS[form]
    targets = drawn(seed)
    path = tmp_path / f"labels.{suffix}"
    path.write_text(write(rows_of(targets)))
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    for image, _ in rows_of(targets):
        (tmp_path / image).write_bytes(b"")
    if "names" in options:
        options = {**options, "names": tmp_path / options["names"]}
    annotations = read_labels(path, **options)
    assert [image.removesuffix(".jpg") for image in annotations.images] == [
        image.removesuffix(".jpg") for image, _ in rows_of(targets)
    ]
    assert annotations.vocabulary.names == NAMES
    np.testing.assert_array_equal(annotations.labels.dense(), targets)
