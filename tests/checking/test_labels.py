import numpy as np

from tests.checking.drawn import annotated
from twlcli.checking.labels import balance, conflicting, label_findings


def findings_of(targets, **options):
    return {
        (finding.kind, finding.severity): [dict(item.fields) for item in finding.items]
        for finding in label_findings(annotated(targets, **options))
    }


def test_labels_without_positives_or_negatives_in_all_or_a_split():
    #          a, b, c, d, e
    targets = [
        [1, 0, 0, 1, 1],
        [1, 0, 0, 0, -1],
        [1, 0, 1, 1, 1],
        [1, -1, 0, 1, 0],
    ]
    found = findings_of(targets, splits=["train", "train", "val", "val"])
    assert found["no-positives", "error"] == [{"label": "c", "split": "train"}]
    assert found["no-negatives", "warning"] == [{"label": "d", "split": "val"}]
    texts = [f"{each.kind} {each.message}" for each in label_findings(annotated(targets))]
    assert "no-positives 1 label is never present" in texts
    assert "no-negatives 1 label is never absent" in texts


def test_each_split_is_told_once():
    targets = [[1, 0, 1], [1, 0, 0], [1, 0, 1]]
    found = list(label_findings(annotated(targets, splits=["train", "val", "test"])))
    told = [
        (finding.kind, finding.severity, item.fields["label"], item.fields["split"])
        for finding in found
        for item in finding.items
        if finding.kind.startswith("no-")
    ]
    assert told == [
        ("no-positives", "error", "b", "all"),
        ("no-negatives", "error", "a", "all"),
        ("no-negatives", "error", "c", "train"),
        ("no-negatives", "warning", "c", "test"),
        ("no-positives", "warning", "c", "val"),
    ]


def test_few_positives_fewest_first():
    targets = np.zeros((30, 3), dtype=np.int8)
    targets[:10, 0] = targets[:9, 1] = targets[5, 2] = 1
    assert findings_of(targets)["few-positives", "warning"] == [
        {"label": "c", "images": 1},
        {"label": "b", "images": 9},
    ]


def test_images_without_labels_and_balance():
    targets = np.zeros((10, 3), dtype=np.int8)
    targets[:6, 0] = targets[2:5, 1] = targets[0, 2] = 1
    targets[6, 1] = targets[7, 2] = targets[8, 0] = -1
    found = findings_of(targets)
    assert [each["image"] for each in found["images-without-labels", "note"]] == [
        f"{row}.jpg" for row in range(6, 10)
    ]
    spread = balance(annotated(targets))
    assert spread is not None
    assert (spread.fewest, spread.median, spread.most) == (("c", 1), 3.0, ("a", 6))
    assert spread.unlabelled == 4
    assert spread.unknown == 0.1


def test_nothing_is_found_in_good_labels():
    rng = np.random.default_rng(0)
    targets = (rng.random((400, 3)) < 0.4).astype(np.int8)
    targets[targets.sum(axis=1) == 0, 0] = 1
    assert findings_of(targets, splits=["train", "val"] * 200) == {}


def test_without_labels_or_images():
    assert balance(annotated(np.zeros((3, 0)))) is None
    assert findings_of(np.zeros((0, 2)))[("no-positives", "error")]
    assert balance(annotated(np.zeros((0, 2)))) is None


def test_conflicting_labels_unknown_conflicts_with_none():
    annotations = annotated([[1, 0, 1], [0, 0, -1], [1, 1, 1]])
    assert conflicting(annotations, np.array([0, 1])) == ["a"]
    assert conflicting(annotations, np.array([0, 1, 2])) == ["a", "b"]
