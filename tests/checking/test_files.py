import numpy as np

from tests.checking.drawn import annotated
from twlcli.checking.files import file_findings, members
from twlcli.checking.look import Looked

NONE = np.zeros(0, dtype=np.int64)


def findings_of(annotations, same, near=None, damaged=()):
    numbers = None if near is None else np.array(near)
    looked = Looked(NONE, {}, damaged, np.array(same), numbers)
    return {
        finding.kind: [item.text for item in finding.items]
        for finding in file_findings(annotations, looked)
    }


def test_members():
    assert [group.tolist() for group in members(np.array([3, -1, 0, 3, -1, 1, 0, 3]))] == [
        [2, 6],
        [0, 3, 7],
    ]
    assert members(NONE) == []


def test_copies_across_splits_show_one_image_of_each_split():
    splits = ["train", "train", "val", "test", "", "val"]
    annotations = annotated(np.ones((6, 1)), splits=splits)
    assert findings_of(annotations, [0, 0, 0, 0, 0, 1]) == {
        "duplicates-across-splits": [
            "0.jpg (train) = 2.jpg (val) = 3.jpg (test) and 2 more",
        ]
    }


def test_images_in_no_split_are_across_none():
    annotations = annotated(np.ones((3, 1)), splits=["train", "", ""])
    assert findings_of(annotations, [0, 0, 0]) == {"duplicates": ["0.jpg = 1.jpg and 1 more"]}


def test_what_has_the_same_bytes_is_not_said_to_look_the_same_too():
    annotations = annotated(np.ones((6, 1)), splits=["train", "val"] * 3)
    found = findings_of(annotations, [0, 0, 1, 2, 3, 4], near=[0, 0, 1, 2, 1, -1])
    assert found == {
        "duplicates-across-splits": ["0.jpg (train) = 1.jpg (val)"],
        "near-duplicates": ["2.jpg ~ 4.jpg"],
    }


def test_many_conflicting_labels_are_cut_short():
    annotations = annotated([[1, 1, 1, 1, 1], [0, 0, 0, 0, 1]])
    found = findings_of(annotations, [0, 0])
    assert found["duplicates-with-other-labels"] == ["0.jpg = 1.jpg: a, b, c and 1 more"]


def test_damaged_images_are_named():
    annotations = annotated(np.ones((3, 1)))
    assert findings_of(annotations, [0, 1, 2], damaged=(1,)) == {"damaged-images": ["1.jpg"]}
