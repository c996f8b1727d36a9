import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.images.arrays import load
from tests.images.encoded import encode, noise
from tests.tagging.models import SPEC, logits_of, write_model
from twlcli.errors import ModelError
from twlcli.images.decoding import Decoding
from twlcli.images.discover.scan import scan
from twlcli.images.image_file import Failure, ImageFile
from twlcli.images.sandbox import LocalDecoder
from twlcli.model.onnx import OnnxPredictor
from twlcli.tagging import pipeline
from twlcli.tagging.chunks import Choice, JournalLookup
from twlcli.tagging.journal import open_journal
from twlcli.tagging.outputs.fan_out import FanOut, Tally
from twlcli.tagging.pipeline import spread
from twlcli.tagging.tags import Row, Tags

COLORS = [(255, 0, 0), (0, 255, 0), (200, 180, 0), (0, 0, 0), (130, 120, 255)]


def tag(*arguments, workers=1, **options):
    return pipeline.tag(*arguments, decoders=[LocalDecoder()] * workers, **options)


class Rows(list[Tags]):
    def write(self, file: ImageFile, row: Row) -> None:
        assert file.name == row.image
        if isinstance(row, Tags):
            self.append(row)


class AllRows(list[Row]):
    def write(self, file: ImageFile, row: Row) -> None:
        self.append(row)


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
@pytest.mark.parametrize(
    ("workers", "batch_size", "ordered"), [(1, 8, True), (3, 2, True), (3, 1, False)]
)
def test_tag_equals_a_plain_loop(
    photos, predictor, thresholds, top_k, workers, batch_size, ordered
):
    rows = Rows()
    failures: list[Failure] = []
    tally = tag(
        scan([photos]),
        predictor,
        FanOut([rows], on_failure=failures.append),
        thresholds=np.array(thresholds, dtype=np.float32),
        top_k=top_k,
        workers=workers,
        batch_size=batch_size,
        ordered=ordered,
    )
    if not ordered:
        rows.sort(key=lambda row: row.image)
    wanted = [expected(index, thresholds, top_k) for index in range(5)]
    assert [(row.image, row.labels) for row in rows] == [(row.image, row.labels) for row in wanted]
    for row, want in zip(rows, wanted, strict=True):
        np.testing.assert_allclose(row.probabilities, want.probabilities, rtol=1e-4)
    assert (tally.tagged, tally.failed, failures) == (5, 0, [])


def test_tag_without_thresholds_gives_the_most_probable(photos, predictor):
    rows = Rows()
    tag(scan([photos]), predictor, FanOut([rows]), thresholds=None, top_k=2)
    assert [len(row.labels) for row in rows] == [2] * 5
    assert rows[0].labels[0] == "red" and rows[4].labels[0] == "blue"


def test_tag_decodes_as_it_is_told(photos, predictor):
    noise(400, 300).save(photos / "0.png", "JPEG")
    given = []
    for exact in (False, True):
        rows = Rows()
        tag(scan([photos]), predictor, FanOut([rows]), thresholds=None, decoding=Decoding(exact))
        pixels = load(photos / "0.png", SPEC.preprocessing, exact=exact)
        logits = logits_of(pixels.mean(axis=(0, 1)))
        expected = sorted(1 / (1 + np.exp(-logits * (1, 1, 2))), reverse=True)
        np.testing.assert_allclose(rows[0].probabilities, expected, rtol=1e-5)
        given.append(rows[0].probabilities)
    assert given[0] != given[1]


def test_tag_reports_failures_and_goes_on(photos, predictor):
    (photos / "1.png").write_text("text")
    (photos / "3.png").write_bytes(b"")
    first, second = Rows(), Rows()
    failures: list[Failure] = []
    seen: list[Tally] = []
    tally = tag(
        scan([photos]),
        predictor,
        FanOut([first, second], on_failure=failures.append),
        thresholds=np.zeros(3, dtype=np.float32),
        batch_size=2,
        progress=seen.append,
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
        tag(scan([photos]), predictor, FanOut([]), thresholds=None, top_k=1)


def test_spread_gives_one_chunk_every_core(photos):
    work = spread(scan([photos]), workers=7, batch_size=5)
    assert (work.workers, work.threads) == (1, 0)
    assert len(list(work.files)) == 5
    work = spread(scan([photos]), workers=7, batch_size=4)
    assert (work.workers, work.threads) == (7, 1)
    assert len(list(work.files)) == 5
    assert spread(scan([photos]), workers=None, batch_size=2).workers >= 1


class Counting:
    """A predictor that counts the images it is given."""

    def __init__(self, predictor: OnnxPredictor) -> None:
        self._predictor = predictor
        self.spec = predictor.spec
        self.batch_size = predictor.batch_size
        self.images = 0

    def __call__(self, images):
        self.images += len(images)
        return self._predictor(images)


def tag_with_journal(photos: Path, predictor, *, stop_after=None, **options):
    """All rows and failures in order, the tally, and how many images the model was given."""
    rows = AllRows()
    counting = Counting(predictor)

    def on_progress(tally: Tally) -> None:
        if stop_after is not None and tally.tagged + tally.failed >= stop_after:
            raise KeyboardInterrupt

    tally = None
    how = {key: options.pop(key) for key in ("content", "retry_failed") if key in options}
    try:
        with open_journal(photos.parent / "journal", b"run", SPEC.vocabulary) as journal:
            nothing = np.zeros(3, dtype=np.float32)
            lookup = JournalLookup(journal, Choice(SPEC, nothing, None), **how)
            tally = tag(
                scan([photos]),
                counting,
                FanOut([rows], lookup=lookup),
                thresholds=np.zeros(3, dtype=np.float32),
                lookup=lookup,
                progress=on_progress,
                **{"batch_size": 1, "workers": 1, **options},
            )
    except KeyboardInterrupt:
        assert stop_after is not None
    return rows, tally, counting.images


@pytest.fixture
def reference(photos, predictor):
    (photos / "3.png").write_text("text")
    rows = AllRows()
    tag(scan([photos]), predictor, FanOut([rows]), thresholds=np.zeros(3, dtype=np.float32))
    return rows


@pytest.mark.parametrize("stop_after", [1, 2, 4, 5])
@pytest.mark.parametrize(("workers", "batch_size"), [(1, 1), (2, 2)])
def test_interrupted_run_goes_on(photos, predictor, reference, stop_after, workers, batch_size):
    options = {"workers": workers, "batch_size": batch_size}
    first, _, _ = tag_with_journal(photos, predictor, stop_after=stop_after, **options)
    second, tally, computed = tag_with_journal(photos, predictor, **options)
    assert first == reference[: len(first)] and second == reference
    assert (tally.tagged, tally.failed, tally.stored) == (4, 1, len(first))
    assert computed == 5 - len(first) - (len(first) < 4)  # the broken one is never predicted
    third, tally, computed = tag_with_journal(photos, predictor)
    assert (third, tally.stored, computed) == (reference, 5, 0)


def test_files_that_changed_came_or_went_are_seen(photos, predictor, reference):
    tag_with_journal(photos, predictor)
    (photos / "0.png").unlink()
    (photos / "1.png").write_bytes((photos / "2.png").read_bytes())
    os.utime(photos / "2.png", ns=(0, 1))
    (photos / "30.png").write_bytes((photos / "4.png").read_bytes())
    rows, tally, computed = tag_with_journal(photos, predictor)
    assert [row.image for row in rows] == ["1.png", "2.png", "3.png", "30.png", "4.png"]
    assert rows[0] == replace(reference[2], image="1.png") and rows[3:] == [
        replace(reference[4], image="30.png"),
        reference[4],
    ]
    assert (computed, tally.stored) == (3, 2)


def test_with_hashes_only_content_counts(photos, predictor, reference):
    tag_with_journal(photos, predictor, content=True)
    os.utime(photos / "2.png", ns=(0, 1))
    status = (photos / "1.png").stat()
    data = bytearray((photos / "1.png").read_bytes())
    data[-1] ^= 1  # in the checksum of the end, which nobody reads
    (photos / "1.png").write_bytes(data)
    os.utime(photos / "1.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    rows, tally, computed = tag_with_journal(photos, predictor, content=True)
    assert (rows, tally.stored, computed) == (reference, 4, 1)


def test_failures_stay_until_they_are_to_be_tried_again(photos, predictor, reference):
    good = (photos / "4.png").read_bytes()
    tag_with_journal(photos, predictor)
    size, status = (photos / "3.png").stat().st_size, (photos / "3.png").stat()
    (photos / "3.png").write_bytes(b"TEXT"[:size])
    os.utime(photos / "3.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    rows, tally, _ = tag_with_journal(photos, predictor)
    assert (rows, tally.failed, tally.stored) == (reference, 1, 5)
    rows, tally, _ = tag_with_journal(photos, predictor, retry_failed=True)
    assert (rows, tally.failed, tally.stored) == (reference, 1, 4)
    (photos / "3.png").write_bytes(good)
    rows, tally, computed = tag_with_journal(photos, predictor)
    assert (rows[3], tally.failed, computed) == (replace(reference[4], image="3.png"), 0, 1)
