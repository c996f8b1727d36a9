"""Texts of which many are the same, such as the split of each of millions of images."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 1 << 16  # texts that are in a list at a time


class Categories(Sequence[str]):
    """N texts as numbers (N,): which of a few different texts each is.

    Example:
        >>> splits = Categories.of(["train", "val", "train"])
        >>> splits[1], splits.different(), splits == ("train", "val", "train")
        ('val', ('train', 'val'), True)
    """

    __hash__ = None  # type: ignore[assignment]  # as it equals tuples, whose hash it has not

    def __init__(self, texts: tuple[str, ...], numbers: NDArray[np.int32]) -> None:
        self._texts = texts  # each once; some may not occur
        self.numbers = numbers

    @classmethod
    def of(cls, texts: Iterable[str]) -> Categories:
        """These texts; the same object where they are `Categories` already."""
        if isinstance(texts, Categories):
            return texts
        number_of: dict[str, int] = {}
        numbers = [number_of.setdefault(text, len(number_of)) for text in texts]
        return cls(tuple(number_of), np.array(numbers, dtype=np.int32))

    @classmethod
    def repeated(cls, text: str, count: int) -> Categories:
        """The same text so many times."""
        return cls((text,), np.zeros(count, dtype=np.int32))

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Categories: ...
    def __getitem__(self, index: int | slice) -> str | Categories:
        if isinstance(index, slice):
            return Categories(self._texts, self.numbers[index])
        return self._texts[int(self.numbers[index])]

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _AT_ONCE):
            some = self.numbers[first : first + _AT_ONCE].tolist()
            yield from map(self._texts.__getitem__, some)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Categories | tuple):
            return NotImplemented
        return len(self) == len(other) and all(map(str.__eq__, self, other))

    def __repr__(self) -> str:
        more = ", ..." if len(self) > 3 else ""
        return f"Categories({', '.join(map(repr, self[:3]))}{more})"

    def different(self) -> tuple[str, ...]:
        """Each text once, in order of first appearance."""
        first = np.full(len(self._texts), len(self))
        first[self.numbers[::-1]] = np.arange(len(self))[::-1]  # the last one written stays
        order = np.argsort(first, kind="stable")
        return tuple(self._texts[at] for at in order if first[at] < len(self))

    def are_in(self, texts: Collection[str]) -> NDArray[np.bool_]:
        """Which (N,) of them are among some texts."""
        wanted = [text in texts for text in self._texts]
        return np.array(wanted, dtype=np.bool_)[self.numbers]

    def select(self, rows: NDArray[np.integer]) -> Categories:
        """Some of the texts, in the order given."""
        return Categories(self._texts, self.numbers[rows])

    def replaced(self, rows: NDArray[np.integer], text: str) -> Categories:
        """The same with another text in some places."""
        texts = tuple(dict.fromkeys((*self._texts, text)))
        numbers = self.numbers.copy()
        numbers[rows] = texts.index(text)
        return Categories(texts, numbers)
