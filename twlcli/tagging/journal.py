"""What has been done already: one SQLite file from which an interrupted run goes on.

The journal is a cache of what the model said of images. A run with a journal draws all files anew,
takes what stands here, computes the others, and writes its outputs from the beginning: none is lost
and none comes twice, wherever the run before was killed. What thresholds and tag rules make of it
is not stored, so that others need no new prediction.

A row is committed after the sidecars of its image are written, the rows of a chunk together. The
file is in SQLite's write-ahead mode without a sync per commit: a killed process loses no committed
row, a power cut may lose the last ones, and they are computed again.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from itertools import chain
from pathlib import Path

from twlcli.errors import TwlError
from twlcli.images.image_file import Failure
from twlcli.labels import Vocabulary
from twlcli.tagging.fingerprint import Identity, Written
from twlcli.tagging.tags import Scores

APPLICATION_ID = 0x74776C6A  # "twlj", in the header of the file
LAYOUT = 1  # of the tables

_TABLES = (
    "CREATE TABLE runs (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, model TEXT NOT NULL)",
    """CREATE TABLE rows (
        run INTEGER NOT NULL, name BLOB NOT NULL,
        size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, offset INTEGER NOT NULL, sha256 BLOB,
        tags BLOB, reason BLOB, PRIMARY KEY (run, name)
    ) WITHOUT ROWID""",
    """CREATE TABLE sidecars (
        name BLOB NOT NULL, kind TEXT NOT NULL, content BLOB NOT NULL,
        size INTEGER, mtime_ns INTEGER, PRIMARY KEY (name, kind)
    ) WITHOUT ROWID""",
    """CREATE TABLE outputs (
        path BLOB PRIMARY KEY, run INTEGER NOT NULL, size INTEGER, mtime_ns INTEGER,
        pending INTEGER NOT NULL
    ) WITHOUT ROWID""",
)
_FIND = "SELECT name, size, mtime_ns, offset, sha256, tags, reason FROM rows WHERE run = ? AND name"
_KEEP = "INSERT OR REPLACE INTO rows VALUES"
_BESIDE = "INSERT OR REPLACE INTO sidecars VALUES"
_DAMAGED = "journal is corrupt ({}); delete it to start over"

Entry = Scores | Failure

# Rows in one statement. Each call of SQLite gives the interpreter away and has to wait for it while
# the workers are busy: with a call for each row 20,000 tiny images took twice as long.
_AT_ONCE = 64


@contextmanager
def open_journal(
    path: Path,
    key: bytes,
    vocabulary: Vocabulary,
    *,
    outputs_key: bytes | None = None,
    model: str = "",
) -> Iterator[Journal]:
    """The journal at `path`, made where there is none, and locked until the block ends.

    A journal in which nothing stands is removed when the block ends by a TwlError.

    Args:
        path: the file.
        key: of what decides the scores; those of other keys stay in the file, unseen.
        vocabulary: the model's labels.
        outputs_key: of what decides the outputs too; None for `key`.
        model: what the run is called in the file, for people who look into it.

    Raises:
        TwlError: the file is not a journal, is one of another twl, is in use, or cannot be written.
    """
    with _one_line(path):
        # Without the parent's check SQLite says no more than "unable to open database file".
        if not path.parent.is_dir():
            raise TwlError(f"{path}: there is no folder {path.parent}")
        connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        with _one_line(path):
            _prepare(connection, path)
            run = _run(connection, key, model)
            output_run = run if outputs_key is None else _run(connection, outputs_key, model)
        journal = Journal(connection, path, run, vocabulary, output_run=output_run)
        try:
            yield journal
        except TwlError:
            with suppress(OSError, sqlite3.Error):
                if journal.is_empty():
                    connection.execute("PRAGMA journal_mode = DELETE")  # ends the files beside it
                    path.unlink()
            raise
    finally:
        connection.close()


@contextmanager
def open_notes(path: Path) -> Iterator[Journal]:
    """What the journal at `path` says of files beside images; no rows are looked up in it.

    Raises:
        TwlError: as `open_journal`; or there is none.
    """
    if not path.is_file():
        raise TwlError(f"{path}: no such journal")
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        with _one_line(path):
            _prepare(connection, path)
        yield Journal(connection, path, 0, Vocabulary(()), output_run=0)


class Journal:
    """The rows of one run in an open journal; see `open_journal`. For one thread."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        run: int,
        vocabulary: Vocabulary,
        *,
        output_run: int,
    ) -> None:
        self._connection = connection
        self._run = run
        self._output_run = output_run
        self._labels = vocabulary.names
        self._columns = {label: column for column, label in enumerate(vocabulary)}
        self.path = path

    def is_empty(self) -> bool:
        """Whether nothing is known of any image, by this run or any other of this journal."""
        query = "SELECT EXISTS (SELECT 1 FROM rows) OR EXISTS (SELECT 1 FROM sidecars)"
        (found,) = self._connection.execute(query).fetchone()
        return not found

    def find(self, files: Sequence[tuple[str, Identity | None]]) -> list[Entry | None]:
        """The rows of files, each where there is one and the file has not changed since.

        Args:
            files: their names, and what they are like now; None where that cannot be told.
        """
        found: dict[bytes, tuple[Identity, bytes | None, bytes | None]] = {}
        for start in range(0, len(files), _AT_ONCE):
            names = [os.fsencode(name) for name, _ in files[start : start + _AT_ONCE]]
            query = f"{_FIND} IN ({','.join('?' * len(names))})"
            with _one_line(self.path):
                rows = self._connection.execute(query, (self._run, *names)).fetchall()
            for name, *stored, tags, reason in rows:
                found[name] = Identity(*stored), tags, reason
        return [self._row(name, now, found.get(os.fsencode(name))) for name, now in files]

    def _row(
        self,
        name: str,
        now: Identity | None,
        found: tuple[Identity, bytes | None, bytes | None] | None,
    ) -> Entry | None:
        if found is None or now is None:
            return None
        stored, tags, reason = found
        if not now.same(stored):
            return None
        try:
            if tags is not None:
                return self._unpack(name, tags)
            return Failure(name, (reason or b"").decode("utf-8", "surrogatepass"))
        except (
            struct.error,
            zlib.error,
            IndexError,
            TypeError,
            ValueError,
            AttributeError,
        ) as error:
            raise TwlError(f"{self.path}: {_DAMAGED.format(f'the row of {name!a}')}") from error

    def written(self, name: str, kind: str) -> Written | None:
        """What was last written beside an image, by this run or any other of this journal."""
        query = "SELECT content, size, mtime_ns FROM sidecars WHERE name = ? AND kind = ?"
        with _one_line(self.path):
            found = self._connection.execute(query, (os.fsencode(name), kind)).fetchone()
        if found is None:
            return None
        content, size, mtime_ns = found
        return Written(name, kind, content, None if size is None else (size, mtime_ns))

    def all_written(self, kinds: Iterable[str]) -> list[Written]:
        """All that was written beside images, of kinds that begin so."""
        query = "SELECT name, kind, content, size, mtime_ns FROM sidecars ORDER BY name, kind"
        with _one_line(self.path):
            found = self._connection.execute(query).fetchall()
        return [
            Written(os.fsdecode(name), kind, content, None if size is None else (size, mtime_ns))
            for name, kind, content, size, mtime_ns in found
            if kind.partition(":")[0] in kinds
        ]

    def forget(self, written: Written) -> None:
        """Do as if something had never been written beside its image."""
        query = "DELETE FROM sidecars WHERE name = ? AND kind = ?"
        with _one_line(self.path):
            self._connection.execute(query, (os.fsencode(written.name), written.kind))

    def commit(
        self, rows: Iterable[tuple[Identity, Entry]], sidecars: Iterable[Written] = ()
    ) -> None:
        """Keep rows, each with the file it came from as it was, and what was written beside them.

        All of it or nothing.
        """
        records = [self._record(identity, row) for identity, row in rows]
        written = [
            (os.fsencode(each.name), each.kind, each.content, *(each.status or (None, None)))
            for each in sidecars
        ]
        statements = [*_inserts(_KEEP, records), *_inserts(_BESIDE, written)]
        # A statement alone is a transaction of its own.
        together = _transaction(self._connection) if len(statements) > 1 else nullcontext()
        with _one_line(self.path), together:
            for statement, values in statements:
                self._connection.execute(statement, values)

    def begin(self, outputs: Iterable[Path]) -> None:
        """Note that these files are about to be written from this run's rows."""
        with _one_line(self.path), _transaction(self._connection):
            for path in outputs:
                self._connection.execute(
                    "INSERT INTO outputs VALUES (?1, ?2, NULL, NULL, 1) ON CONFLICT (path) "
                    "DO UPDATE SET run = ?2, pending = 1",
                    (_key(path), self._output_run),
                )

    def finish(self, outputs: Iterable[Path]) -> None:
        """Note what these files are like, now that they are complete."""
        with _one_line(self.path), _transaction(self._connection):
            for path in outputs:
                status = path.stat()
                self._connection.execute(
                    "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, 0)",
                    (_key(path), self._output_run, status.st_size, status.st_mtime_ns),
                )

    def made(self, output: Path, partial: Path) -> bool:
        """Whether `output` came from this run's rows and nobody has changed it since.

        Args:
            output: a file that exists.
            partial: where its rows lie until it is complete.
        """
        query = "SELECT size, mtime_ns, pending FROM outputs WHERE path = ? AND run = ?"
        with _one_line(self.path):
            found = self._connection.execute(query, (_key(output), self._output_run)).fetchone()
        if found is None:
            return False
        size, mtime_ns, pending = found
        status = output.stat()
        # Killed after the partial file got its final name and before that could be noted.
        renamed = bool(pending) and not partial.exists()
        return renamed or (size, mtime_ns) == (status.st_size, status.st_mtime_ns)

    def _record(self, now: Identity, row: Entry) -> tuple[object, ...]:
        tags, reason = None, None
        if isinstance(row, Failure):
            reason = row.reason.encode("utf-8", "surrogatepass")
        else:
            tags = self._pack(row)
        numbers = now.size, now.mtime_ns, now.offset, now.sha256
        return self._run, os.fsencode(row.image), *numbers, tags, reason

    def _pack(self, scores: Scores) -> bytes:
        """Columns as uint32, probabilities as float32, then `rest` if there is one; compressed."""
        count = len(scores.labels)
        columns = (self._columns[label] for label in scores.labels)
        rest = () if scores.rest is None else (scores.rest,)
        form = f"<{count}I{count + len(rest)}f"
        return zlib.compress(struct.pack(form, *columns, *scores.probabilities, *rest), 1)

    def _unpack(self, name: str, data: bytes) -> Scores:
        unpacked = zlib.decompress(data)
        count, rest = divmod(len(unpacked) // 4, 2)
        values = struct.unpack(f"<{count}I{count + rest}f", unpacked)
        labels = tuple(self._labels[column] for column in values[:count])
        return Scores(name, labels, values[count : 2 * count], values[-1] if rest else None)


def _inserts(
    into: str, rows: Sequence[tuple[object, ...]]
) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Statements that insert rows, and their values."""
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        marks = f"({','.join('?' * len(some[0]))})"
        yield f"{into} {','.join([marks] * len(some))}", tuple(chain.from_iterable(some))


def _key(path: Path) -> bytes:
    return os.fsencode(path.absolute())


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Lock the file, see that it is a journal, and make the tables in an empty one."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (layout,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and tables:
        raise TwlError(f"{path}: is an SQLite file, but not a journal of twl")
    if tables and layout != LAYOUT:
        raise TwlError(
            f"{path}: is the journal of another version of twl (layout {layout}; this one reads "
            f"{LAYOUT}); delete it to start over",
            hint="{journal} names another",
        )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    with _transaction(connection):
        if not tables:
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {LAYOUT}")


def _run(connection: sqlite3.Connection, key: bytes, model: str) -> int:
    text = model.encode("utf-8", "backslashreplace").decode()
    connection.execute("INSERT OR IGNORE INTO runs (key, model) VALUES (?, ?)", (key, text))
    (run,) = connection.execute("SELECT id FROM runs WHERE key = ?", (key,)).fetchone()
    return int(run)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:  # Ctrl-C too: half a chunk must not be committed with the next
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:  # in the names of the tables, or in SQLite's own message
        raise TwlError(f"{path}: {_DAMAGED.format(error)}") from error
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary one
        hint = "{journal} names another file"
        if code == sqlite3.SQLITE_BUSY:
            text = "is in use by another run of twl; wait until it ends"
        elif code == sqlite3.SQLITE_NOTADB:
            text = "is not a journal; delete it"
        elif code == sqlite3.SQLITE_CORRUPT:
            text, hint = _DAMAGED.format(error), ""
        elif code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            text = f"the journal cannot be written ({error}); is the disk full?"
        else:
            text = f"the journal cannot be used ({error})"
        raise TwlError(f"{path}: {text}", hint=hint) from error
