"""An object of a store as a file that is read here and there."""

from __future__ import annotations

import io
from functools import partial

from twlcli.stores.faults import tried
from twlcli.stores.store import StoredObject

_LEAST, _MOST = 1 << 16, 1 << 22  # bytes of one request
_NEAR = 8  # blocks: what is read so near behind the last one came in passing


class Ranges(io.RawIOBase):
    """An object that is read by ranges; a block at a time is kept.

    The blocks grow while what is asked for lies near, so that the headers of a tar of small members
    come many at a time, and stay small where it jumps over large ones.
    """

    def __init__(self, found: StoredObject, size: int) -> None:
        self._found = found
        self._size = size
        self._place = 0
        self._start = 0
        self._block = b""
        self._length = _LEAST

    def seekable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next byte comes from."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte; as for files."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("before the first byte")
        self._place = base + offset
        return self._place

    def read(self, size: int = -1) -> bytes:
        """So many bytes, fewer at the end.

        Raises:
            StoreError: they cannot be had.
        """
        end = self._size if size < 0 else min(self._place + size, self._size)
        if end <= self._place:
            return b""
        if not self._start <= self._place <= end <= self._start + len(self._block):
            self._fill(end)
        content = self._block[self._place - self._start : end - self._start]
        self._place = end
        return content

    def _fill(self, end: int) -> None:
        near = 0 <= self._place - self._start <= _NEAR * self._length
        self._length = min(2 * self._length, _MOST) if near and self._block else _LEAST
        last = min(max(end, self._place + self._length), self._size)
        read = partial(self._found.store.read, self._found.path, self._place, last)
        self._block, self._start = tried(read), self._place
