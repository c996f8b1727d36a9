import csv
from dataclasses import replace

import numpy as np
import pytest

from twlcli.errors import ModelError, TwlError
from twlcli.inference.scored import ScoredImages
from twlcli.labels import Vocabulary
from twlcli.model.decisions import probabilities
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import Calibration, ModelSpec
from twlcli.scoring import average_precision
from twlcli.scoring.scores_file import write_scores

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
