"""Objects fetched ahead of those who read them, into a private folder of bounded size."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from twlcli.errors import TwlError
from twlcli.stores.faults import StoppedError, StoreError
from twlcli.stores.fetch import Part, fetch, resolved
from twlcli.stores.scratch import PrivateFolder, private_folder
from twlcli.stores.store import StoredObject

THREADS = 32  # requests at once: at 50 ms each some 600 images a second
AHEAD = 96  # images that are fetched or wait for it
BYTES = 1 << 30  # of the folder; more only where one batch of images is larger
GONE_AFTER = 60.0  # seconds in which nothing could be fetched, and
GONE_FAILURES = 20  # so many objects in a row: then the store is gone
_LOOK = 0.2  # seconds after which a thread that waits looks whether the run has ended


class Spool:
    """A folder of fetched objects; each is removed by `release`, all when the block ends.

    Objects are let in by their numbers, so that those that are needed first never wait for those
    behind them.
    """

    def __init__(self, *, least: int, most_bytes: int, limit: int = BYTES) -> None:
        """Prepare the spool.

        Args:
            least: objects that may lie in it whatever their size: those of one batch.
            most_bytes: of one object; larger ones are refused.
            limit: bytes of all together.
        """
        self._least = least
        self._most_bytes = most_bytes
        self._limit = limit
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._sizes: dict[Path, int] = {}
        self._next = 0
        self._folder: PrivateFolder | None = None
        self._failed_in_a_row = 0
        self._reached = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove everything."""
        self.stop()
        if self._folder is not None:
            self._folder.cleanup()

    def stop(self) -> None:
        """Have everything end that is fetched now."""
        self._stop.set()

    def fetch(
        self, number: int, found: StoredObject, part: Part | None, suffix: str
    ) -> tuple[Path, StoredObject]:
        """Fetch an object.

        Args:
            number: its place among all that are fetched, from 0.
            found: the object; what is not known of it is asked for.
            part: what is wanted of it; None for all.
            suffix: of the file's name.

        Returns:
            The file, and the object as it was found.

        Raises:
            StoreError: it cannot be had.
            StoppedError: the block has ended.
            TwlError: the store is gone, or the disk full.
        """
        try:
            found = resolved(found, self._stop)
            size = (found.size or 0) if part is None else part.size
        except BaseException as error:
            self._admit(number, None, 0)
            self._note(found, error)
            raise
        target = self._path(number, suffix)
        self._admit(number, target, min(size, self._most_bytes))
        try:
            fetch(found, target, part=part, most=self._most_bytes, stop=self._stop)
        except BaseException as error:
            self.release(target)
            self._note(found, error)
            raise
        self._note(found, None)
        return target, found

    def release(self, path: Path) -> None:
        """Remove a fetched object; any other file is left as it is."""
        with self._changed:
            if self._sizes.pop(path, None) is None:
                return
            self._changed.notify_all()
        with suppress(OSError):
            path.unlink()

    def _path(self, number: int, suffix: str) -> Path:
        with self._changed:
            if self._folder is None:
                self._folder = private_folder()
            return Path(self._folder.name, f"{number}{suffix}")

    def _admit(self, number: int, target: Path | None, size: int) -> None:
        """Wait until it is this number's turn, and there is room for what it brings."""
        with self._changed:
            while self._next < number or (target is not None and self._is_full(size)):
                if self._stop.is_set():
                    raise StoppedError
                self._changed.wait(_LOOK)
            self._next += 1
            if target is not None:
                self._sizes[target] = size
            self._changed.notify_all()

    def _is_full(self, size: int) -> bool:
        return len(self._sizes) >= self._least and sum(self._sizes.values()) + size > self._limit

    def _note(self, found: StoredObject, error: BaseException | None) -> None:
        """Count failures of the network in a row.

        Raises:
            TwlError: there are so many, over so long a time, that the store is gone.
        """
        if not (isinstance(error, StoreError) and error.passing):
            if error is None or isinstance(error, StoreError):  # it has answered
                self._failed_in_a_row, self._reached = 0, time.monotonic()
            return
        self._failed_in_a_row += 1
        silent = time.monotonic() - self._reached
        if self._failed_in_a_row >= GONE_FAILURES and silent >= GONE_AFTER:
            raise TwlError(
                f"{found.address}: {error.message}; nothing could be fetched for {silent:.0f} "
                "seconds"
            ) from error
