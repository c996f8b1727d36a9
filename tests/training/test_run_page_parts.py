from datetime import UTC, datetime

import numpy as np
import pytest

from twlcli.labels import Vocabulary
from twlcli.training import run_page_parts
from twlcli.training.label_progress import LabelProgress
from twlcli.training.run_page_parts import Column, epoch_tiles, progress_columns, table_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def record(epoch, score, **more):
    scores = {} if score is None else {"map_class": score, "map_sample": 0.5}
    return {"epoch": epoch, "loss": 2.0, "images_per_second": 99.6, **scores, **more}


def told(history, epochs=4, per_epoch=90.0):
    tiles = epoch_tiles(history, epochs, per_epoch, NOON)
    return {tile.name: (tile.value, tile.below) for tile in tiles}


def test_before_the_first_epoch_little_is_known():
    assert told([], per_epoch=float("nan")) == {"epochs done": ("0 of 4", "")}


def test_an_epoch_is_beside_the_best():
    tiles = told([record(1, 0.25), record(2, 0.125)])
    assert tiles == {
        "epochs done": ("2 of 4", ""),
        "mAP@class": ("12.50", "epoch 2; best 25.00, epoch 1"),
        "mAP@sample": ("50.00", "epoch 2; best 50.00, epoch 1"),
        "training loss": ("2", ""),
        "time per epoch": ("1 min 30 s", "100 images/s in training"),
        "expected end": ("12:03", "in about 3 min"),
    }
    assert told([record(1, 0.25)])["mAP@class"] == ("25.00", "epoch 1; the best so far")


def test_an_epoch_that_was_resumed_behind_its_last_step_has_no_rate():
    whole = record(1, 0.25)
    del whole["images_per_second"]
    assert told([whole])["time per epoch"] == ("1 min 30 s", "")


def test_of_an_epoch_without_validation_the_one_before_is_shown():
    tiles = told([record(1, 0.25), record(2, None, loss=None)])
    assert tiles["mAP@class"] == ("25.00", "epoch 1; the best so far")
    assert "training loss" not in tiles


def test_where_nothing_can_be_ranked_there_is_a_dash():
    assert told([record(1, float("nan"))])["mAP@class"][0] == "–"


def test_an_end_on_another_day_has_its_date():
    assert told([record(1, 0.5)], per_epoch=30_000)["expected end"] == (
        "02 Mar 13:00",
        "in about 1 d 1 h",
    )
    assert "expected end" not in told([record(1, 0.5)], epochs=1)


def test_columns_are_of_the_epochs_that_were_scored():
    progress = LabelProgress()
    assert progress_columns(progress) == []
    progress = progress.after(1, np.array([0.5, 0.25]), best=True)
    assert [each.heading for each in progress_columns(progress)] == [
        "AP, epoch 1",
        "AP, best epoch 1",
    ]
    progress = progress.after(3, np.array([0.25, float("nan")]), best=False)
    columns = progress_columns(progress)
    assert [each.heading for each in columns] == [
        "AP, epoch 3",
        "since epoch 1",
        "AP, best epoch 1",
    ]
    table = table_of(Vocabulary(("a", "b")), columns, np.array([1, 2]))
    assert table["labels"] == [["b", None, None, 25.0], ["a", 25.0, -25.0, 50.0]]


def test_a_table_has_the_labels_that_most_images_have(monkeypatch):
    monkeypatch.setattr(run_page_parts, "MOST_LABELS", 3)
    names = ("few", "many", "none", "x" * 300)
    support = np.array([1, 9, 0, 5])
    table = table_of(Vocabulary(names), [Column("images", "images", support)], support)
    assert [row[1] for row in table["labels"]] == [9, 5, 1]
    assert table["whole"] == {1: "x" * 300}
    assert len(table["labels"][1][0]) == 160


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [("percent", None, "–"), ("change", 0.0, "+0.00"), ("change", 2.5, "+2.50")],
)
def test_values_are_written_as_the_script_writes_them(kind, value, text):
    assert run_page_parts.value_text(kind, value) == text
