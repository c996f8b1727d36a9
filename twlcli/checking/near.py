"""Perceptual hashes that differ in a few bits only, found without comparing all of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.split import numbered

BITS = 64

Rows = NDArray[np.int64]


def near_groups(hashes: NDArray[np.uint64], *, distance: int) -> Rows:
    """Number the groups of hashes that are near each other.

    Hashes within the Hamming distance are in the same group, and so are those that a chain of such
    pairs connects. The 64 bits are cut into `distance` + 1 bands: of two hashes that differ in at
    most so many bits, at least one band is equal (Manku, Jain and Das Sarma, "Detecting
    Near-Duplicates for Web Crawling", WWW 2007). So only hashes that share a band are compared, and
    the memory needed is a few times that of the hashes, however many pairs there are.

    Args:
        hashes: (N,) uint64.
        distance: how many bits may differ, from 0 to 63.

    Returns:
        (N,) numbers from 0, in the order of the groups' first hashes.

    Example:
        >>> near_groups(np.array([0, 2**40 - 1, 3, 2**40], dtype=np.uint64), distance=2)
        array([0, 1, 0, 0])
    """
    distinct, of_row = np.unique(hashes, return_inverse=True)
    groups = _Groups(len(distinct))
    edges = np.linspace(0, BITS, distance + 2).astype(np.uint64)
    for low, high in pairwise(edges):
        band = (distinct >> low) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(band, kind="stable")
        _join_within_bands(groups, distinct[order], band[order], order, distance=distance)
    return numbered(groups.root[of_row])


def _join_within_bands(
    groups: _Groups,
    hashes: NDArray[np.uint64],
    band: NDArray[np.uint64],
    order: Rows,
    *,
    distance: int,
) -> None:
    """Join hashes that are near; they are sorted by band, so equal bands stand together."""
    left = np.arange(len(hashes))
    step = 0
    while len(left):
        step += 1
        left = left[left + step < len(hashes)]
        left = left[band[left] == band[left + step]]
        near = left[_ones(hashes[left] ^ hashes[left + step]) <= distance]
        groups.join(order[near], order[near + step])


def joined_groups(*numberings: Rows) -> Rows:
    """Number the groups that arise where items are together that any numbering has together.

    Args:
        numberings: each (N,) numbers; a negative one is an item that is alone.

    Returns:
        (N,) numbers from 0, in the order of the groups' first items.

    Example:
        >>> joined_groups(np.array([0, 0, 1, -1, -1]), np.array([0, 1, 1, 2, 3]))
        array([0, 0, 0, 1, 2])
    """
    groups = _Groups(len(numberings[0]))
    for numbers in numberings:
        rows = np.flatnonzero(numbers >= 0)
        rows = rows[np.argsort(numbers[rows], kind="stable")]
        together = numbers[rows[1:]] == numbers[rows[:-1]]
        groups.join(rows[:-1][together], rows[1:][together])
    return numbered(groups.root)


class _Groups:
    """Items in disjoint sets; each knows the root of its own."""

    def __init__(self, count: int) -> None:
        self.root: Rows = np.arange(count)

    def join(self, left: Rows, right: Rows) -> None:
        """Put each of `left` into one set with the item beside it in `right`."""
        apart = self.root[left] != self.root[right]
        if not apart.any():
            return
        for one, other in zip(left[apart].tolist(), right[apart].tolist(), strict=True):
            first, second = sorted((self._find(one), self._find(other)))
            self.root[second] = first
        while not np.array_equal(above := self.root[self.root], self.root):
            self.root = above

    def _find(self, item: int) -> int:
        while (above := int(self.root[item])) != item:
            self.root[item] = self.root[above]
            item = above
        return item


def _ones(numbers: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """How many bits are 1, by sums of 1, 2, 4 and more bits (Warren, Hacker's Delight)."""
    pairs = numbers - ((numbers >> np.uint64(1)) & np.uint64(0x5555555555555555))
    nibbles = (pairs & np.uint64(0x3333333333333333)) + (
        (pairs >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    octets = (nibbles + (nibbles >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    counts: NDArray[np.uint64] = (octets * np.uint64(0x0101010101010101)) >> np.uint64(56)
    return counts.astype(np.uint8)
