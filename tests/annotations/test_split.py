from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.split import hold_out, hold_out_images
from twlcli.errors import AnnotationError
from twlcli.labels import LabelMatrix, Vocabulary


def long_tailed(*, images=3000, label_count=40, seed=0):
    """Labels with prevalences from 40 % down to 0.2 %, with -1 among the absent ones."""
    rng = np.random.default_rng(seed)
    prevalence = np.geomspace(0.4, 0.002, label_count)
    targets = (rng.random((images, label_count)) < prevalence).astype(np.int8)
    targets[(targets == 0) & (rng.random(targets.shape) < 0.01)] = -1
    return targets


@st.composite
def matrices(draw):
    images, label_count = draw(st.integers(2, 60)), draw(st.integers(1, 8))
    seed, share = draw(st.integers(0, 10_000)), draw(st.floats(0.0, 0.7))
    rng = np.random.default_rng(seed)
    known = rng.random((images, label_count)) < share
    return np.where(known, rng.choice([1, 1, -1], known.shape), 0).astype(np.int8)


@settings(deadline=None, max_examples=60)
@given(targets=matrices(), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
def test_hold_out_has_its_size_and_is_deterministic(targets, fraction, seed):
    labels = LabelMatrix.from_dense(targets)
    held = hold_out(labels, fraction=fraction, seed=seed)
    count = len(targets)
    assert len(held) == min(max(round(fraction * count), 1), count - 1)
    assert (np.diff(held) > 0).all()
    assert 0 <= held[0] <= held[-1] < count
    np.testing.assert_array_equal(held, hold_out(labels, fraction=fraction, seed=seed))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), fraction=st.sampled_from([0.1, 0.2, 0.35, 0.5]))
@example(seed=429, fraction=0.5)  # the furthest off of a thousand: 6.5 of 497
def test_hold_out_keeps_shares_and_one_of_each_label(seed, fraction):
    targets = long_tailed(images=1200, label_count=15, seed=seed)
    present = targets == 1
    held = hold_out(LabelMatrix.from_dense(targets), fraction=fraction, seed=seed)
    totals, held_totals = present.sum(axis=0), present[held].sum(axis=0)
    assert np.abs(held_totals - fraction * totals).max() <= 1 + 0.015 * totals.max()
    often = totals >= 2
    assert (held_totals[often] >= 1).all()
    assert (totals - held_totals)[often].min() >= 1


@pytest.mark.parametrize("seed", [0, 2, 9, 10])
def test_hold_out_mends_a_frequent_label_that_is_handed_out_last(seed):
    """Where images are handed out for their rarer labels, too few or many have it at first."""
    rng = np.random.default_rng(seed)
    targets = np.zeros((3000, 12), np.int8)
    targets[np.arange(3000), rng.integers(1, 12, 3000)] = 1
    targets[rng.random(3000) < 0.2, 1:] = 0
    targets[:, 0] = rng.random(3000) < np.where(targets[:, 1:].any(axis=1), 0.3, 1)
    held = hold_out(LabelMatrix.from_dense(targets), fraction=0.1, seed=seed)
    assert len(held) == 300
    assert np.abs(targets[held].sum(axis=0) - 0.1 * targets.sum(axis=0)).max() < 1.5


def test_hold_out_is_nearer_than_chance():
    targets = long_tailed()
    present = targets == 1
    wanted = 0.1 * present.sum(axis=0)
    held = hold_out(LabelMatrix.from_dense(targets), fraction=0.1, seed=1)
    off = np.abs(present[held].sum(axis=0) - wanted).mean()
    rng = np.random.default_rng(0)
    by_chance = [
        np.abs(present[rng.choice(len(present), 300, replace=False)].sum(axis=0) - wanted).mean()
        for _ in range(50)
    ]
    assert off < 0.3 * np.mean(by_chance)


def test_hold_out_label_free_images_are_a_stratum():
    targets = np.zeros((1000, 2), dtype=np.int8)
    targets[:300, 0] = 1
    targets[250:500, 1] = 1
    held = hold_out(LabelMatrix.from_dense(targets), fraction=0.2, seed=0)
    assert len(held) == 200
    assert abs((held >= 500).sum() - 100) <= 1


@pytest.mark.parametrize("seed", range(10))
def test_hold_out_of_one_image_has_a_label_if_it_can(seed):
    targets = np.zeros((12, 1), dtype=np.int8)
    targets[::2] = 1
    (held,) = hold_out(LabelMatrix.from_dense(targets), fraction=0.1, seed=seed)
    assert targets[held, 0] == 1


def test_hold_out_unknown_counts_as_absent():
    targets = long_tailed(images=300)
    with_unknown = LabelMatrix.from_dense(targets)
    without = LabelMatrix.from_dense(np.maximum(targets, 0))
    np.testing.assert_array_equal(
        hold_out(with_unknown, fraction=0.2, seed=3), hold_out(without, fraction=0.2, seed=3)
    )


def test_hold_out_other_seed_gives_other_rows():
    labels = LabelMatrix.from_dense(long_tailed(images=500))
    parts = {tuple(hold_out(labels, fraction=0.2, seed=seed)) for seed in range(5)}
    assert len(parts) == 5


def test_hold_out_two_positives_go_one_to_each_part():
    targets = np.zeros((100, 4), dtype=np.int8)
    for column, rows in enumerate([(3, 50), (10, 11), (20, 90), (50, 60)]):
        targets[list(rows), column] = 1
    for seed in range(20):
        held = hold_out(LabelMatrix.from_dense(targets), fraction=0.1, seed=seed)
        assert len(held) == 10
        np.testing.assert_array_equal((targets[held] == 1).sum(axis=0), 1)


def test_hold_out_without_labels():
    labels = LabelMatrix.from_dense(np.zeros((10, 0), np.int8))
    assert len(hold_out(labels, fraction=0.3, seed=0)) == 3


def test_hold_out_many_sparse_labels():
    rng = np.random.default_rng(0)
    rows = [rng.choice(500, 4, replace=False).tolist() for _ in range(20_000)]
    targets = np.zeros((len(rows), 500), np.int8)
    for row, columns in enumerate(rows):
        targets[row, list(columns)] = 1
    labels = LabelMatrix.from_dense(targets)
    held = hold_out(labels, fraction=0.1, seed=0)
    shares = labels.select(held).present_per_label() / labels.present_per_label()
    assert len(held) == 2000
    assert np.abs(shares - 0.1).mean() < 0.004
    assert np.abs(shares - 0.1).max() < 0.06


@st.composite
def grouped(draw):
    """Targets, and groups of 1 to 12 images, with few labels that groups share."""
    group_count, label_count = draw(st.integers(2, 25)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    groups = np.repeat(np.arange(group_count), rng.integers(1, 13, group_count))
    share = rng.random((group_count, label_count)) ** 3
    targets = (rng.random((len(groups), label_count)) < share[groups]).astype(np.int8)
    order = rng.permutation(len(groups))
    return targets[order], groups[order]


@settings(deadline=None, max_examples=80)
@given(data=grouped(), fraction=st.floats(0.02, 0.98), seed=st.integers(0, 1000))
def test_hold_out_splits_no_group(data, fraction, seed):
    targets, groups = data
    labels = LabelMatrix.from_dense(targets)
    held = hold_out(labels, fraction=fraction, seed=seed, groups=groups)
    others = np.setdiff1d(np.arange(len(groups)), held)
    assert len(held) and len(others)
    assert not set(groups[held]) & set(groups[others])
    # A group that would bring the size nearer is moved over.
    off = len(held) - fraction * len(groups)
    assert abs(off) < np.bincount(groups).max() + 1
    renamed = 7 * groups - 40
    np.testing.assert_array_equal(
        held, hold_out(labels, fraction=fraction, seed=seed, groups=renamed)
    )


@settings(deadline=None, max_examples=60)
@given(targets=matrices(), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
def test_hold_out_of_groups_of_one_is_that_of_images(targets, fraction, seed):
    labels = LabelMatrix.from_dense(targets)
    one_each = np.arange(len(targets))[::-1]
    np.testing.assert_array_equal(
        hold_out(labels, fraction=fraction, seed=seed),
        hold_out(labels, fraction=fraction, seed=seed, groups=one_each),
    )


def grouped_long_tail(*, seed):
    """5,000 images in 500 groups, of which some are large and each prefers labels of its own."""
    rng = np.random.default_rng(seed)
    sizes = rng.pareto(1.5, 500) + 1
    groups = rng.choice(500, 5000, p=sizes / sizes.sum())
    liking = np.geomspace(0.3, 0.01, 20) * rng.gamma(0.3, 1 / 0.3, (500, 20))
    return (rng.random((5000, 20)) < liking[groups].clip(0, 0.95)).astype(np.int8), groups


@pytest.mark.parametrize("seed", range(5))
def test_hold_out_of_groups_keeps_shares_and_each_label(seed):
    targets, groups = grouped_long_tail(seed=seed)
    held = hold_out(LabelMatrix.from_dense(targets), fraction=0.1, seed=seed, groups=groups)
    shares = targets[held].sum(axis=0) / targets.sum(axis=0)
    assert abs(len(held) - 500) <= 5
    rng = np.random.default_rng(seed)
    by_chance = []
    for _ in range(50):
        order = rng.permutation(500)
        taken = order[np.cumsum(np.bincount(groups, minlength=500)[order]) <= 500]
        drawn = targets[np.isin(groups, taken)].sum(axis=0)
        by_chance.append(np.abs(drawn / targets.sum(axis=0) - 0.1).mean())
    assert np.abs(shares - 0.1).mean() < 0.4 * np.mean(by_chance)
    for column in range(20):
        having = groups[targets[:, column] == 1]
        if len(set(having)) >= 2:
            assert 0 < shares[column] < 1


def test_hold_out_of_one_group():
    labels = LabelMatrix.from_dense(np.eye(4, dtype=np.int8))
    with pytest.raises(AnnotationError, match="one group"):
        hold_out(labels, fraction=0.5, seed=0, groups=np.zeros(4, dtype=np.int64))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_hold_out_fraction_out_of_range(fraction):
    labels = LabelMatrix.from_dense(np.eye(4, dtype=np.int8))
    with pytest.raises(AnnotationError, match=r"fraction is .*; expected between 0 and 1"):
        hold_out(labels, fraction=fraction, seed=0)


def test_hold_out_too_few_images_or_negative_seed():
    one = LabelMatrix.from_dense(np.ones((1, 2), dtype=np.int8))
    with pytest.raises(AnnotationError, match="expected 2 or more"):
        hold_out(one, fraction=0.5, seed=0)
    two = LabelMatrix.from_dense(np.ones((2, 2), dtype=np.int8))
    with pytest.raises(AnnotationError, match="seed is -1"):
        hold_out(two, fraction=0.5, seed=-1)


# --- by image, whatever the order ----------------------------------------------------------------


def annotations_of(targets, *, groups=()):
    count = len(targets)
    return Annotations(
        source=Path("photos.csv"),
        format="csv",
        root=Path(),
        images=tuple(f"{number * 7919 % 1000}.jpg" for number in range(count)),
        labels=LabelMatrix.from_dense(targets),
        vocabulary=Vocabulary(tuple(f"l{column}" for column in range(targets.shape[1]))),
        splits=("",) * count,
        groups=groups,
    )


def held_images(annotations, **options):
    return {annotations.images[row] for row in hold_out_images(annotations, **options)}


@settings(deadline=None, max_examples=60)
@given(
    targets=matrices(),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 1000),
    shuffle=st.randoms(use_true_random=False),
    sizes=st.none() | st.integers(1, 6),
)
def test_held_images_do_not_depend_on_the_order_of_rows(targets, fraction, seed, shuffle, sizes):
    groups = () if sizes is None else tuple(f"p{row // sizes}" for row in range(len(targets)))
    if len(set(groups)) == 1:
        return
    annotations = annotations_of(targets, groups=groups)
    rows = list(range(len(targets)))
    shuffle.shuffle(rows)
    held = held_images(annotations, fraction=fraction, seed=seed)
    assert held_images(annotations.select(rows), fraction=fraction, seed=seed) == held


def test_another_seed_holds_out_other_images():
    annotations = annotations_of(long_tailed(images=200, label_count=5))
    first, second = (held_images(annotations, fraction=0.2, seed=seed) for seed in (0, 1))
    assert len(first) == len(second) == 40
    assert first != second


# --- by group ------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(
    targets=matrices(),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 1000),
    names=st.lists(st.sampled_from(["", "a", "b", "c", "d", "e"]), min_size=60, max_size=60),
)
def test_no_group_is_parted(targets, fraction, seed, names):
    groups = tuple(names[: len(targets)])
    annotations = annotations_of(targets, groups=groups)
    own = {group or image for group, image in zip(groups, annotations.images, strict=True)}
    if len(own) < 2:
        with pytest.raises(AnnotationError, match="cannot hold out a part of one"):
            hold_out_images(annotations, fraction=fraction, seed=seed)
        return
    held = hold_out_images(annotations, fraction=fraction, seed=seed)
    kept = set(range(len(targets))) - set(held.tolist())
    assert 0 < len(held) < len(targets)
    assert (np.diff(held) > 0).all()
    assert not ({groups[row] for row in held} & {groups[row] for row in kept}) - {""}
    np.testing.assert_array_equal(held, hold_out_images(annotations, fraction=fraction, seed=seed))


def test_some_images_are_held_out_like_images_of_their_own():
    targets = np.ones((40, 1), dtype=np.int8)
    names = [f"group {row}" if row < 30 else "" for row in range(40)]
    rows = np.arange(20, 40)  # of groups whose numbers are as high as those of images alone
    some = annotations_of(targets, groups=tuple(names)).select(rows)
    alone = replace(some, groups=tuple(some.groups))
    held, expected = (hold_out_images(each, fraction=0.25, seed=0) for each in (some, alone))
    assert held.tolist() == expected.tolist()
    assert len(held) == 5


def test_images_with_hundreds_of_labels_are_held_out_in_silence():
    """Some of their weights are too small for a number."""
    targets = np.zeros((60, 500), dtype=np.int8)
    targets[:30] = np.random.default_rng(0).random((30, 500)) < 0.6
    held = hold_out(LabelMatrix.from_dense(targets), fraction=0.1, seed=0)
    assert len(held) == 6
