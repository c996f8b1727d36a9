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
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from itertools import chain
from pathlib import Path

import numpy as np

from twlcli.errors import TwlError
from twlcli.images.identity import Identity
from twlcli.images.image_file import Failure
from twlcli.labels import Vocabulary
from twlcli.tagging.fingerprint import Written
from twlcli.tagging.journal_file import JournalFile
from twlcli.tagging.tags import Logits, Scores

_FIND = "SELECT name, size, mtime_ns, offset, sha256, tags, reason FROM rows WHERE run = ? AND name"
_NOTES = "SELECT name, kind, content, size, mtime_ns FROM sidecars"
_KEEP = "INSERT OR REPLACE INTO rows VALUES"
_BESIDE = "INSERT OR REPLACE INTO sidecars VALUES"

_LONGEST = 1 << 20  # bytes of a row, apart from the labels in it
_LONGEST_NOTE = 16 << 20  # of what stands beside an image, where no vocabulary says more

Entry = Scores | Logits | Failure

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
    own: bool = False,
    logits: bool = False,
) -> Iterator[Journal]:
    """The journal at `path`, made where there is none, and locked until the block ends.

    A journal in which nothing stands is removed when the block ends by a TwlError.

    Args:
        path: the file.
        key: of what decides the scores; those of other keys stay in the file, unseen.
        vocabulary: the model's labels.
        outputs_key: of what decides the outputs too; None for `key`.
        model: what the run is called in the file, for people who look into it.
        own: refuse a journal of another user's; for one that the user has not named.
        logits: the rows of this key are all logits, in place of `Scores`.

    Raises:
        TwlError: the file is not a journal, is one of another twl or user, is in use, or cannot be
            written.
    """
    longest = _LONGEST + sum(len(name.encode()) + 12 for name in vocabulary)
    with closing(JournalFile(path, longest=longest, own=own)) as file:
        run = _run(file, key, model)
        output_run = run if outputs_key is None else _run(file, outputs_key, model)
        journal = Journal(file, run, vocabulary, output_run=output_run, logits=logits)
        try:
            yield journal
        except TwlError:
            with suppress(TwlError):
                if journal.is_empty():
                    file.remove()
            raise


@contextmanager
def open_notes(path: Path, *, own: bool = False) -> Iterator[Journal]:
    """What the journal at `path` says of files beside images; no rows are looked up in it.

    Args:
        path: the file.
        own: as for `open_journal`.

    Raises:
        TwlError: as `open_journal`; or there is none.
    """
    if not path.is_file():
        raise TwlError(f"{path}: no such journal")
    with closing(JournalFile(path, longest=_LONGEST_NOTE, own=own)) as file:
        yield Journal(file, 0, Vocabulary(()), output_run=0)


class Journal:
    """The rows of one run in an open journal; see `open_journal`. For one thread."""

    def __init__(
        self,
        file: JournalFile,
        run: int,
        vocabulary: Vocabulary,
        *,
        output_run: int,
        logits: bool = False,
    ) -> None:
        self._holds_logits = logits
        self._file = file
        self._run = run
        self._output_run = output_run
        self._labels = vocabulary.names
        self._columns = {label: column for column, label in enumerate(vocabulary)}
        self.path = file.path

    def is_empty(self) -> bool:
        """Whether nothing is known of any image, by this run or any other of this journal."""
        query = "SELECT EXISTS (SELECT 1 FROM rows) OR EXISTS (SELECT 1 FROM sidecars)"
        ((found,),) = self._file.execute(query)
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
            for name, *stored, tags, reason in self._file.execute(query, (self._run, *names)):
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
                return self._logits(name, tags) if self._holds_logits else self._unpack(name, tags)
            return Failure(name, (reason or b"").decode("utf-8", "surrogatepass"))
        except (
            struct.error,
            zlib.error,
            IndexError,
            TypeError,
            ValueError,
            AttributeError,
        ) as error:
            raise self._file.corrupt(f"the row of {name!a}") from error

    def written(self, name: str, kind: str) -> Written | None:
        """What was last written beside an image, by this run or any other of this journal."""
        found = self._file.execute(
            f"{_NOTES} WHERE name = ? AND kind = ?", (os.fsencode(name), kind)
        )
        return self._note(*found[0]) if found else None

    def all_written(self, kinds: Iterable[str]) -> list[Written]:
        """All that was written beside images, of kinds that begin so."""
        found, before = [], (b"", "")
        for each in self._file.rows(f"{_NOTES} ORDER BY name, kind"):
            note = self._note(*each)
            if each[:2] <= before:  # pages that lead in circles would be read for ever
                raise self._file.corrupt(f"the sidecar of {note.name!a}")
            before = each[:2]
            if note.kind.partition(":")[0] in kinds:
                found.append(note)
        return found

    def _note(
        self, name: object, kind: object, content: object, size: object, mtime_ns: object
    ) -> Written:
        if not (isinstance(name, bytes) and isinstance(kind, str) and isinstance(content, bytes)):
            raise self._file.corrupt(f"the sidecar of {name!a}")
        if not (isinstance(size, int) and isinstance(mtime_ns, int)):
            return Written(os.fsdecode(name), kind, content, None)
        return Written(os.fsdecode(name), kind, content, (size, mtime_ns))

    def forget(self, written: Written) -> None:
        """Do as if something had never been written beside its image."""
        query = "DELETE FROM sidecars WHERE name = ? AND kind = ?"
        self._file.execute(query, (os.fsencode(written.name), written.kind))

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
        with self._file.transaction() if len(statements) > 1 else nullcontext():
            for statement, values in statements:
                self._file.execute(statement, values)

    def begin(self, outputs: Iterable[Path]) -> None:
        """Note that these files are about to be written from this run's rows."""
        with self._file.transaction():
            for path in outputs:
                self._file.execute(
                    "INSERT INTO outputs VALUES (?1, ?2, NULL, NULL, 1) ON CONFLICT (path) "
                    "DO UPDATE SET run = ?2, pending = 1",
                    (_key(path), self._output_run),
                )

    def finish(
        self, outputs: Iterable[Path], elsewhere: Mapping[Path, tuple[int, int]] | None = None
    ) -> None:
        """Note what these files are like, now that they are complete.

        `elsewhere` gives the status, as for `made`, of those that are in a store.
        """
        with self._file.transaction():
            for path in outputs:
                status = (elsewhere or {}).get(path) or _status(path)
                self._file.execute(
                    "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, 0)",
                    (_key(path), self._output_run, *status),
                )

    def made(self, output: Path, partial: Path, status: tuple[int, int] | None = None) -> bool:
        """Whether `output` came from this run's rows and nobody has changed it since.

        Args:
            output: a file that exists.
            partial: where its rows lie until it is complete.
            status: its size, and what tells its versions apart; None for the time of its last
                change.
        """
        query = "SELECT size, mtime_ns, pending FROM outputs WHERE path = ? AND run = ?"
        found = self._file.execute(query, (_key(output), self._output_run))
        if not found:
            return False
        ((size, mtime_ns, pending),) = found
        # Killed after the partial file got its final name and before that could be noted.
        renamed = bool(pending) and not partial.exists()
        return renamed or (size, mtime_ns) == (status or _status(output))

    def _record(self, now: Identity, row: Entry) -> tuple[object, ...]:
        tags, reason = None, None
        if isinstance(row, Failure):
            reason = row.reason.encode("utf-8", "surrogatepass")
        elif isinstance(row, Logits):
            tags = zlib.compress(row.values.astype("<f4").tobytes(), 1)
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

    def _logits(self, name: str, data: bytes) -> Logits:
        unpacking = zlib.decompressobj()
        values = np.frombuffer(unpacking.decompress(data, 4 * len(self._labels) + 1), "<f4")
        if not (unpacking.eof and len(values) == len(self._labels) and np.isfinite(values).all()):
            raise ValueError("no logits of a model")
        return Logits(name, values)

    def _unpack(self, name: str, data: bytes) -> Scores:
        unpacking = zlib.decompressobj()
        unpacked = unpacking.decompress(data, 8 * len(self._labels) + 4)
        count, rest = divmod(len(unpacked) // 4, 2)
        values = struct.unpack(f"<{count}I{count + rest}f", unpacked)
        columns, probabilities = values[:count], values[count:]
        in_range = all(0 <= each <= 1 for each in probabilities)
        if not (unpacking.eof and in_range and len(set(columns)) == count):
            raise ValueError("no scores of a model")
        labels = tuple(self._labels[column] for column in columns)
        return Scores(name, labels, probabilities[:count], probabilities[-1] if rest else None)


def _inserts(
    into: str, rows: Sequence[tuple[object, ...]]
) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Statements that insert rows, and their values."""
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        marks = f"({','.join('?' * len(some[0]))})"
        yield f"{into} {','.join([marks] * len(some))}", tuple(chain.from_iterable(some))


def _status(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _key(path: Path) -> bytes:
    return os.fsencode(path.absolute())


def _run(file: JournalFile, key: bytes, model: str) -> int:
    text = model.encode("utf-8", "backslashreplace").decode()
    file.execute("INSERT OR IGNORE INTO runs (key, model) VALUES (?, ?)", (key, text))
    ((run,),) = file.execute("SELECT id FROM runs WHERE key = ?", (key,))
    return int(run)
