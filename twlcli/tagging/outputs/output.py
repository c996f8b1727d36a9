"""The one protocol of everything that a run writes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from twlcli.images.image_file import ImageFile
from twlcli.labels import Vocabulary
from twlcli.tagging.fingerprint import Written
from twlcli.tagging.tags import Row

if TYPE_CHECKING:
    from twlcli.model.spec import ModelSpec


class Sink(Protocol):
    """An output while it is open; it takes the rows of a run one after the other."""

    def write(self, file: ImageFile, row: Row) -> None:
        """Take the row of one image; an output that has no use for failures drops them.

        Raises:
            ImageError: the row of this image cannot be written; the message is the reason alone.
            TwlError: nothing more can be written at all.
        """


class SidecarLog(Protocol):
    """What twl has written beside the images, in this run and in those before."""

    def written(self, name: str, kind: str) -> Written | None:
        """What was last written beside the image of that name."""

    def note(self, written: Written) -> None:
        """Remember what was written now."""


@dataclass
class SidecarCount:
    """How many sidecars of a run were written or removed, and how many needed no change.

    Attributes:
        written: sidecars that were written or removed.
        photographs: photographs that were themselves written.
        unchanged: of both, those that needed no change.
    """

    written: int = 0
    photographs: int = 0
    unchanged: int = 0


@dataclass(frozen=True)
class RunFacts:
    """What an output may need to know of the run.

    Attributes:
        vocabulary: every label that can be written.
        model_digest: gives what identifies the model.
        force: whether files that exist may be replaced.
        log: what was written beside the images before; None without a journal.
        sidecars: counts them.
        spec: the model's; None where rows are not a model's.
    """

    vocabulary: Vocabulary
    model_digest: Callable[[], str]
    force: bool = False
    log: SidecarLog | None = None
    sidecars: SidecarCount = field(default_factory=SidecarCount)
    spec: ModelSpec | None = None


class Output(Protocol):
    """Something that a run writes.

    Where an output has an attribute `needs_logits` that is true, rows have their logits. Where it
    has one `needs_files` that is true, it opens the images, or writes beside them, and takes none
    of a store.
    """

    @property
    def file(self) -> Path | None:
        """The file that each run writes anew; None for a stream and for files beside the images."""

    def open(self, run: RunFacts) -> AbstractContextManager[Sink]:
        """Begin to write; what is written gets its name when the block ends well.

        Raises:
            TwlError: it cannot be written.
            MissingExtraError: a package that it needs is not installed.
        """
