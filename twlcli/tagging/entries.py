"""What the journal remembers of an image."""

from __future__ import annotations

from dataclasses import dataclass

from twlcli.tagging.tags import Failure, Tags


@dataclass(frozen=True, slots=True)
class Identity:
    """One image file as it is now.

    Attributes:
        size: bytes.
        mtime_ns: time of the last change, nanoseconds; that of the tar for its member.
        offset: where a member's bytes begin in its tar; 0 for a file.
        sha256: of the content, where it was asked for.
    """

    size: int
    mtime_ns: int
    offset: int = 0
    sha256: bytes | None = None

    def same(self, stored: Identity) -> bool:
        """Whether this is the content that `stored` was: by the hash, without one by the time."""
        if self.sha256 is not None:
            return (self.size, self.sha256) == (stored.size, stored.sha256)
        now = (self.size, self.mtime_ns, self.offset)
        return now == (stored.size, stored.mtime_ns, stored.offset)


@dataclass(frozen=True, slots=True)
class Entry:
    """A row that is complete: the file it came from, as it was, and what the model decided."""

    identity: Identity
    row: Tags | Failure


@dataclass(frozen=True, slots=True)
class Written:
    """What twl last wrote beside an image.

    Attributes:
        name: the image's.
        kind: of sidecar.
        content: a digest of what the sidecar was made from.
        status: size and time of the last change of the sidecar then; None where there was no need
            for one.
    """

    name: str
    kind: str
    content: bytes
    status: tuple[int, int] | None
