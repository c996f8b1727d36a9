import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from twlcli.checking import together
from twlcli.checking.together import BY_CHANCE, Pair, find_together
from twlcli.labels import LabelMatrix


def found_in(targets):
    found = find_together(LabelMatrix.from_dense(np.asarray(targets, dtype=np.int8)))
    assert found is not None
    return found


def test_implies_and_always():
    targets = np.zeros((200, 4))
    targets[:20, 0] = 1  # dog implies animal
    targets[:50, 1] = 1
    targets[100:130, 2:] = 1  # two names of one thing
    targets[3, 1] = -1
    found = found_in(targets)
    assert found.implies == (Pair(0, 1, 19),)
    assert found.always == (Pair(2, 3, 30),)


def test_what_chance_explains_is_not_said():
    targets = np.ones((200, 3))
    targets[:3, 1:] = 0  # label 1 in 98 %, so that ten images with it and label 2 say nothing
    targets[13:, 2] = 0
    targets[:, 0] = 0
    targets[:4, 0] = 1
    found = found_in(targets)
    assert found.implies == found.always == ()


def test_never_together():
    targets = np.zeros((400, 3))
    targets[:150, 0] = 1
    targets[200:350, 1] = 1
    targets[100:250, 2] = 1
    assert found_in(targets).never == (Pair(0, 1, 56),)
    targets[:, 2] = 0
    assert found_in(targets).never == ()  # no image has two labels: nothing to say of any two


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000))
def test_all_pairs_are_those_of_plain_loops(seed):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, 90)
    targets = (rng.random((90, 6)) < rng.choice([0.02, 0.3, 0.7], (3, 6))[kinds]).astype(np.int8)
    targets[:, 5] = np.where(rng.random() < 0.5, targets[:, 4], targets[:, 3] | targets[:, 5])
    targets[rng.random(targets.shape) < 0.02] = -1
    implied, never = set(), set()
    rare = BY_CHANCE / 30  # ordered pairs of six
    for a in range(6):
        having = targets[targets[:, a] == 1]
        for b in range(6):
            known = int((having[:, b] >= 0).sum())
            all_known = targets[:, b] >= 0
            share = (targets[:, b] == 1).sum() / max(all_known.sum(), 1)
            both = int((having[:, b] == 1).sum())
            if a != b and known and both == known and share**known <= rare:
                implied.add((a, b))
            if a < b and not both and np.exp(-known * share) <= rare:
                never.add((a, b))
    found = found_in(targets)
    pairs = {(pair.first, pair.second) for pair in found.implies}
    pairs |= {(pair.first, pair.second) for pair in found.always}
    pairs |= {(pair.second, pair.first) for pair in found.always}
    assert pairs == implied
    if (targets == 1).sum(axis=1).max() > 1:
        assert {(pair.first, pair.second) for pair in found.never} == never


def test_of_many_independent_labels_nothing_is_said():
    rng = np.random.default_rng(0)
    targets = rng.random((2000, 150)) < np.geomspace(0.3, 0.002, 150)
    found = found_in(targets)
    assert (found.always, found.implies, found.never) == ((), (), ())


def matrix(images: int, at_each: int) -> LabelMatrix:
    """Each image has labels of its own."""
    count = images * at_each
    starts = np.arange(images + 1, dtype=np.int64) * at_each
    columns, values = np.arange(count, dtype=np.int32), np.ones(count, dtype=np.int8)
    return LabelMatrix(starts, columns, values, count)


def test_many_labels_take_no_longer_than_they_have_to():
    """It was quadratic in the number of labels: 60,000 took a minute, ten times as many hours."""
    begin = time.monotonic()
    assert find_together(matrix(2_000, 300)) == together.Together((), (), ())
    assert time.monotonic() - begin < 5


def test_where_too_much_would_be_said_nothing_is(monkeypatch):
    assert find_together(matrix(4, 15_000)) is None
    targets = np.kron(np.eye(2), np.ones((100, 10)))
    assert len(found_in(targets).never) == 100
    monkeypatch.setattr(together, "_MOST_PAIRS", 90)
    assert find_together(LabelMatrix.from_dense(targets.astype(np.int8))) is None
