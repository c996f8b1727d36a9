"""Rows on their way out: through the tag rules to every output, and into the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twlcli.errors import ImageError, TwlError
from twlcli.images.identity import Identity, identify
from twlcli.images.image_file import Failure, ImageFile
from twlcli.io import discard_partial
from twlcli.tagging.chunks import Item, JournalLookup
from twlcli.tagging.fingerprint import Written
from twlcli.tagging.outputs.output import Output, RunFacts, SidecarCount, Sink
from twlcli.tagging.tags import Logits, Row, Scores, Tags

if TYPE_CHECKING:
    from twlcli.tagging.journal import Journal


@dataclass(frozen=True)
class Tally:
    """How far a run has come.

    Attributes:
        tagged: images tagged.
        failed: images that cannot be read.
        seconds: since the start.
        stored: images among both whose row was in the journal.
        unwritten: images among the tagged that not every output could take, such as sidecars.
        profiles_ignored: images computed whose colour profile could not be used.
        damaged: images computed that were read as far as possible.
        sidecars: sidecars that were written, or removed because no tag is left.
        photographs: photographs that were themselves written.
        sidecars_unchanged: sidecars and photographs that needed no change.
    """

    tagged: int = 0
    failed: int = 0
    seconds: float = 0.0
    stored: int = 0
    unwritten: int = 0
    profiles_ignored: int = 0
    damaged: int = 0
    sidecars: int = 0
    photographs: int = 0
    sidecars_unchanged: int = 0

    @property
    def images_per_second(self) -> float:
        """Images computed per second, failures among them."""
        computed = self.tagged + self.failed - self.stored
        return computed / self.seconds if self.seconds else 0.0


class JournalLog:
    """The `SidecarLog` of a journal: what was noted is in it after the next commit."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._pending: list[Written] = []

    def written(self, name: str, kind: str) -> Written | None:
        """What was last written beside the image of that name."""
        return self._journal.written(name, kind)

    def note(self, written: Written) -> None:
        """Remember what was written now."""
        self._pending.append(written)

    def taken(self) -> list[Written]:
        """What was noted since the last call."""
        pending, self._pending = self._pending, []
        return pending


class FanOut:
    """Takes rows; what it has taken is in the journal after `commit`."""

    def __init__(
        self,
        sinks: Sequence[Sink],
        *,
        rules: Callable[[Tags], Tags] | None = None,
        on_failure: Callable[[Failure], None] = lambda failure: None,
        lookup: JournalLookup | None = None,
        log: JournalLog | None = None,
        sidecars: SidecarCount | None = None,
    ) -> None:
        """Join what takes rows; see `open_outputs`."""
        self._sinks = sinks
        self._rules = rules
        self._on_failure = on_failure
        self._lookup = lookup
        self._log = log
        self._sidecars = sidecars or SidecarCount()
        self._computed: list[tuple[Identity, Scores | Logits | Failure]] = []
        self._tagged = self._failed = self._stored = self._unwritten = 0

    def take(self, item: Item, row: Row, scores: Scores | Logits | None = None) -> None:
        """Give the row of one image to every output; the journal gets the scores."""
        photographs = self._sidecars.photographs
        failed = isinstance(row, Failure)
        if isinstance(row, Failure):
            self._fail(item.file, row)
        else:
            self._write(item.file, row if self._rules is None else self._rules(row))
        changed = self._sidecars.photographs > photographs
        self._remember(item, row if isinstance(row, Failure) else scores, changed=changed)
        # Last, so that an interruption in between leaves no image counted that has no row.
        self._failed += failed
        self._tagged += not failed
        self._stored += item.stored is not None

    def _write(self, file: ImageFile, tags: Tags) -> None:
        reasons: list[str] = []
        for sink in self._sinks:
            try:
                sink.write(file, tags)
            except ImageError as error:
                reasons.append(str(error))
        if reasons:
            self._unwritten += 1
            self._fail(file, Failure(file.name, "; ".join(reasons)))

    def _remember(
        self, item: Item, entry: Scores | Logits | Failure | None, *, changed: bool
    ) -> None:
        """Note what the journal gets, with the file as it is now that everything is written."""
        identity = item.identity
        if self._lookup is None or identity is None or (item.stored is not None and not changed):
            return
        if changed:
            if entry is None:
                (entry,) = self._lookup.journal.find([(item.file.name, identity)])
            identity = identify(item.file, content=self._lookup.content) or identity
        if entry is not None:
            self._computed.append((identity, entry))

    def tally(self, seconds: float) -> Tally:
        """What was taken so far, in so many seconds."""
        return Tally(
            self._tagged,
            self._failed,
            seconds,
            self._stored,
            self._unwritten,
            sidecars=self._sidecars.written,
            photographs=self._sidecars.photographs,
            sidecars_unchanged=self._sidecars.unchanged,
        )

    def commit(self) -> None:
        """Make what was taken so far last."""
        if self._lookup is not None:
            written = self._log.taken() if self._log is not None else ()
            self._lookup.journal.commit(self._computed, written)
        self._computed = []

    def _fail(self, file: ImageFile, failure: Failure) -> None:
        self._on_failure(failure)
        for sink in self._sinks:
            sink.write(file, failure)


@contextmanager
def open_outputs(
    outputs: Sequence[Output],
    facts: RunFacts,
    *,
    rules: Callable[[Tags], Tags] | None = None,
    on_failure: Callable[[Failure], None] = lambda failure: None,
    lookup: JournalLookup | None = None,
) -> Iterator[FanOut]:
    """All outputs of a run, which get their names when the block ends well.

    Args:
        outputs: take every image's row, in this order.
        facts: what they may need to know; the log is that of `lookup`.
        rules: what becomes of the tags that the model gives.
        on_failure: told of each image that could not be read, and of each whose sidecars could
            not be written.
        lookup: the journal.

    Raises:
        TwlError: an output cannot be written.
        MissingExtraError: an output needs a package that is not installed.
    """
    log = None if lookup is None else JournalLog(lookup.journal)
    facts = replace(facts, log=log)
    with _opened(outputs, facts) as sinks:
        yield FanOut(
            sinks,
            rules=rules,
            on_failure=on_failure,
            lookup=lookup,
            log=log,
            sidecars=facts.sidecars,
        )


@contextmanager
def _opened(outputs: Sequence[Output], facts: RunFacts) -> Iterator[Sequence[Sink]]:
    """Open all outputs; where one cannot be opened, nothing is left of those before it."""
    sinks: list[Sink] = []
    all_open = False
    try:
        with ExitStack() as stack:
            for output in outputs:
                sinks.append(stack.enter_context(output.open(facts)))
            all_open = True
            yield sinks
    except TwlError:
        if not all_open:
            for output in outputs[: len(sinks)]:
                if output.file is not None:
                    discard_partial(output.file)
        raise
