import csv
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from twlcli.errors import ModelError, TwlError
from twlcli.inference.scored import ScoredImages
from twlcli.labels import Vocabulary
from twlcli.model.decisions import probabilities
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import Calibration, ModelSpec
from twlcli.scoring import average_precision
from twlcli.scoring.scores_file import read_scores, write_scores

CALIBRATION = Calibration((1.0, 0.5), (0.1, -3.0))
SPEC = ModelSpec(Vocabulary(("cat", "dog, small")), "drawn", Preprocessing(), CALIBRATION)
SCORED = ScoredImages(
    images=("a.jpg", 'b "é".jpg', "not\udcffunicode.jpg"),
    logits=np.array([[0.1, 2.0], [-30.0, 3.0], [5.0, 1 / 3]], dtype=np.float32),
    targets=np.array([[1, 0], [0, -1], [1, 1]], dtype=np.int8),
)


@pytest.mark.parametrize("block", [1, 1 << 20])
def test_csv_holds_the_probabilities_exactly(tmp_path, monkeypatch, block):
    monkeypatch.setattr(average_precision, "BLOCK_ENTRIES", block)
    path = tmp_path / "scores.csv"
    write_scores(SCORED, SPEC, path)
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["image", "cat", "dog, small"]
    assert tuple(row[0] for row in rows) == SCORED.images
    values = np.array([[float(cell) for cell in row[1:]] for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(values, probabilities(SCORED.logits, CALIBRATION))


def test_npz_holds_everything_without_pickle(tmp_path):
    path = tmp_path / "scores.NPZ"
    write_scores(SCORED, SPEC, path)
    with np.load(path, allow_pickle=False) as arrays:
        assert set(arrays) == {"logits", "probabilities", "targets", "labels", "images"}
        np.testing.assert_array_equal(arrays["logits"], SCORED.logits)
        np.testing.assert_array_equal(arrays["targets"], SCORED.targets)
        assert arrays["probabilities"].dtype == np.float32
        assert tuple(arrays["labels"]) == SPEC.vocabulary.names
        assert tuple(arrays["images"]) == SCORED.images


def test_write_scores_leaves_nothing_else_behind(tmp_path):
    write_scores(SCORED, SPEC, tmp_path / "scores.csv")
    write_scores(SCORED, SPEC, tmp_path / "scores.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_write_scores_refuses_another_ending(tmp_path):
    with pytest.raises(TwlError, match=r"ends in \.csv or \.npz"):
        write_scores(SCORED, SPEC, tmp_path / "scores.txt")


def test_write_scores_says_that_the_folder_is_missing(tmp_path):
    with pytest.raises(TwlError, match="cannot be written"):
        write_scores(SCORED, SPEC, tmp_path / "nowhere" / "scores.csv")


def test_write_scores_needs_a_calibration(tmp_path):
    with pytest.raises(ModelError, match="no calibration"):
        write_scores(SCORED, replace(SPEC, calibration=None), tmp_path / "scores.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["scores.csv", "scores.npz"])
def test_scores_are_read_back(tmp_path, name):
    write_scores(SCORED, SPEC, tmp_path / name)
    scores = read_scores(tmp_path / name)
    assert scores.images == SCORED.images
    assert scores.labels == SPEC.vocabulary.names
    np.testing.assert_array_equal(scores.probabilities, probabilities(SCORED.logits, CALIBRATION))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b""),
        ("a.csv", b"picture,dog\na.jpg,0.5\n"),
        ("a.csv", b"image,dog\na.jpg,0.5,0.5\n"),
        ("a.csv", b"image,dog\na.jpg,maybe\n"),
        ("a.csv", b"image,dog\na.jpg,1.5\n"),
        ("a.csv", b"image,dog\na\0.jpg,\xff\n"),
        ("a.npz", b""),
        ("a.npz", b"no zip"),
        ("a.npz", b"PK\3\4broken"),
        ("a.txt", b"image,dog\n"),
        ("gone.csv", None),
    ],
)
def test_files_that_hold_no_scores(tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TwlError, match=name):
        read_scores(path)


def test_arrays_of_other_shapes_or_without_names_are_no_scores(tmp_path):
    path = tmp_path / "a.npz"
    wrong: tuple[dict[str, Any], ...] = (
        {"images": ["a"], "labels": ["x"], "probabilities": np.zeros((2, 1))},
        {"images": ["a"], "probabilities": np.zeros((1, 1))},
        {"images": ["a"], "labels": 3, "probabilities": np.zeros((1, 1))},
        {"images": np.array([{}], dtype=object), "labels": ["x"], "probabilities": [[0.5]]},
    )
    for arrays in wrong:
        np.savez(path, **arrays)
        with pytest.raises(TwlError, match="not a file of scores"):
            read_scores(path)


@pytest.mark.parametrize(
    ("flags", "says"), [(0x01, "is encrypted"), (0x20, "compressed patched data")]
)
def test_an_archive_that_asks_for_what_there_is_not_is_one_line(tmp_path, flags, says):
    path = tmp_path / "scores.npz"
    np.savez(path, images=np.array(["a.jpg"]), labels=np.array(["dog"]))
    content = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = content.find(mark)
        while at >= 0:
            content[at + place] |= flags
            at = content.find(mark, at + 1)
    path.write_bytes(content)
    with pytest.raises(TwlError, match=f"scores.npz: not a file of scores .*{says}"):
        read_scores(path)
