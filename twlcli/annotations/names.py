"""Millions of names in one block of memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import overload

import numpy as np
from numpy.typing import NDArray

_ERRORS = "surrogatepass"  # names of files that are no text have lone surrogates
_AT_ONCE = 1 << 14  # names that are Python objects at a time
_MOST_SORTED = 1 << 32  # bytes that sorting may take


class Names(Sequence[str]):
    """N texts as UTF-8 in one block, instead of a Python object for each.

    A name is made when it is asked for. So millions of names take little more than their bytes, and
    processes that are forked share them: nothing of them is written to.

    Example:
        >>> names = Names.of(["b.jpg", "a.jpg", "c.jpg"])
        >>> names[1], list(names.select(names.order())), names == ("b.jpg", "a.jpg", "c.jpg")
        ('a.jpg', ['a.jpg', 'b.jpg', 'c.jpg'], True)
    """

    __hash__ = None  # type: ignore[assignment]  # as it equals tuples, whose hash it has not

    def __init__(self, text: bytes, starts: NDArray[np.int64], lengths: NDArray[np.int32]) -> None:
        self._text = text  # of each name, with a line break behind it
        self._starts = starts
        self._lengths = lengths

    @classmethod
    def of(cls, names: Iterable[str]) -> Names:
        """These names; the same object where they are `Names` already."""
        if isinstance(names, Names):
            return names
        return cls.joined(cls._of_few(some) for some in _batches(names))

    @classmethod
    def _of_few(cls, names: Sequence[str]) -> Names:
        text = "\n".join(names) + "\n"
        each = names if text.isascii() else [name.encode("utf-8", _ERRORS) for name in names]
        lengths = np.fromiter(map(len, each), dtype=np.int32, count=len(each))
        starts = np.cumsum(lengths + 1, dtype=np.int64) - (lengths + 1)
        return cls(text.encode("utf-8", _ERRORS), starts, lengths)

    @classmethod
    def joined(cls, parts: Iterable[Names]) -> Names:
        """The names of several parts behind each other."""
        texts, starts, lengths, before = list[bytes](), [], [], 0
        for part in parts:
            texts.append(part._text)
            starts.append(part._starts + before)
            lengths.append(part._lengths)
            before += len(part._text)
        return cls(
            b"".join(texts),
            np.concatenate([np.empty(0, dtype=np.int64), *starts]),
            np.concatenate([np.empty(0, dtype=np.int32), *lengths]),
        )

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Names: ...
    def __getitem__(self, index: int | slice) -> str | Names:
        if isinstance(index, slice):
            return Names(self._text, self._starts[index], self._lengths[index])
        start = int(self._starts[index])
        return self._text[start : start + int(self._lengths[index])].decode("utf-8", _ERRORS)

    def __iter__(self) -> Iterator[str]:
        for some in self.blocks():
            names = some.lines().split("\n")
            # Names with line breaks in them are more than they should be.
            yield from names if len(names) == len(some) else map(some.__getitem__, range(len(some)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Names | tuple):
            return NotImplemented
        return len(self) == len(other) and all(map(str.__eq__, self, other))

    def __repr__(self) -> str:
        more = ", ..." if len(self) > 3 else ""
        return f"Names({', '.join(map(repr, self[:3]))}{more})"

    def select(self, rows: NDArray[np.integer]) -> Names:
        """Some of the names, in the order given; the block of memory is shared."""
        return Names(self._text, self._starts[rows], self._lengths[rows])

    def with_more(self, names: Iterable[str]) -> Names:
        """These names, and others behind them."""
        return Names.joined((self, Names.of(names)))

    def may_hold(self, text: str) -> bool:
        """Whether a text may be in any name; where not, it is in none."""
        return text.encode("utf-8", _ERRORS) in self._text

    def lines(self) -> str:
        """All names with a line break between each two."""
        return self._lines().decode("utf-8", _ERRORS)

    def _lines(self) -> bytes:
        if not len(self):
            return b""
        sizes = self._lengths.astype(np.int64) + 1
        ends = np.cumsum(sizes)
        text = np.frombuffer(self._text, dtype=np.uint8)
        if (self._starts[1:] == self._starts[:-1] + sizes[:-1]).all():
            text = text[self._starts[0] : self._starts[0] + ends[-1]]
        else:
            text = text[np.arange(ends[-1]) + np.repeat(self._starts - ends + sizes, sizes)]
        return text[:-1].tobytes()

    def blocks(self) -> Iterator[Names]:
        """The names, some thousands at a time."""
        for first in range(0, len(self), _AT_ONCE):
            yield self[first : first + _AT_ONCE]

    def order(self) -> NDArray[np.int64]:
        """The places (N,) of the names in ascending order; those of equal ones as they come."""
        width = int(self._lengths.max(initial=1))
        if b"\0" in self._text or len(self) * width > _MOST_SORTED:
            names = tuple(self)
            return np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)
        # The bytes of UTF-8 have the order of the characters; NumPy fills up with NUL.
        padded = np.empty(len(self), dtype=f"S{width}")
        for first in range(0, len(self), _AT_ONCE):
            some = self[first : first + _AT_ONCE]
            encoded = some._lines().split(b"\n")
            if len(encoded) != len(some):  # line breaks in them
                encoded = [name.encode("utf-8", _ERRORS) for name in some]
            padded[first : first + _AT_ONCE] = encoded
        return padded.argsort(kind="stable").astype(np.int64)


def _batches(names: Iterable[str]) -> Iterator[tuple[str, ...]]:
    rest = iter(names)
    while some := tuple(islice(rest, _AT_ONCE)):
        yield some
