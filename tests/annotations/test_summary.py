import json

import pytest

from twlcli.annotations.detect import read_labels
from twlcli.annotations.summary import case_twins, in_one_line, summarize
from twlcli.annotations.table import read_table
from twlcli.labels import Vocabulary


def test_summary_counts(tmp_path):
    path = tmp_path / "photos.csv"
    path.write_text(
        "image,labels,split,unknown\n"
        "a.jpg,dog|cat|Dog,train,\n"
        "b.jpg,dog,val,cat\n"
        "c.jpg,,train,cat|dog\n"
        "d.jpg,cat,,\n"
    )
    (tmp_path / "b.jpg").touch()
    summary = summarize(read_table(path))
    assert summary.images == 4
    assert summary.splits == {"train": 2, "val": 1, "": 1}
    assert [(each.name, each.present, each.unknown, each.splits) for each in summary.labels] == [
        ("cat", 2, 2, {"train": 1, "val": 0}),
        ("dog", 2, 1, {"train": 1, "val": 1}),
        ("Dog", 1, 0, {"train": 1, "val": 0}),
    ]
    assert summary.labels_per_image_mean == 5 / 4
    assert summary.labels_per_image_max == 3
    assert summary.unlabelled == 1
    assert summary.unknown == 3
    assert summary.missing == 3
    assert summary.missing_first == tuple(str(tmp_path / f"{name}.jpg") for name in "acd")
    assert summary.notes == (
        "images that are not used because they name no split: 1",
        "these labels differ only in upper and lower case: Dog, dog",
    )
    record = json.loads(json.dumps(summary.to_dict()))
    assert record["labels"]["cat"] == {
        "present": 2,
        "unknown": 2,
        "splits": {"train": 1, "val": 0},
    }
    assert record["missing_images"]["count"] == 3


def test_summary_names_few_missing(tmp_path):
    path = tmp_path / "photos.csv"
    path.write_text("image,labels\n" + "".join(f"{i}.jpg,\n" for i in range(9)))
    summary = summarize(read_table(path))
    assert summary.missing == 9
    assert len(summary.missing_first) == 5
    assert summary.splits == {"": 9}


def test_summary_orders_splits(tmp_path):
    path = tmp_path / "photos.csv"
    splits = ["fold", "test", "validation", "", "train", "extra"]
    rows = "".join(f"{i}.jpg,dog,{split}\n" for i, split in enumerate(splits))
    path.write_text("image,labels,split\n" + rows)
    summary = summarize(read_table(path))
    assert list(summary.splits) == ["train", "val", "test", "fold", "extra", ""]
    assert list(summary.labels[0].splits) == ["train", "val", "test", "fold", "extra"]


def test_case_twins():
    names = ("Dog", "cat", "dog", "DOG", "Cat", "cow")
    assert case_twins(Vocabulary(names)) == [("Dog", "dog", "DOG"), ("cat", "Cat")]


def test_what_was_read_is_one_line(tmp_path):
    table = tmp_path / "a.csv"
    table.write_text("image,labels,unknown\na.jpg,cat|dog,\nb.jpg,cat,dog\nc.jpg,,\nd.jpg,cat,\n")
    annotations = read_table(table)
    told = f"{table} (csv): 2 labels, 1.00 per image, 1 image without labels, 1 entry unknown"
    assert in_one_line(annotations) == told
    assert in_one_line(annotations.select([0, 2]), annotations.select([1, 3])) == told


def test_a_picture_in_two_class_folders_is_noted(tmp_path):
    for name, content in (("dog/a", b"1"), ("cat/b", b"1"), ("cat/c", b"2"), ("dog/d", b"33")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.jpg").write_bytes(content)
    note = "a picture is in two class folders: cat/b.jpg and dog/a.jpg"
    assert summarize(read_labels(tmp_path)).notes == (note,)
    (tmp_path / "dog/c.jpg").write_bytes(b"2")
    assert summarize(read_labels(tmp_path)).notes == (f"{note} (1 more such pairs)",)


@pytest.mark.parametrize("name", ["wild\u00a0cat", "do\u200bg"])
def test_characters_that_are_not_seen_are_noted(tmp_path, name):
    path = tmp_path / "photos.csv"
    path.write_text(f"image,labels\na.jpg,{name}\n", encoding="utf-8")
    note = f"labels with characters that are not seen or not blanks: {name!a}"
    assert summarize(read_labels(path)).notes[-1] == note


def test_among_many_images_only_those_of_one_name_are_compared(tmp_path, monkeypatch):
    monkeypatch.setattr("twlcli.annotations.class_copies._MANY", 3)
    for name in ("dog/a", "cat/a", "cat/b", "dog/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.jpg").write_bytes(b"1")
    note = "a picture is in two class folders: cat/a.jpg and dog/a.jpg"
    assert summarize(read_labels(tmp_path)).notes == (note,)
