"""Files cut into chunks for the workers: rows that the journal has, and those to be computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twlcli.images.identity import Identity
from twlcli.images.image_file import Failure, ImageFile
from twlcli.model.decisions import calibration_of, given_labels, probabilities
from twlcli.model.spec import ModelSpec
from twlcli.tagging.fingerprint import identities
from twlcli.tagging.tags import Logits, Row, Scores, Tags

if TYPE_CHECKING:  # it brings sqlite3, which a run without a journal does without
    from twlcli.tagging.journal import Journal

# Rows of the journal that wait in memory, in all, for images before them to be computed;
# 2,048 of them take some 3 MB. More helps only where one image in hundreds is new.
STORED_AT_ONCE = 2048

# Labels of which the journal keeps the scores: all of a vocabulary of this size. Of a larger one,
# nearly all have probabilities near 0, that no threshold of use would give.
ALWAYS_KEPT = 64
KEPT_ABOVE = 0.001

_AT_ONCE = 64  # files that are looked up together


class Choice:
    """Which labels images are given; what the journal keeps for that, and for other thresholds.

    Of large vocabularies the journal keeps the scores of the most probable labels, so many that no
    label is missing which is above `KEPT_ABOVE`, which the run gives, or which reaches a threshold
    that was fitted to the model. For a run that writes scores it keeps all logits instead.
    """

    def __init__(
        self,
        spec: ModelSpec,
        thresholds: NDArray[np.float32] | None,
        top_k: int | None,
        *,
        logits: bool = False,
    ) -> None:
        """Set the thresholds (C,) and the number of labels, as for `given_labels`.

        `logits` keeps these.
        """
        self._spec = spec
        self._given_at = thresholds
        self.keeps_logits = logits
        self._names = spec.vocabulary.names
        self._top_k = top_k
        fitted = () if spec.thresholds is None else spec.thresholds.lists()
        kept = np.full(len(self._names), KEPT_ABOVE, dtype=np.float32)
        for values in fitted:
            np.minimum(kept, np.array(values, dtype=np.float32), out=kept)
        self._is_usual = thresholds is not None and bool(np.all(thresholds >= kept))
        self._kept_from = kept if thresholds is None else np.minimum(kept, thresholds)
        self._least = -np.inf if thresholds is None else float(np.min(thresholds, initial=np.inf))
        self._thresholds: dict[str, float] | None = None
        if thresholds is not None:
            self._thresholds = dict(zip(self._names, thresholds.tolist(), strict=True))

    def entry(
        self, image: str, probabilities: NDArray[np.float32], logits: NDArray[np.float32]
    ) -> Scores | Logits:
        """What the journal keeps of the probabilities and logits (C,) of an image."""
        return Logits(image, logits) if self.keeps_logits else self.scores(image, probabilities)

    def scores(self, image: str, probabilities: NDArray[np.float32]) -> Scores:
        """What the journal keeps of the probabilities (C,) of an image, without its logits."""
        order = np.argsort(-probabilities, kind="stable")
        most = len(order)
        if most > ALWAYS_KEPT:
            wanted = np.flatnonzero((probabilities >= self._kept_from)[order])
            reach = int(wanted[-1]) + 1 if len(wanted) else 0
            most = min(most, max(ALWAYS_KEPT, reach, self._top_k or 0))
        columns = order[:most]
        rest = None if most == len(order) else float(probabilities[order[most]])
        labels = tuple(self._names[column] for column in columns)
        return Scores(image, labels, tuple(probabilities[columns].tolist()), rest)

    def tags(self, scores: Scores | Logits) -> Tags | None:
        """The tags of an image; None where they hang on labels whose scores were not kept."""
        if isinstance(scores, Logits):
            row = probabilities(scores.values[None], calibration_of(self._spec))[0]
            return self.given(scores.image, row, scores.values)
        pairs = list(zip(scores.labels, scores.probabilities, strict=True))
        if self._thresholds is not None:
            thresholds = self._thresholds
            pairs = [pair for pair in pairs if pair[1] >= thresholds[pair[0]]]
        pairs = pairs[: self._top_k]
        is_whole = scores.rest is None or self._is_usual or self._least > scores.rest
        if not is_whole and len(pairs) != self._top_k:
            return None
        labels = tuple(label for label, _ in pairs)
        return Tags(scores.image, labels, tuple(probability for _, probability in pairs))

    def given(
        self, image: str, probabilities: NDArray[np.float32], logits: NDArray[np.float32]
    ) -> Tags:
        """The tags of an image of which everything is known."""
        columns = given_labels(probabilities, self._given_at, self._top_k)
        labels = tuple(self._names[column] for column in columns)
        kept = logits if self.keeps_logits else None
        return Tags(image, labels, tuple(probabilities[columns].tolist()), kept)


@dataclass(frozen=True)
class JournalLookup:
    """The journal of a run and how it is used.

    Attributes:
        journal: an open one.
        choice: which labels the images are given.
        content: whether a file's hash tells that it has changed, in place of its time.
        retry_failed: whether stored failures are tried again.
    """

    journal: Journal
    choice: Choice
    content: bool = False
    retry_failed: bool = False

    def recall(
        self, files: Sequence[ImageFile], identities: Sequence[Identity | None]
    ) -> list[Row | None]:
        """The rows of files that need no model: what is stored suffices, and no file changed."""
        names = (file.name for file in files)
        rows: list[Row | None] = [
            found if found is None or isinstance(found, Failure) else self.choice.tags(found)
            for found in self.journal.find(list(zip(names, identities, strict=True)))
        ]
        if self.retry_failed:
            return [None if isinstance(row, Failure) else row for row in rows]
        return rows


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a run: as it is now, where that is known, and its row if the journal has it.

    `decoded` is what is decoded in its place: the copy of an image in a store.
    """

    file: ImageFile
    identity: Identity | None = None
    stored: Row | None = None
    decoded: ImageFile | None = None


def chunked(
    files: Iterable[ImageFile],
    lookup: JournalLookup | None,
    *,
    batch_size: int,
    workers: int,
    fetched: Callable[[Iterator[Item]], Iterator[Item]] = iter,
) -> Iterator[tuple[Item, ...]]:
    """Consecutive files in chunks of at most `batch_size` to compute, stored ones among them.

    `fetched` gives the items back with what has to be fetched of them.

    Yields:
        Chunks in the order of the files. The rows that `2 * workers` chunks hold from the journal
        are at most `STORED_AT_ONCE`, or one for each chunk.
    """
    most_stored = max(1, STORED_AT_ONCE // (2 * workers))
    chunk: list[Item] = []
    stored = 0
    for item in fetched(_items(files, lookup)):
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
    while some := list(islice(remaining, _AT_ONCE)):
        if any(file.stored is not None and file.stored.version is None for file in some):
            from twlcli.images.discover.remote import resolved  # most runs read no store

            some = resolved(some)
        found = identities(some, content=lookup.content)
        yield from map(Item, some, found, lookup.recall(some, found))
