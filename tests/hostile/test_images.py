"""Images that strangers made, where a whole data set is read: training, evaluation, int8 export."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.hostile.graphs import graph, node, write
from tests.images import hostile
from twlcli.annotations.detect import read_labels
from twlcli.images import sandbox
from twlcli.inference.scored import score_images
from twlcli.model.onnx import OnnxPredictor
from twlcli.recipe import AugmentRecipe, ImageRecipe
from twlcli.training.loader import EpochOrder, TrainingImages, TrainingLoader

GOOD = 4


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of four pictures between things that are none."""
    for number in range(GOOD):
        Image.new("RGB", (20, 20), (number * 60, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(1 << 40)
    names = ["folder.png", "zero.png", "sparse.png"]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        names.append("pipe.png")
    rows = [f"{name},a" for name in names] + [f"{number}.png,b" for number in range(GOOD)]
    (tmp_path / "labels.csv").write_text("\n".join(("image,labels", *rows)))
    return tmp_path / "labels.csv"


@pytest.fixture
def crashing(tmp_path: Path, monkeypatch) -> Path:
    """A table of four pictures and one that the decoder dies of."""
    monkeypatch.setattr(sandbox, "_PROGRAM", hostile.PROGRAM)
    names = [f"{number}.png" for number in range(GOOD)]
    for name in (*names, ".good.png"):
        Image.new("RGB", (20, 20)).save(tmp_path / name)
    (tmp_path / "crash.png").write_bytes(b"crash")
    rows = ["crash.png,a", *(f"{name},b" for name in names)]
    (tmp_path / "labels.csv").write_text("\n".join(("image,labels", *rows)))
    return tmp_path / "labels.csv"


def scored(table: Path) -> tuple[tuple[str, ...], list[str]]:
    """The images that were evaluated, and why the others were not."""
    predictor = OnnxPredictor(write(graph(node("Identity", "two")), table.parent / "m.onnx"))
    scores = score_images(predictor, read_labels(table))
    assert np.isfinite(scores.logits).all()
    return scores.images, [f"{each.image}: {each.reason}" for each in scores.unreadable]


def trained(table: Path, workers: int) -> tuple[int, tuple[str, ...]]:
    """How many images a batch has, and why others are not in it."""
    labels = read_labels(table)
    images = TrainingImages(labels, AugmentRecipe(), ImageRecipe(size=16), seed=0)
    order = EpochOrder(len(labels), batch_size=len(labels), seed=0, rank=0, world=1)
    loader = TrainingLoader(images, order, workers=workers, pin_memory=False)
    try:
        (batch,) = loader.epoch(0)
        return len(batch), batch.unreadable
    finally:
        loader.close()


def test_evaluation_goes_on_beside_what_is_no_image(table):
    images, failures = scored(table)
    assert sorted(images) == [f"{number}.png" for number in range(GOOD)]
    assert len(failures) == len(read_labels(table)) - GOOD


def test_evaluation_goes_on_where_the_decoder_dies(crashing):
    images, failures = scored(crashing)
    assert len(images) == GOOD
    assert failures == ["crash.png: the decoder crashed (SIGSEGV)"]


@pytest.mark.parametrize("workers", [0, 1])
def test_training_goes_on_beside_what_is_no_image(table, workers):
    count, failures = trained(table, workers)
    assert (count, len(failures)) == (GOOD, len(read_labels(table)) - GOOD)


@pytest.mark.parametrize("workers", [0, 1])
def test_training_goes_on_where_the_decoder_dies(crashing, workers):
    count, (failure,) = trained(crashing, workers)
    assert count == GOOD
    assert failure.endswith("crash.png: the decoder crashed (SIGSEGV)")
