import json
import shutil

import numpy as np
import pytest

from tests.checking.drawn import drawn, saved
from twlcli.checking.check import check_labels
from twlcli.errors import AnnotationError, TwlError

LABELS = """image,labels,split
a.png,dog|animal,train
b.png,cat|animal,train
c.png,Dog,train
d.png,,train
e.png,cat|animal,val
copy-of-a.png,dog|animal,val
copy-of-b.png,dog|animal,train
like-c.jpg,Dog,val
gone.png,cat|animal,train
broken.png,cat|animal,val
"""


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate("abcde"):
        saved(tmp_path / f"{name}.png", seed)
    shutil.copy(tmp_path / "a.png", tmp_path / "copy-of-a.png")
    shutil.copy(tmp_path / "b.png", tmp_path / "copy-of-b.png")
    drawn(2).save(tmp_path / "like-c.jpg", quality=60)
    (tmp_path / "broken.png").write_text("no image")
    (tmp_path / "labels.csv").write_text(LABELS)
    return tmp_path


def kinds_of(checked):
    return {finding.kind: finding for finding in checked.findings}


def test_check_finds_each_kind_once(folder):
    pytest.importorskip("imagehash")
    checked = check_labels(folder)
    found = {(each.kind, each.severity, each.count) for each in checked.findings}
    assert found == {
        ("missing-images", "error", 1),
        ("unreadable-images", "error", 1),
        ("duplicates-across-splits", "error", 1),
        ("duplicates-with-other-labels", "error", 1),
        ("duplicates", "warning", 1),
        ("near-duplicates-across-splits", "warning", 1),
        ("labels-alike", "warning", 1),
        ("few-positives", "warning", 4),
        ("images-without-labels", "note", 1),
    }
    severities = [each.severity for each in checked.findings]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    by_kind = kinds_of(checked)
    assert dict(by_kind["duplicates-with-other-labels"].items[0].fields) == {
        "images": ["b.png", "copy-of-b.png"],
        "splits": ["train", "train"],
        "labels": ["cat", "dog"],
    }
    assert (
        by_kind["duplicates-across-splits"].items[0].text == "a.png (train) = copy-of-a.png (val)"
    )
    assert (
        by_kind["near-duplicates-across-splits"].items[0].text == "c.png (train) ~ like-c.jpg (val)"
    )
    assert checked.fails()
    assert (checked.images, checked.labels, checked.splits) == (10, 4, {"train": 6, "val": 4})


def test_check_of_labels_alone(folder):
    checked = check_labels(folder, look_at_images=False)
    assert {each.kind for each in checked.findings} == {
        "labels-alike",
        "few-positives",
        "images-without-labels",
    }
    assert not checked.looked
    assert not checked.fails()
    assert checked.fails(strict=True)


def test_to_dict_is_plain_and_whole(folder):
    record = json.loads(json.dumps(check_labels(folder).to_dict()))
    assert record["images_per_label"] == {
        "fewest": {"label": "Dog", "images": 2},
        "median": 3.5,
        "most": {"label": "animal", "images": 7},
    }
    assert record["errors"] == 4
    missing = record["findings"][0]
    assert (missing["kind"], missing["count"]) == ("missing-images", 1)
    assert missing["items"] == [{"image": "gone.png"}]


def test_progress_counts_every_image(folder):
    from contextlib import contextmanager

    counts = []

    @contextmanager
    def watcher(total):
        counts.append(-total)
        yield counts.append

    check_labels(folder, watcher=watcher)
    assert sum(counts) == 0


def scores(folder, images, labels, probabilities):
    path = folder / "scores.npz"
    np.savez(path, images=images, labels=labels, probabilities=np.asarray(probabilities, "f4"))
    return path


def test_scores_speak_against_labels(folder):
    images, labels = ["e.png", "b.png", "copy-of-a.png", "a.png", "other.png"], ["dog", "unheard"]
    values = [[0.97, 0], [0.1, 0], [0.95, 0], [0.9, 0], [0.9, 0]]
    path = scores(folder, images, labels, values)
    checked = check_labels(folder, look_at_images=False, scores=path)
    finding = kinds_of(checked)["doubtful-labels"]
    assert finding.message == "1 label is in doubt, by the scores of 4 images"
    assert dict(finding.items[0].fields) == {
        "image": "e.png",
        "label": "dog",
        "given": False,
        "probability": 0.97,
    }


@pytest.mark.parametrize(
    ("images", "labels", "lacks"),
    [(["x.png"], ["dog"], "image"), (["a.png"], ["x"], "label")],
)
def test_scores_of_other_data(folder, images, labels, lacks):
    path = scores(folder, images, labels, [[0.5]])
    with pytest.raises(AnnotationError, match=f"has no {lacks} of"):
        check_labels(folder, look_at_images=False, scores=path)


def test_arguments_are_checked_before_anything_is_read(folder):
    with pytest.raises(TwlError, match="workers is 0"):
        check_labels(folder / "nosuch", workers=0)
    with pytest.raises(TwlError, match="no such file"):
        check_labels(folder, scores=folder / "nosuch.csv")
