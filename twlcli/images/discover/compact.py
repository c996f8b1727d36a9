"""Collections for the names in a large tree of folders, in little memory."""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left
from collections.abc import Hashable, Iterator

import numpy as np

_FEW = 1024  # hashes that the set holds at least before they move into the array


class CompactSet:
    """Remembers things by 64-bit hashes: about 20 bytes for each, where a set of them takes 72.

    Most hashes lie in a sorted array, the latest ones in a set. Two things are the same by chance
    once in 30 million runs over a million.

    Example:
        >>> seen = CompactSet()
        >>> [seen.adds(thing) for thing in ("a", "b", "a")]
        [True, True, False]
    """

    def __init__(self) -> None:
        self._sorted = array("q")
        self._latest: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._latest)

    def adds(self, thing: Hashable) -> bool:
        """Take note of a thing; whether it is new."""
        number = hash(thing)
        if number in self._latest:
            return False
        place = bisect_left(self._sorted, number)
        if place < len(self._sorted) and self._sorted[place] == number:
            return False
        self._latest.add(number)
        if len(self._latest) >= max(_FEW, len(self._sorted) // 8):
            latest = np.fromiter(self._latest, np.int64, len(self._latest))
            together = np.sort(np.concatenate([np.frombuffer(self._sorted, np.int64), latest]))
            self._sorted = array("q", together.tobytes())
            self._latest.clear()
        return True


_RUN = 4096  # names that are sorted and packed together
_END = "\0"  # of a name; no name holds it


class SortedNames:
    """Takes names in any order and gives them back sorted, in the memory of their characters.

    They are sorted in runs; each is packed into one string, and all are merged as they are drawn.
    A list of 100,000 names takes 7 MB and more; here they take about one.

    Example:
        >>> names = SortedNames()
        >>> for name in ("b.jpg", "c.jpg", "a.jpg"):
        ...     names.add(name)
        >>> list(names)
        ['a.jpg', 'b.jpg', 'c.jpg']
    """

    def __init__(self) -> None:
        self._packed: list[str] = []
        self._latest: list[str] = []

    def add(self, name: str) -> None:
        """Take a name."""
        self._latest.append(name)
        if len(self._latest) == _RUN:
            self._packed.append(_END.join([*sorted(self._latest), ""]))
            self._latest.clear()

    def __iter__(self) -> Iterator[str]:
        return heapq.merge(*map(_unpacked, self._packed), sorted(self._latest))


def _unpacked(packed: str) -> Iterator[str]:
    start = 0
    while (end := packed.find(_END, start)) >= 0:
        yield packed[start:end]
        start = end + 1
