import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twlcli.checking.near import joined_groups, near_groups


def groups_by_comparing_all(hashes, distance):
    """Single linkage in plain loops."""
    group = list(range(len(hashes)))
    for one, first in enumerate(hashes):
        for other in range(one):
            if (first ^ hashes[other]).bit_count() <= distance:
                old, new = group[one], group[other]
                group = [new if each == old else each for each in group]
    number: dict[int, int] = {}
    return [number.setdefault(each, len(number)) for each in group]


@st.composite
def clustered(draw):
    """Hashes of which many are a few flipped bits from another, wherever in the word."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    hashes = [int(rng.integers(0, 2**64, dtype=np.uint64)) for _ in range(draw(st.integers(1, 6)))]
    for _ in range(draw(st.integers(0, 40))):
        base = hashes[rng.integers(len(hashes))]
        for bit in rng.choice(64, rng.integers(0, 9), replace=False):
            base ^= 1 << int(bit)
        hashes.append(base)
    return hashes


@settings(deadline=None, max_examples=150)
@given(hashes=clustered(), distance=st.integers(0, 16))
def test_near_groups_are_those_of_comparing_all(hashes, distance):
    found = near_groups(np.array(hashes, dtype=np.uint64), distance=distance)
    assert found.tolist() == groups_by_comparing_all(hashes, distance)


def test_near_groups_of_many_equal_hashes_need_no_pairs():
    hashes = np.zeros(200_000, dtype=np.uint64)
    hashes[7] = 2**64 - 1
    found = near_groups(hashes, distance=4)
    assert found[7] == 1 and found.sum() == 1


def test_near_groups_of_nothing():
    assert len(near_groups(np.zeros(0, dtype=np.uint64), distance=4)) == 0


@pytest.mark.parametrize("count", [20_000])
def test_near_groups_compare_few_of_many(count):
    """All pairs would be 200 million, with a loop for each more than a minute."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    hashes[1::100] = hashes[::100] ^ np.uint64(2**63 + 2**31 + 1)
    found = near_groups(hashes, distance=4)
    assert found.max() + 1 == count - count // 100
    assert (found[1::100] == found[::100]).all()


@settings(deadline=None)
@given(
    st.integers(1, 12).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(-1, 4), min_size=n, max_size=n), min_size=1, max_size=3
        )
    )
)
def test_joined_groups_join_what_any_numbering_joins(numberings):
    found = joined_groups(*(np.array(each) for each in numberings))
    count = len(numberings[0])
    together = {(one, one) for one in range(count)} | {
        (one, other)
        for numbers in numberings
        for one in range(count)
        for other in range(count)
        if numbers[one] == numbers[other] >= 0
    }
    for _ in range(count):  # the transitive closure
        together |= {(a, d) for a, b in together for c, d in together if b == c}
    assert together == {(a, b) for a in range(count) for b in range(count) if found[a] == found[b]}
    assert found[0] == 0 and set(found) == set(range(found.max() + 1))
