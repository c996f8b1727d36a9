from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.images.encoded import encode
from tests.tagging.models import SPEC, logits_of, write_model
from twlcli.errors import ModelError
from twlcli.images.scan import scan
from twlcli.tagging.pipeline import Tally, spread, tag
from twlcli.tagging.session import OnnxPredictor
from twlcli.tagging.writers import Failure, Tags

COLORS = [(255, 0, 0), (0, 255, 0), (200, 180, 0), (0, 0, 0), (130, 120, 255)]


class Rows(list[Tags]):
    def write(self, tags: Tags) -> None:
        self.append(tags)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, color in enumerate(COLORS):
        data = encode(Image.new("RGB", (30, 20), color), "PNG")
        (folder / f"{index}.png").write_bytes(data)
    return folder


@pytest.fixture
def predictor(tmp_path):
    return OnnxPredictor(write_model(tmp_path / "model.onnx"), provider="cpu")


def expected(index: int, thresholds: tuple[float, ...], top_k: int | None = None) -> Tags:
    """The same from the model's one line, with plain loops."""
    pairs = []
    slopes = (1.0, 1.0, 2.0)
    for column, logit in enumerate(logits_of(COLORS[index])):
        probability = 1 / (1 + np.exp(-slopes[column] * logit))
        if probability >= thresholds[column]:
            pairs.append((probability, SPEC.vocabulary.names[column]))
    pairs.sort(reverse=True)
    labels = tuple(label for _, label in pairs[:top_k])
    return Tags(f"{index}.png", labels, tuple(float(value) for value, _ in pairs[:top_k]))


@pytest.mark.parametrize("thresholds", [(0.5, 0.5, 0.9), (0.0, 0.0, 0.0), (0.9, 0.99, 0.001)])
@pytest.mark.parametrize("top_k", [None, 1, 2])
@pytest.mark.parametrize(("workers", "batch_size"), [(1, 8), (3, 2)])
def test_tag_equals_a_plain_loop(photos, predictor, thresholds, top_k, workers, batch_size):
    rows = Rows()
    failures: list[Failure] = []
    tally = tag(
        scan([photos]),
        predictor,
        [rows],
        thresholds=np.array(thresholds, dtype=np.float32),
        top_k=top_k,
        workers=workers,
        batch_size=batch_size,
        on_failure=failures.append,
    )
    wanted = [expected(index, thresholds, top_k) for index in range(5)]
    assert [(row.image, row.labels) for row in rows] == [(row.image, row.labels) for row in wanted]
    for row, want in zip(rows, wanted, strict=True):
        np.testing.assert_allclose(row.probabilities, want.probabilities, rtol=1e-4)
    assert (tally.tagged, tally.failed, failures) == (5, 0, [])


def test_tag_without_thresholds_gives_the_most_probable(photos, predictor):
    rows = Rows()
    tag(scan([photos]), predictor, [rows], thresholds=None, top_k=2, on_failure=print)
    assert [len(row.labels) for row in rows] == [2] * 5
    assert rows[0].labels[0] == "red" and rows[4].labels[0] == "blue"


def test_tag_reports_failures_and_goes_on(photos, predictor):
    (photos / "1.png").write_text("text")
    (photos / "3.png").write_bytes(b"")
    first, second = Rows(), Rows()
    failures: list[Failure] = []
    seen: list[Tally] = []
    tally = tag(
        scan([photos]),
        predictor,
        [first, second],
        thresholds=np.zeros(3, dtype=np.float32),
        batch_size=2,
        on_failure=failures.append,
        on_progress=seen.append,
    )
    assert [row.image for row in first] == ["0.png", "2.png", "4.png"]
    assert first == second
    assert failures[0].image == "1.png" and failures[0].reason.startswith("not an image")
    assert failures[1] == Failure("3.png", "the file is empty")
    assert [(each.tagged, each.failed) for each in seen] == [(1, 1), (2, 2), (3, 2)]
    assert seen[-1] == tally
    assert tally.images_per_second == pytest.approx(5 / tally.seconds)


def test_tag_refuses_a_model_without_calibration(photos, predictor, monkeypatch):
    monkeypatch.setattr(predictor, "_spec", replace(SPEC, calibration=None))
    with pytest.raises(ModelError, match="carries no calibration"):
        tag(scan([photos]), predictor, [], thresholds=None, top_k=1, on_failure=print)


def test_tally_of_nothing_has_no_speed():
    assert Tally().images_per_second == 0


def test_spread_gives_one_chunk_every_core(photos):
    work = spread(scan([photos]), workers=7, batch_size=5)
    assert (work.workers, work.threads) == (1, 0)
    assert len(list(work.files)) == 5
    work = spread(scan([photos]), workers=7, batch_size=4)
    assert (work.workers, work.threads) == (7, 1)
    assert len(list(work.files)) == 5
    assert spread(scan([photos]), workers=None, batch_size=2).workers >= 1
