from pathlib import Path

from twlcli.annotations.detect import read_labels
from twlcli.training.label_notes import label_notes


def notes_on(folder: Path, rows: str) -> list[str]:
    table = folder / "labels.csv"
    table.write_text(f"image,split,a,b,c\n{rows}")
    annotations = read_labels(table)
    return list(label_notes(annotations.split("train"), annotations.split("val")))


def many(split: str, first: int, cells: str, count: int = 10) -> str:
    return "".join(f"{first + n}.png,{split},{cells}\n" for n in range(count))


def test_nothing_is_said_of_labels_with_enough_of_both(tmp_path):
    rows = many("train", 0, "1,0,1") + many("train", 10, "0,1,0") + many("val", 20, "1,0,1", 1)
    assert notes_on(tmp_path, rows + many("val", 30, "0,1,0", 1)) == []


def test_labels_that_cannot_be_learned_or_measured_are_named(tmp_path):
    rows = many("train", 0, "1,1,0") + many("train", 10, "0,1,0") + many("train", 20, "0,-1,1", 2)
    assert notes_on(tmp_path, rows + many("val", 30, "1,-1,0", 1)) == [
        "1 label has fewer than 10 training images: c 2",
        "1 label is on all training images, as far as is known, so that images without it cannot "
        "be told apart: b",
        "2 labels are on no validation image, so that mAP@class leaves them out: b, c",
        "1 label is on all validation images, as far as is known, so that mAP@class leaves it out: "
        "a",
    ]
