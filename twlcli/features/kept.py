"""What a cache of features holds: shown, and removed where it was not used for long."""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from twlcli.errors import TwlError
from twlcli.features.about import About
from twlcli.features.cache import (
    ABOUT_NAME,
    INDEX_NAME,
    NETWORK_NAME,
    ROWS_NAME,
    connect,
    index_errors,
)
from twlcli.io import locked_folder, read_short_text, write_errors

_KEY = re.compile(r".+-[0-9a-f]{16}")


@dataclass(frozen=True)
class CacheSummary:
    """One network's features on disk.

    Attributes:
        folder: theirs.
        about: what they are of; None where `about.json` is damaged or of another version of twl.
        images: that have features.
        rows: of features, of all views and with those that were replaced.
        size: of the folder, bytes.
        used: when it was last opened, seconds since 1970.
    """

    folder: Path
    about: About | None
    images: int
    rows: int
    size: int
    used: float


def summaries(folder: Path) -> list[CacheSummary]:
    """What is in a cache, by the names of the networks; what is not twl's is left out."""
    found = []
    for each in sorted(folder.iterdir()) if folder.is_dir() else ():
        about = _about(each)
        if about is None and not _is_damaged(each):
            continue
        images = rows = 0
        if about is not None:
            with suppress(TwlError):
                images, rows = _counted(each / INDEX_NAME)
        size = sum(file.stat().st_size for file in each.iterdir() if file.is_file())
        # What twl opens it writes anew; an index alone, where about.json is gone.
        dated = each / ABOUT_NAME if (each / ABOUT_NAME).exists() else each / INDEX_NAME
        used = dated.stat().st_mtime
        found.append(CacheSummary(each, about, images, rows, size, used))
    return found


def _counted(path: Path) -> tuple[int, int]:
    """The images and rows of an index.

    Raises:
        TwlError: it is none.
    """
    index = connect(path)
    try:
        with index_errors(path):
            query = "SELECT count(DISTINCT path), ifnull(max(place) + 1, 0) FROM images"
            ((images, rows),) = index.execute(query)
    finally:
        index.close()
    return images, rows


def prune(folder: Path, *, unused_since: float) -> tuple[list[CacheSummary], list[CacheSummary]]:
    """Remove the features of networks that were not used for long from a cache.

    Args:
        folder: of the cache.
        unused_since: seconds since 1970; what was last used before is removed.

    Returns:
        What was removed, and what was to be but is in use.

    Raises:
        TwlError: something cannot be removed.
    """
    removed, in_use = [], []
    for summary in summaries(folder):
        if summary.used >= unused_since:
            continue
        with ExitStack() as held:
            try:
                held.enter_context(locked_folder(summary.folder))
            except TwlError:
                in_use.append(summary)
                continue
            with write_errors(summary.folder):
                shutil.rmtree(summary.folder)
            removed.append(summary)
    return removed, in_use


def _about(folder: Path) -> About | None:
    """What a folder of a cache is of; None where it is none of twl's."""
    try:
        about = About.from_json(read_short_text(folder / ABOUT_NAME))
    except (OSError, ValueError):
        return None
    return about if about.key == folder.name else None


def _is_damaged(folder: Path) -> bool:
    """Whether a folder holds features of a network that cannot be told any more.

    It has the name, the rows and the index of one, and nothing but what a cache has.
    """
    if not _KEY.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
        return False
    try:
        names = {file.name for file in folder.iterdir()}
    except OSError:
        return False
    indexes = {f"{INDEX_NAME}{end}" for end in ("", "-wal", "-shm", "-journal")}
    others = names - indexes - {ABOUT_NAME, ROWS_NAME, NETWORK_NAME}
    return {INDEX_NAME, ROWS_NAME} <= names and all(
        re.fullmatch(r"\..*\.tmp", each) for each in others
    )
