"""What a walk passes over, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from twlcli.images.kinds import summaries

# Folders that systems, network drives and photo programs make for themselves: small copies,
# deleted files, resource forks. In lower case; they are matched in any case.
SYSTEM_FOLDERS = frozenset(
    (
        *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@sharebin"),
        *("@tmp", ".@__thumb", "@__thumb", ".thumbnails", ".appledouble", "__macosx"),
        *(".spotlight-v100", ".fseventsd", ".temporaryitems", ".documentrevisions-v100"),
        *("lost+found", "$recycle.bin", "system volume information"),
        *(".trash", ".trashes", ".dtrash", ".snapshot", ".snapshots"),
    )
)


def is_system_folder(name: str) -> bool:
    """Whether a folder is left out of a walk, unless it is named.

    Example:
        >>> [is_system_folder(name) for name in ("@eaDir", ".Trash-1000", "trash")]
        [True, True, False]
    """
    lower = name.casefold()
    return lower in SYSTEM_FOLDERS or lower.startswith(".trash-")


@dataclass(frozen=True)
class LeftOut:
    """Counts of what one walk has passed over; they grow as it goes on.

    Attributes:
        folders: system folders, by name.
        suffixes: photographs that nothing installed can read, by suffix.
    """

    folders: Counter[str] = field(default_factory=Counter)
    suffixes: Counter[str] = field(default_factory=Counter)

    def lines(self) -> Iterator[str]:
        """What has to be said of it: one line for folders, one for each kind of photograph."""
        if self.folders:
            count = self.folders.total()
            folders = "1 system folder was" if count == 1 else f"{count:,} system folders were"
            yield f"{folders} left out ({', '.join(sorted(self.folders))})"
        yield from summaries(self.suffixes)
