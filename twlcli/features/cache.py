"""Features on disk, so that no image goes through a network twice.

A cache is a folder with one folder for each network:

about.json      the network, its preprocessing and the number of features
network.onnx    the network without its head, where it runs in ONNX Runtime
index.sqlite    for each view of each image its file's size and time, and the row of its features
features.f32    rows of float32

Rows are written before the index names them, and none is ever changed: whenever a process ends,
what the index names is whole. Several processes may add to a cache at once.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import TwlError
from twlcli.features.about import About
from twlcli.images.identity import Identity
from twlcli.io import locked_folder, write_errors, write_whole
from twlcli.stores.folders import cache_folder

ABOUT_NAME, INDEX_NAME, ROWS_NAME = "about.json", "index.sqlite", "features.f32"
NETWORK_NAME = "network.onnx"
_TABLE = """CREATE TABLE IF NOT EXISTS images (
    path BLOB NOT NULL, view INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    place INTEGER NOT NULL, PRIMARY KEY (path, view)
) WITHOUT ROWID"""
_WAIT = 60.0  # seconds for another process to write its rows
_ABANDONED = 24 * 60 * 60.0  # seconds
_AT_ONCE = 1024  # rows copied in one go

Key = tuple[bytes, int]  # an image's absolute path and the number of the view


def default_folder() -> Path:
    """Where features are kept unless another folder is named: with the user's other caches.

    Raises:
        TwlError: there is no home folder.
    """
    try:
        return cache_folder() / "features"
    except TwlError:
        raise TwlError(
            "features are kept in the home folder, and there is none",
            hint="{features} names another folder",
        ) from None


class FeatureCache:
    """One network's features, open for reading and adding. For one thread."""

    def __init__(self, folder: Path, about: About) -> None:
        """Open the features of a network in a cache, or begin with none.

        Args:
            folder: of the cache; made where it is not there.
            about: the network.

        Raises:
            TwlError: they cannot be opened, or are damaged.
        """
        self.folder = folder / about.key
        self.about = about
        with ExitStack() as held, write_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            held.enter_context(locked_folder(self.folder, shared=True))
            self._remove_abandoned()
            write_whole(self.folder / ABOUT_NAME, lambda file: file.write(about.to_json().encode()))
            self._rows = os.open(self.folder / ROWS_NAME, os.O_RDWR | os.O_CREAT | _BINARY, 0o600)
            held.callback(os.close, self._rows)
            self._index = connect(self.folder / INDEX_NAME)
            held.callback(self._index.close)
            with index_errors(self.folder / INDEX_NAME), self._transaction():
                self._forget_lost()
            self._known = self._read_index()
            self._held = held.pop_all()

    def _remove_abandoned(self) -> None:
        """Remove what processes that were killed left half-written, but for what is new."""
        for path in self.folder.glob(".*.tmp"):
            with suppress(FileNotFoundError):
                if time.time() - path.lstat().st_mtime > _ABANDONED:
                    path.unlink()

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._held.close()

    @property
    def network(self) -> Path:
        """Where the network without its head lies, or will."""
        return self.folder / NETWORK_NAME

    def place(self, key: Key, identity: Identity | None) -> int | None:
        """The row of an image's features; None where there is none of the file as it is now."""
        known = self._known.get(key)
        if known is None or identity is None or known[0] != (identity.size, identity.mtime_ns):
            return None
        return known[1]

    def add(
        self, keys: Sequence[Key], identities: Sequence[Identity], features: NDArray[np.float32]
    ) -> None:
        """Keep the features (n, D) of n views; those of a file that has changed are replaced.

        Raises:
            TwlError: the disk is full, or another process does not let go of the index.
        """
        row_bytes = 4 * self.about.width
        with write_errors(self.folder), index_errors(self.folder / INDEX_NAME), self._transaction():
            self._forget_lost()
            ((first,),) = self._index.execute("SELECT ifnull(max(place) + 1, 0) FROM images")
            os.lseek(self._rows, first * row_bytes, os.SEEK_SET)
            data = memoryview(features.astype(np.float32, copy=False).tobytes())
            while data:
                data = data[os.write(self._rows, data) :]
            os.fsync(self._rows)
            self._index.executemany(
                "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?)",
                [
                    (*key, identity.size, identity.mtime_ns, first + number)
                    for number, (key, identity) in enumerate(zip(keys, identities, strict=True))
                ],
            )
        for number, (key, identity) in enumerate(zip(keys, identities, strict=True)):
            self._known[key] = (identity.size, identity.mtime_ns), first + number

    def read(self, places: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """Copy rows (n) into `out` (n, D)."""
        if not len(places):
            return
        count = os.fstat(self._rows).st_size // (4 * self.about.width)
        rows = np.memmap(
            self.folder / ROWS_NAME, np.float32, mode="r", shape=(count, self.about.width)
        )
        for start in range(0, len(places), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            out[part] = rows[places[part]]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Do all that the block does in the index, or nothing; no other process adds meanwhile."""
        self._index.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):  # of a full disk SQLite has done so itself
                self._index.execute("ROLLBACK")
            raise
        self._index.execute("COMMIT")

    def _forget_lost(self) -> None:
        """Take out of the index what a file that was cut short has no rows for any more."""
        count = os.fstat(self._rows).st_size // (4 * self.about.width)
        self._index.execute("DELETE FROM images WHERE NOT place BETWEEN 0 AND ?", (count - 1,))

    def _read_index(self) -> dict[Key, tuple[tuple[int, int], int]]:
        """What the index names."""
        with index_errors(self.folder / INDEX_NAME):
            rows = self._index.execute("SELECT path, view, size, mtime_ns, place FROM images")
            return {
                (path, view): ((size, mtime_ns), place)
                for path, view, size, mtime_ns, place in rows
            }


_BINARY = getattr(os, "O_BINARY", 0)  # of Windows


def connect(path: Path) -> sqlite3.Connection:
    """The index, with its table.

    Raises:
        TwlError: it is not one, or cannot be opened.
    """
    with index_errors(path):
        connection = sqlite3.connect(path, timeout=_WAIT, isolation_level=None)
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            _use_write_ahead_log(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_TABLE)
        except BaseException:
            connection.close()
            raise
    return connection


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Two processes that ask for it at once may be refused, and SQLite does not wait for that."""
    deadline = time.monotonic() + _WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def index_errors(path: Path) -> Iterator[None]:
    """SQLite's errors in one line."""
    try:
        yield
    except sqlite3.Error as error:
        raise TwlError(
            f"{path}: the index of features cannot be used ({error})",
            hint=f"remove {path.parent}: the features are computed again",
        ) from error
