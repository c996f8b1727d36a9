"""Files cut into chunks for the workers: rows that the journal has, and those to be computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from twlcli.images.image_file import Failure, ImageFile
from twlcli.tagging.fingerprint import Identity, identifier
from twlcli.tagging.tags import Row

if TYPE_CHECKING:  # it brings sqlite3, which a run without a journal does without
    from twlcli.tagging.journal import Journal

# Rows of the journal that wait in memory, in all, for images before them to be computed;
# 2,048 of them take some 3 MB. More helps only where one image in hundreds is new.
STORED_AT_ONCE = 2048

_AT_ONCE = 64  # files that are looked up together


@dataclass(frozen=True)
class JournalLookup:
    """The journal of a run and how it is used.

    Attributes:
        journal: an open one.
        content: whether a file's hash tells that it has changed, in place of its time.
        retry_failed: whether stored failures are tried again.
    """

    journal: Journal
    content: bool = False
    retry_failed: bool = False

    def recall(
        self, files: Sequence[ImageFile], identities: Sequence[Identity | None]
    ) -> list[Row | None]:
        """The stored rows of files, each where the file has not changed."""
        names = (file.name for file in files)
        rows = self.journal.find(list(zip(names, identities, strict=True)))
        if self.retry_failed:
            return [None if isinstance(row, Failure) else row for row in rows]
        return rows


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a run: as it is now, where that is known, and its row if the journal has it."""

    file: ImageFile
    identity: Identity | None = None
    stored: Row | None = None


def chunked(
    files: Iterable[ImageFile], lookup: JournalLookup | None, *, batch_size: int, workers: int
) -> Iterator[tuple[Item, ...]]:
    """Consecutive files in chunks of at most `batch_size` to compute, stored ones among them.

    Yields:
        Chunks in the order of the files. The rows that `2 * workers` chunks hold from the journal
        are at most `STORED_AT_ONCE`, or one for each chunk.
    """
    most_stored = max(1, STORED_AT_ONCE // (2 * workers))
    chunk: list[Item] = []
    stored = 0
    for item in _items(files, lookup):
        chunk.append(item)
        stored += item.stored is not None
        if stored == most_stored or len(chunk) - stored == batch_size:
            yield tuple(chunk)
            chunk, stored = [], 0
    if chunk:
        yield tuple(chunk)


def _items(files: Iterable[ImageFile], lookup: JournalLookup | None) -> Iterator[Item]:
    if lookup is None:
        yield from map(Item, files)
        return
    remaining = iter(files)
    with identifier(content=lookup.content) as identify:
        while some := list(islice(remaining, _AT_ONCE)):
            identities = identify(some)
            yield from map(Item, some, identities, lookup.recall(some, identities))
