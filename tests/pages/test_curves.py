import math
from pathlib import Path
from xml.etree import ElementTree

from twlcli.pages.curves import write_curves

SVG = "{http://www.w3.org/2000/svg}"


def texts_of(path: Path) -> list[str]:
    return [each.text or "" for each in ElementTree.parse(path).getroot().iter(f"{SVG}text")]


def record(
    epoch: int, *, score: float | None = None, loss: float | None = 1.0
) -> dict[str, float | None]:
    scores = {} if score is None else {"map_class": score, "map_sample": score / 2}
    return {"epoch": epoch, "loss": 1.0, **scores, "images_per_second": 9.0}


def test_loss_and_scores_are_drawn_and_the_best_epoch_is_named(tmp_path):
    path = tmp_path / "curves.svg"
    write_curves(
        path, [record(1, score=0.5), record(2), record(3, score=0.7), record(4, score=0.6)]
    )
    texts = texts_of(path)
    assert {
        "training loss",
        "mAP@class: 70.00 in epoch 3",
        "mAP@sample: 35.00 in epoch 3",
    } <= set(texts)
    assert texts.count("epoch (large dot: best; small: last)") == 3
    lines = ElementTree.parse(path).getroot().findall(f"{SVG}polyline")
    accent = [each.attrib["points"].split() for each in lines if each.get("stroke") == "#1f6fb4"]
    assert [len(points) for points in accent] == [4, 3, 3]


def test_a_run_without_scores_shows_its_loss(tmp_path):
    path = tmp_path / "curves.svg"
    write_curves(path, [record(1), record(2)])
    assert [text for text in texts_of(path) if text[0].isalpha()] == ["training loss", "epoch"]


def test_one_epoch_is_drawn(tmp_path):
    path = tmp_path / "curves.svg"
    write_curves(path, [record(1, score=1.0)])
    assert "mAP@class: 100.00 in epoch 1" in texts_of(path)


def test_scores_that_are_no_numbers_are_left_out(tmp_path):
    path = tmp_path / "curves.svg"
    write_curves(path, [record(1, score=math.nan), record(2, score=0.5)])
    assert "mAP@class: 50.00 in epoch 2" in texts_of(path)
    write_curves(path, [record(1, score=math.nan)])
    assert [text for text in texts_of(path) if text.startswith("mAP")] == [
        "mAP@class",
        "mAP@sample",
    ]


def test_before_the_first_epoch_nothing_is_written(tmp_path):
    write_curves(tmp_path / "curves.svg", [])
    assert not list(tmp_path.iterdir())
