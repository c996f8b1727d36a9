import json
import math

import numpy as np
import pytest
from rich.table import Table

from twlcli.cli.console import Console
from twlcli.cli.tables import decision_table, label_table, summary_table
from twlcli.inference.scored import ScoredImages
from twlcli.labels import Vocabulary
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import Calibration, ModelSpec, Thresholds
from twlcli.scoring.evaluation import Evaluation, score
from twlcli.scoring.report import percent, to_dict


def evaluation_of(names: tuple[str, ...]) -> Evaluation:
    """Two images with the first label, none with the last; the others rank worse and worse."""
    count = len(names)
    spec = ModelSpec(
        Vocabulary(names),
        "drawn",
        Preprocessing(),
        Calibration((1.0,) * count, (0.0,) * count),
        Thresholds((0.5,) * (count - 1) + (1.01,)),
    )
    logits = np.arange(count + 1, dtype=np.float32)[:, None].repeat(count, axis=1)
    targets = np.zeros((count + 1, count), dtype=np.int8)
    for column in range(count - 1):
        targets[count - column, column] = 1
    targets[count - 1, 0] = 1
    images = tuple(map(str, range(count + 1)))
    return score(ScoredImages(images, logits, targets), spec)


def text_of(table: Table, width: int = 100) -> str:
    console = Console()
    console.width = width
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def first_cells(table: Table) -> list[str]:
    return [line.split()[0] for line in text_of(table).splitlines()[1:]]


def test_percent_has_two_decimals():
    assert [percent(value) for value in (0.0, 1.0, 0.804449, math.nan)] == [
        "0.00",
        "100.00",
        "80.44",
        "–",
    ]


def test_summary_table_says_what_was_left_out():
    text = text_of(summary_table(evaluation_of(("cat", "dog", "eel"))))
    # cat: 1; dog: 1/2; eel, and two of the images, have no positive.
    left_out = "over 2 labels; 1 without a positive or a negative left out"
    assert f"mAP@class          75.00  {left_out}" in text
    assert "over 2 images; 2 without a positive left out" in text


def test_decision_table_has_both_kinds_of_decision():
    lines = text_of(decision_table(evaluation_of(("cat", "dog", "eel")))).splitlines()
    assert lines[0].split() == ["decided", "by", "CP", "CR", "CF1", "OP", "OR", "OF1"]
    assert lines[1].startswith("threshold best-f1")
    assert lines[2].split()[:2] == ["top", "3"]
    assert lines[2].split()[3] == "100.00"  # every label of three is among the top three


def test_label_table_puts_the_best_first_and_those_without_ap_last():
    table = label_table(evaluation_of(("b", "a", "c")))
    assert first_cells(table) == ["b", "a", "c"]
    assert text_of(table).splitlines()[3].split() == [
        "c",
        "–",
        "0.00",
        "0.00",
        "0.00",
        "0",
        "never",
    ]


def test_label_table_by_name():
    assert first_cells(label_table(evaluation_of(("b", "a", "c")), order="name")) == ["a", "b", "c"]


def test_label_table_shows_both_ends_of_a_long_vocabulary():
    evaluation = evaluation_of(tuple(f"label{number:02}" for number in range(50)))
    shown = first_cells(label_table(evaluation))
    assert len(shown) == 41
    assert (shown[0], shown[19], shown[20], shown[21], shown[-1]) == (
        "label00",
        "label19",
        "…",
        "label30",
        "label49",
    )
    assert "… 10 more; --all shows them" in text_of(label_table(evaluation))
    assert len(first_cells(label_table(evaluation, whole=True))) == 50


@pytest.mark.parametrize("count", [39, 40])
def test_label_table_shows_a_vocabulary_that_fits(count):
    evaluation = evaluation_of(tuple(f"label{number:02}" for number in range(count)))
    assert len(first_cells(label_table(evaluation))) == count


def test_label_table_prints_square_brackets_and_long_names_whole():
    name = "[red] " + "w" * 60
    text = text_of(label_table(evaluation_of((name, "b"))), width=60)
    assert "[red]" in text
    assert text.count("w") == 60


def test_label_table_has_unknowns_only_where_there_are_any():
    assert "unknown" not in text_of(label_table(evaluation_of(("a", "b"))))


def test_to_dict_is_strict_json_with_fractions():
    fields = json.loads(json.dumps(to_dict(evaluation_of(("cat", "dog", "eel"))), allow_nan=False))
    assert fields["images"] == 4
    assert fields["map_class"] == {"value": 0.75, "lines": 2, "left_out": 1}
    assert fields["at_top_3"]["class_recall"] == 1
    assert fields["labels"][2]["label"] == "eel"
    assert fields["labels"][2]["average_precision"] is None
    assert set(fields) == {
        "data",
        "split",
        "images",
        "unreadable",
        "profiles_ignored",
        "damaged",
        "threshold",
        "map_class",
        "map_sample",
        "at_threshold",
        "at_top_3",
        "brier",
        "calibration_error",
        "labels",
        "trained_on",
        "top_accuracy",
        "fitted_on",
        "cross_fitted",
        "intervals",
        "notes",
    }
