import json
from dataclasses import replace

import numpy as np
import pytest

from tests.paired.drawn import paired_of
from twlcli.cli.paired_tables import (
    differences_table,
    images_table,
    labels_table,
    scores_table,
)
from twlcli.images.image_file import Failure
from twlcli.paired.report import (
    difference_rows,
    how_differences,
    how_tested,
    images_text,
    labels_text,
    notes_on,
    paired_to_dict,
    score_rows,
    verdict,
)
from twlcli.paired.result import Disagreement, ScoreDifference
from twlcli.scoring.report import percent, to_dict

NAMES = ("old.onnx", "new.onnx")


@pytest.fixture(scope="module")
def paired(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paired")
    images = [f"{number:03}.png" for number in range(300)]
    return paired_of(folder, 1.0, np.array([1, 1, 1, 1, 3, 3]), names=NAMES, images=images)[0]


def test_json_has_what_each_model_has_alone(paired):
    paired = replace(paired, unreadable=(Failure("gone.png", "not there"),))
    fields = paired_to_dict(paired)
    assert json.loads(json.dumps(fields, allow_nan=False)) == json.loads(json.dumps(fields))
    for name, model, evaluation in zip(NAMES, fields["models"], paired.evaluations, strict=True):
        assert (model.pop("name"), model.pop("model")) == (name, name)
        assert json.dumps(model) == json.dumps(to_dict(evaluation))
    [difference] = fields["differences"]
    assert (difference["model"], difference["to"]) == (NAMES[1], NAMES[0])
    by_class = difference["scores"]["map_class"]
    first, other = (each["map_class"]["value"] for each in fields["models"])
    assert by_class["value"] == pytest.approx(other - first)
    assert 0 < by_class["low"] < by_class["value"] < by_class["high"] < 1
    assert by_class["significant"] is True
    label = difference["labels"][4]
    assert label["label"] == "tree"
    assert label["difference"] == pytest.approx(label["value"] - label["first"])
    assert label["low"] < label["difference"] < label["high"]
    assert label["significant"] is True
    images = difference["images"]
    assert images["images"] == paired.differences[0].disagreement.images
    assert images["worst"][0]["labels"][0]["first"] <= 1
    assert fields["unreadable"] == [{"image": "gone.png", "reason": "not there"}]


def test_json_has_null_for_what_is_not_known(tmp_path):
    images = [f"{number}.png" for number in range(5)]
    paired = paired_of(tmp_path, 1.0, 2.0, images=images)[0]
    assert paired.resamples == 0
    fields = json.loads(json.dumps(paired_to_dict(paired), allow_nan=False))
    assert fields["differences"][0]["scores"]["map_class"]["p"] is None
    assert how_tested(paired) == []
    assert any("no intervals" in note for note in notes_on(paired))
    assert "was tested: there are too few images" in labels_text(paired.differences[0])
    assert [row.verdict for row in difference_rows(paired.differences[0])] == [""] * 10


def test_rows_are_in_percent(paired):
    rows = {row.name: row for row in score_rows(paired)}
    assert rows["mAP@class"].values == tuple(percent(e.map_class.value) for e in paired.evaluations)
    assert all(rows["CF1"].intervals) and not any(rows["CP"].intervals)
    assert rows["Brier"].low_is_good and not rows["OF1"].low_is_good


@pytest.mark.parametrize(
    ("key", "value", "significant", "expected"),
    [
        ("map_class", 0.1, True, "better"),
        ("map_class", -0.1, True, "worse"),
        ("brier", 0.1, True, "worse"),
        ("calibration_error", -0.1, True, "better"),
        ("overall_f1", 0.1, False, "may be chance"),
    ],
)
def test_better_is_up_but_for_errors(key, value, significant, expected):
    difference = ScoreDifference(value, value - 0.1, value + 0.1, 0.5, 0.5, significant)
    assert verdict(key, difference) == expected


def test_labels_are_counted(paired):
    difference = paired.differences[0]
    assert {each.label for each in difference.real} == {"tree", "sky"}
    assert labels_text(difference) == "2 of 6 labels differ in AP by more than chance"
    rare = replace(difference.labels[0], difference=ScoreDifference(0.1))
    fewer = replace(difference, labels=(rare, *difference.labels[1:5]))
    assert labels_text(fewer) == (
        "1 of 4 labels differs in AP by more than chance; 1 with fewer than 10 images is not tested"
    )
    assert labels_text(replace(difference, labels=())) == "no label was tested"


def test_disagreements_are_told():
    assert images_text(Disagreement(0, 0, 0, 0, ()), 1200, NAMES) == (
        "the two give all 1,200 images the same labels"
    )
    assert images_text(Disagreement(300, 1400, 900, 400, ()), 1200, NAMES) == (
        "the two disagree on 300 of 1,200 images (25 %), in 1,400 labels: new.onnx is right in "
        "900, old.onnx in 400; 100 are unknown"
    )


def test_how_it_was_tested_is_said(paired, tmp_path):
    assert "Holm" not in how_differences(paired)
    three = paired_of(tmp_path, 1.0, 2.0, 2.0)[0]
    assert "after Holm's correction for 2 models" in how_differences(three)


def lines_of(table, width=200):
    from rich.console import Console

    console = Console(width=width)
    with console.capture() as capture:
        console.print(table)
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_tables_for_a_terminal(paired):
    difference = paired.differences[0]
    scores = lines_of(scores_table(paired))
    assert scores[0] == "old.onnx new.onnx"
    assert scores[1] == " ".join(("mAP@class", *score_rows(paired)[0].values))
    assert scores[-1].endswith("0 is best")
    lines = lines_of(differences_table(difference))
    assert lines[0] == "difference 95 % interval p"
    assert lines[1].startswith("mAP@class +") and lines[1].endswith("better")
    labels = lines_of(labels_table(difference, NAMES, order="name", whole=False))
    assert [line.split()[0] for line in labels] == ["label", "sky", "tree"]
    everything = lines_of(labels_table(difference, NAMES, order="ap", whole=True))
    assert len(everything) == 7
    assert sum(line.endswith("more than chance") for line in everything) == 2
    images = lines_of(images_table(difference, NAMES))
    assert images[0] == "image old.onnx alone new.onnx alone"
    assert len(images) == 6


def test_many_labels_are_shown_at_their_ends(tmp_path):
    labels = [f"label{column:02}" for column in range(60)]
    images = [f"{number:03}.png" for number in range(400)]
    difference = paired_of(tmp_path, 0.5, 3.0, labels=labels, images=images)[0].differences[0]
    assert len(difference.real) == 60
    lines = lines_of(labels_table(difference, NAMES, order="ap", whole=False))
    assert lines[21] == "… 20 more; --all shows them"
    assert len(lines) == 42
    values = [each.difference.value for each in difference.real]
    assert values == sorted(values, key=abs, reverse=True)
