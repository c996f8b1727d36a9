"""Rows on their way out: through the tag policy to sidecars, tables and the journal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from twlcli.errors import ImageError
from twlcli.images.image_file import ImageFile
from twlcli.tagging.chunks import Item, Memory
from twlcli.tagging.entries import Entry, Written
from twlcli.tagging.tags import Failure, Tags


@dataclass(frozen=True)
class Beside:
    """One kind of sidecar.

    Attributes:
        kind: such as `xmp:full`; there is one file of a kind for each image.
        settings: what else decides its content, apart from the tags.
        path: where it lies; no file is touched.
        write: writes it. True says that what is there now is twl's own work, unchanged. Raises
            ImageError with the reason alone where this one cannot be written.
    """

    kind: str
    settings: str
    path: Callable[[ImageFile], Path]
    write: Callable[[ImageFile, Tags, bool], None]


@dataclass(frozen=True)
class Outputs:
    """Where rows go.

    Attributes:
        writers: take each image's tags, in the order of `Delivery.take`.
        sidecars: files beside the images.
        on_failure: takes each image that could not be read, and each whose sidecars could not be
            written.
        policy: what becomes of the tags that the model gives.
    """

    writers: Sequence[Callable[[ImageFile, Tags], None]]
    on_failure: Callable[[Failure], None]
    sidecars: Sequence[Beside] = ()
    policy: Callable[[Tags], Tags] | None = None


@dataclass(frozen=True)
class Tally:
    """How far a run has come.

    Attributes:
        tagged: images tagged.
        failed: images that cannot be read.
        seconds: since the start.
        stored: images among both whose row was in the journal.
        unwritten: images among the tagged whose sidecars could not be written.
    """

    tagged: int = 0
    failed: int = 0
    seconds: float = 0.0
    stored: int = 0
    unwritten: int = 0

    @property
    def images_per_second(self) -> float:
        """Images computed per second, failures among them."""
        computed = self.tagged + self.failed - self.stored
        return computed / self.seconds if self.seconds else 0.0


class Delivery:
    """Takes rows; what it has taken is in the journal after `commit`."""

    def __init__(self, outputs: Outputs, memory: Memory | None) -> None:
        self._outputs = outputs
        self._memory = memory
        self._entries: list[Entry] = []
        self._written: list[Written] = []
        self._tagged = self._failed = self._stored = self._unwritten = 0

    def take(self, item: Item, row: Tags | Failure) -> None:
        """Give out the row of one image."""
        if item.stored is not None:
            self._stored += 1
        elif self._memory is not None and item.identity is not None:
            self._entries.append(Entry(item.identity, row))
        if isinstance(row, Failure):
            self._failed += 1
            self._outputs.on_failure(row)
            return
        self._tagged += 1
        policy = self._outputs.policy
        tags = row if policy is None else policy(row)
        for write in self._outputs.writers:
            write(item.file, tags)
        self._write_sidecars(item.file, tags)

    def tally(self, seconds: float) -> Tally:
        """What was taken so far, in so many seconds."""
        return Tally(self._tagged, self._failed, seconds, self._stored, self._unwritten)

    def commit(self) -> None:
        """Make what was taken so far last."""
        if self._memory is not None:
            self._memory.journal.commit(self._entries, self._written)
        self._entries, self._written = [], []

    def _write_sidecars(self, file: ImageFile, tags: Tags) -> None:
        reasons: list[str] = []
        for sidecar in self._outputs.sidecars:
            try:
                self._write_sidecar(sidecar, file, tags)
            except ImageError as error:
                reasons.append(str(error))
        if reasons:
            self._unwritten += 1
            self._outputs.on_failure(Failure(file.name, "; ".join(reasons)))

    def _write_sidecar(self, sidecar: Beside, file: ImageFile, tags: Tags) -> None:
        if self._memory is None:
            sidecar.write(file, tags, False)
            return
        content = _content(sidecar, file, tags)
        before = self._memory.journal.written(file.name, sidecar.kind)
        path = sidecar.path(file)
        now = _status(path)
        if before is not None and before.content == content and (before.status is None or now):
            return  # also where somebody has edited it since: their work stays
        ours = before is not None and before.status is not None and before.status == now
        sidecar.write(file, tags, ours)
        self._written.append(Written(file.name, sidecar.kind, content, _status(path)))


def _content(sidecar: Beside, file: ImageFile, tags: Tags) -> bytes:
    """A digest of all that a sidecar is made from, and of its place."""
    parts = [str(file.path), sidecar.settings, tags.labels, tags.probabilities]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def _status(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
