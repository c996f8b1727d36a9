"""The SQLite file of a journal, opened so that one which somebody else has made can do no harm.

SQLite is a programming language: a database brings triggers, views and indexes that run when rows
are read or written, and a rollback journal beside it may name a file that SQLite then deletes. So
the file and those beside it are looked at before SQLite sees them, nothing but twl's own tables is
accepted, and no value and no statement is larger or longer than twl's own could be.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from twlcli.errors import TwlError, reason_of

APPLICATION_ID = 0x74776C6A  # "twlj", in the header of the file
LAYOUT = 1  # of the tables

_TABLES = {
    "runs": "CREATE TABLE runs (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, "
    "model TEXT NOT NULL)",
    "rows": """CREATE TABLE rows (
        run INTEGER NOT NULL, name BLOB NOT NULL,
        size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, offset INTEGER NOT NULL, sha256 BLOB,
        tags BLOB, reason BLOB, PRIMARY KEY (run, name)
    ) WITHOUT ROWID""",
    "sidecars": """CREATE TABLE sidecars (
        name BLOB NOT NULL, kind TEXT NOT NULL, content BLOB NOT NULL,
        size INTEGER, mtime_ns INTEGER, PRIMARY KEY (name, kind)
    ) WITHOUT ROWID""",
    "outputs": """CREATE TABLE outputs (
        path BLOB PRIMARY KEY, run INTEGER NOT NULL, size INTEGER, mtime_ns INTEGER,
        pending INTEGER NOT NULL
    ) WITHOUT ROWID""",
}
_SCHEMA = {("table", name, name, sql) for name, sql in _TABLES.items()}
_SCHEMA.add(("index", "sqlite_autoindex_runs_1", "runs", ""))  # SQLite's own, of UNIQUE

BESIDE = ("-wal", "-shm", "-journal")  # what SQLite has beside a database

# What one statement may do: a table of ten million rows is read in a third of it.
_STEPS_AT_ONCE = 1_000_000
_MOST_STEPS = 500  # times so many

_DAMAGED = "journal is corrupt ({}); delete it to start over"


class JournalFile:
    """An open journal, locked against other processes until it is closed. For one thread."""

    def __init__(self, path: Path, *, longest: int, own: bool) -> None:
        """Open the file, and make the tables in a new one.

        Args:
            path: the file.
            longest: bytes of a row, at most.
            own: whether it has to be the user's own; else whoever called has named it.

        Raises:
            TwlError: it is not a journal, is one of another twl or user, is in use, or cannot be
                written.
        """
        self.path = path
        self._steps = 0
        # Without the parent's check SQLite says no more than "unable to open database file".
        if not path.parent.is_dir():
            raise TwlError(f"{path}: there is no folder {path.parent}")
        if not os.access(path.parent, os.W_OK):  # SQLite writes beside it
            raise TwlError(
                f"{path}: the folder {path.parent} cannot be written",
                hint="{journal} names a file elsewhere",
            )
        with self._one_line():
            _check_files(path, own=own)
            # The file is there: SQLite makes none, wherever a link laid in its place leads.
            there = f"{path.absolute().as_uri()}?mode=rw"
            self._connection = sqlite3.connect(there, timeout=0, isolation_level=None, uri=True)
            try:
                self._limit(longest)
                self._prepare(own=own)
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()

    def remove(self) -> None:
        """Remove the file, with those beside it."""
        with suppress(OSError, TwlError):
            self.execute("PRAGMA journal_mode = MEMORY")  # ends the files beside it
            self.path.unlink()

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Everything that a statement yields.

        Raises:
            TwlError: it failed.
        """
        return list(self.rows(statement, values))

    def rows(self, statement: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """What a statement yields, row by row; as for `execute`."""
        with self._one_line():
            self._steps = 0
            yield from self._connection.execute(statement, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all that the block does, or nothing."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:  # Ctrl-C too: half a chunk must not be committed with the next
            with suppress(TwlError):  # of a full disk SQLite has done so itself
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def corrupt(self, what: object) -> TwlError:
        """The error that says so."""
        return TwlError(f"{self.path}: {_DAMAGED.format(what)}")

    def _limit(self, longest: int) -> None:
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        self._connection.set_progress_handler(self._count, _STEPS_AT_ONCE)
        if configure := getattr(self._connection, "setconfig", None):  # Python 3.12
            configure(getattr(sqlite3, "SQLITE_DBCONFIG_DEFENSIVE"))  # noqa: B009
        for pragma in (
            "trusted_schema = OFF",
            "cell_size_check = ON",
            "mmap_size = 0",
            "locking_mode = EXCLUSIVE",
        ):
            self._connection.execute(f"PRAGMA {pragma}")

    def _count(self) -> bool:
        """Asked by SQLite whether a statement has to stop."""
        self._steps += 1
        return self._steps > _MOST_STEPS

    def _prepare(self, *, own: bool) -> None:
        """Lock the file, see that it is a journal, and make the tables in an empty one."""
        ((application,),) = self.execute("PRAGMA application_id")
        ((layout,),) = self.execute("PRAGMA user_version")
        query = "SELECT type, name, tbl_name, ifnull(sql, '') FROM sqlite_schema LIMIT ?"
        schema = self.execute(query, (len(_SCHEMA) + 1,))
        if application != APPLICATION_ID and schema:
            raise TwlError(f"{self.path}: is an SQLite file, but not a journal of twl")
        if schema and layout != LAYOUT:
            raise TwlError(
                f"{self.path}: is the journal of another version of twl (layout {layout}; this one "
                f"reads {LAYOUT}); delete it to start over",
                hint="{journal} names another",
            )
        if schema and set(schema) != _SCHEMA:
            raise TwlError(f"{self.path}: holds more than twl's own tables; delete it")
        _check_files(self.path, own=own)  # once more: nothing was written so far
        # By way of memory: no rollback journal is ever beside a journal of twl's.
        self.execute("PRAGMA journal_mode = MEMORY")
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = NORMAL")
        if not schema:
            with self.transaction():
                self._make_tables(_TABLES.values())

    def _make_tables(self, statements: Iterable[str]) -> None:
        for statement in statements:
            self.execute(statement)
        self.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self.execute(f"PRAGMA user_version = {LAYOUT}")

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:  # in the names of the tables, or SQLite's own message
            raise self.corrupt(error) from error
        except OSError as error:
            raise TwlError(
                f"{self.path}: the journal cannot be used ({reason_of(error)})"
            ) from error
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary one
            if code == sqlite3.SQLITE_INTERRUPT and self._steps <= _MOST_STEPS:
                raise KeyboardInterrupt from error  # it came while SQLite asked
            raise self._explained(error, code) from error

    def _explained(self, error: sqlite3.Error, code: int) -> TwlError:
        hint = "{journal} names another file"
        if code == sqlite3.SQLITE_BUSY:
            text = "is in use by another run of twl; wait until it ends"
        elif code == sqlite3.SQLITE_NOTADB:
            text = "is not a journal; delete it"
        elif code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_INTERRUPT):
            return self.corrupt(error)
        elif code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            text = f"the journal cannot be written ({error}); is the disk full?"
        else:
            text = f"the journal cannot be used ({error})"
        return TwlError(f"{self.path}: {text}", hint=hint)


def _check_files(path: Path, *, own: bool) -> None:
    """Make the file where there is none, and refuse what only somebody else can have put there."""
    with suppress(FileExistsError):
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        os.close(os.open(path, flags, 0o644))  # SQLite would follow a link
    for each in (path, *(path.with_name(path.name + suffix) for suffix in BESIDE)):
        try:
            status = each.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(status.st_mode):
            kind = stat.filemode(status.st_mode)
            raise TwlError(f"{each}: is not a regular file ({kind}), as a journal's are; delete it")
        if status.st_nlink > 1:
            raise TwlError(f"{each}: is a file of several names (hard links); delete this one")
        if each.name.endswith("-journal") and each != path:
            raise TwlError(f"{each}: is not twl's, whose journals have no such file; delete it")
        if own and not _is_own(each, status):
            raise TwlError(
                f"{each}: belongs to another user, and a journal decides what is written; "
                "delete it",
                hint="name it with {journal} if you trust it",
            )


def _is_own(path: Path, status: os.stat_result) -> bool:
    """Whether a file is the user's, or the superuser's, who may do everything anyway.

    Network drives and containers give files another owner than the process; so what is made here
    now shows whose the user's files are.
    """
    if not hasattr(os, "geteuid") or status.st_uid in (0, os.geteuid()):
        return True
    with tempfile.TemporaryFile(dir=path.parent) as made:
        return os.fstat(made.fileno()).st_uid == status.st_uid
