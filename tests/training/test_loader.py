import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from twlcli.annotations.detect import read_labels
from twlcli.errors import DeviceError
from twlcli.recipe import AugmentRecipe, ImageRecipe
from twlcli.training.loader import EpochOrder, Key, TrainingImages, TrainingLoader


def order(rank: int = 0, world: int = 1, *, count: int = 23, batch_size: int = 6) -> EpochOrder:
    return EpochOrder(count, batch_size=batch_size, seed=7, rank=rank, world=world)


def test_each_epoch_has_an_order_of_its_own_without_repetition():
    batches = order()
    first = [key.row for keys in batches for key in keys]
    batches.epoch = 1
    second = [key.row for keys in batches for key in keys]
    assert len(set(first)) == len(first) == 18  # three whole batches of six
    assert first != second
    assert [key.epoch for keys in batches for key in keys] == [1] * 18


def test_ranks_share_each_batch():
    alone = [sorted(keys) for keys in order()]
    shared = [
        sorted([*a, *b, *c]) for a, b, c in zip(*(order(rank, 3) for rank in range(3)), strict=True)
    ]
    assert alone == shared


def test_order_goes_on_at_the_batch_where_it_was_left():
    whole = list(order())
    rest = order()
    rest.first = 2
    assert list(rest) == whole[2:]
    assert len(rest) == len(whole)


def test_fewer_images_than_a_batch_are_one_batch():
    assert [len(keys) for keys in order(count=4, batch_size=64)] == [4]


@pytest.fixture
def images_of() -> Iterator[Callable[[Path], TrainingImages]]:
    """Training images of a table, whose process ends with the test."""
    made: list[TrainingImages] = []

    def make(table: Path) -> TrainingImages:
        labels = read_labels(table)
        made.append(TrainingImages(labels, AugmentRecipe(), ImageRecipe(size=16), seed=0))
        return made[-1]

    yield make
    for images in made:
        images.close()


def test_sample_depends_on_its_key_alone(photographs, images_of):
    first, again = images_of(photographs), images_of(photographs)
    again[Key(0, 3)]
    for key in (Key(0, 5), Key(2, 5)):
        np.testing.assert_array_equal(first[key].image, again[key].image)
        np.testing.assert_array_equal(first[key].colour, again[key].colour)
    assert not np.array_equal(first[Key(0, 5)].colour, first[Key(1, 5)].colour)


def test_operations_are_drawn_beside_crop_and_colour(photographs):
    """With them the same key has the same crop and colours, whatever the process."""
    labels, image = read_labels(photographs), ImageRecipe(size=16)
    erasing = AugmentRecipe(erasing=1.0)
    plain = TrainingImages(labels, AugmentRecipe(), image, seed=0)
    changed = [TrainingImages(labels, erasing, image, seed=0) for _ in range(2)]
    try:
        before, (one, two) = plain[Key(1, 4)], (each[Key(1, 4)] for each in changed)
        assert np.array_equal(one.colour, before.colour)
        assert one.image is not None and before.image is not None
        assert two.image is not None and np.array_equal(one.image, two.image)
        kept = (one.image == before.image).all(axis=-1).mean()
        assert 0.6 < kept < 1
        batches = order(count=len(labels), batch_size=10)
        loader = TrainingLoader(changed[0], batches, workers=1, pin_memory=False)
        keys = next(iter(batches))
        (first, *_) = loader.epoch(0)
        loader.close()
        for row, key in enumerate(keys):
            expected = changed[1][key].image
            assert expected is not None and np.array_equal(first.images[row], expected)
    finally:
        for each in (plain, *changed):
            each.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_have_images_and_their_targets(photographs, workers, images_of):
    images = images_of(photographs)
    batches = order(count=len(images), batch_size=8)
    loader = TrainingLoader(images, batches, workers=workers, pin_memory=False)
    for keys, batch in zip(list(batches), loader.epoch(0), strict=True):
        rows = [key.row for key in keys]
        assert batch.images.shape == (8, 16, 16, 3)
        assert batch.images.dtype == torch.uint8
        assert np.array_equal(batch.targets, images.annotations.labels.dense(rows))
        assert batch.colour.factors.shape == (8, 3)
        assert batch.unreadable == ()


def test_unreadable_image_is_left_out_and_named(tmp_path, photographs, images_of):
    (tmp_path / "good.png").write_bytes((photographs.parent / "0.png").read_bytes())
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "labels.csv").write_text("image,labels\ngood.png,a\nbad.png,b\n")
    images = images_of(tmp_path / "labels.csv")
    batch = images.collate([images[Key(0, 0)], images[Key(0, 1)]])
    assert batch.targets.tolist() == [[1, 0]]
    assert len(batch.unreadable) == 1
    assert batch.unreadable[0].startswith(f"{tmp_path / 'bad.png'}: not an image")
    assert len(images.collate([images[Key(0, 1)]])) == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_profiles_that_are_no_use_are_counted(tmp_path, workers, images_of):
    for name, profile in (("a", b"no profile" * 20), ("b", None), ("c", b"nor this" * 20)):
        Image.new("RGB", (20, 20), "red").save(tmp_path / f"{name}.png", icc_profile=profile)
    (tmp_path / "labels.csv").write_text("image,labels\na.png,a\nb.png,b\nc.png,a\n")
    images, batches = images_of(tmp_path / "labels.csv"), order(count=3, batch_size=3)
    loader = TrainingLoader(images, batches, workers=workers, pin_memory=False)
    assert [batch.profiles_ignored for batch in loader.epoch(0)] == [2]
    loader.close()


def test_processes_may_be_more_than_cores_and_no_signal_reaches_them(photographs, capfd, images_of):
    images = images_of(photographs)
    batches = order(count=len(images), batch_size=8)
    loader = TrainingLoader(images, batches, workers=9, pin_memory=False)
    next(loader.epoch(0))
    for process in multiprocessing.active_children():
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        os.kill(process.pid, signal.SIGTERM)
    assert len(list(loader.epoch(1))) == len(batches)
    loader.close()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def one_process(photographs, images_of):
    """A loader with a process of its own."""
    images = images_of(photographs)
    batches = order(count=len(images), batch_size=8)
    loader = TrainingLoader(images, batches, workers=1, pin_memory=False)
    yield loader
    loader.close()
    assert multiprocessing.active_children() == []


def test_batch_without_room_in_shared_memory_comes_through_a_pipe(
    photographs, images_of, monkeypatch, one_process
):
    def full(tensor):
        raise RuntimeError("unable to allocate shared memory(shm)")

    images = images_of(photographs)
    alone = TrainingLoader(images, one_process.order, workers=0, pin_memory=False)
    monkeypatch.setattr(torch.Tensor, "share_memory_", full)  # the process inherits it
    for batch, other in zip(list(one_process.epoch(0)), list(alone.epoch(0)), strict=True):
        assert batch.piped and not other.piped
        for one, two in zip(batch._tensors, other._tensors, strict=True):
            assert torch.equal(one, two) and one.dtype == two.dtype


def test_what_a_process_sends_is_in_shared_memory(one_process):
    batch = next(one_process.epoch(0))
    assert not batch.piped and batch.images.is_shared()


def test_a_process_that_is_killed_is_told(one_process):
    next(one_process.epoch(0))
    [process] = multiprocessing.active_children()
    process.kill()
    process.join()
    with pytest.raises(DeviceError, match=r"was ended from outside.*; fewer `workers` need less"):
        list(one_process.epoch(1))


def test_parts_differ_by_one_image_at_most(photographs, images_of):
    images = images_of(photographs)
    batch = images.collate([images[Key(0, row)] for row in range(13)])
    parts = batch.split(3)
    assert [len(part) for part in parts] == [5, 4, 4]
    assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
    assert torch.equal(torch.cat([part.colour.factors for part in parts]), batch.colour.factors)


def test_padding_is_black_and_its_labels_unknown(photographs, images_of):
    images = images_of(photographs)
    batch = images.collate([images[Key(0, 1)], images[Key(0, 2)]])
    assert batch.padded(2) is batch
    padded = batch.padded(4)
    assert torch.equal(padded.images[:2], batch.images)
    assert not padded.images[2:].any()
    assert (padded.targets[2:] == -1).all()
    assert torch.equal(padded.targets[:2], batch.targets)
    assert len(images.collate([]).padded(2)) == 2
