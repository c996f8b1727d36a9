from pathlib import Path

import numpy as np
import pytest
import torch

from twlcli.annotations.detect import read_labels
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


def images_of(table: Path) -> TrainingImages:
    return TrainingImages(read_labels(table), AugmentRecipe(), ImageRecipe(size=16), seed=0)


def test_sample_depends_on_its_key_alone(photographs):
    first, again = images_of(photographs), images_of(photographs)
    again[Key(0, 3)]
    for key in (Key(0, 5), Key(2, 5)):
        np.testing.assert_array_equal(first[key].image, again[key].image)
        np.testing.assert_array_equal(first[key].colour, again[key].colour)
    assert not np.array_equal(first[Key(0, 5)].colour, first[Key(1, 5)].colour)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_have_images_and_their_targets(photographs, workers):
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


def test_unreadable_image_is_left_out_and_named(tmp_path, photographs):
    (tmp_path / "good.png").write_bytes((photographs.parent / "0.png").read_bytes())
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "labels.csv").write_text("image,labels\ngood.png,a\nbad.png,b\n")
    images = images_of(tmp_path / "labels.csv")
    batch = images.collate([images[Key(0, 0)], images[Key(0, 1)]])
    assert batch.targets.tolist() == [[1, 0]]
    assert len(batch.unreadable) == 1
    assert batch.unreadable[0].startswith(f"{tmp_path / 'bad.png'}: not an image")
    assert len(images.collate([images[Key(0, 1)]])) == 0
