"""Private folders for what is fetched, of which those of runs that were killed are removed."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

_PREFIX = "twl-spool-"
_LOCK = ".lock"


class PrivateFolder:
    """A new folder in the temporary one, locked as long as this process lives.

    Attributes:
        name: its path.
    """

    def __init__(self) -> None:
        """Make the folder."""
        self.name = tempfile.mkdtemp(prefix=_PREFIX)
        self._lock = (Path(self.name) / _LOCK).open("wb")
        _locked(self._lock)

    def cleanup(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.name, ignore_errors=True)
        self._lock.close()


def private_folder() -> PrivateFolder:
    """A new folder; those of this user's runs that were killed are removed before."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            if left.is_symlink() or left.stat().st_uid != os.getuid():
                continue
            with (left / _LOCK).open("rb+") as lock:
                if _locked(lock):
                    shutil.rmtree(left, ignore_errors=True)
        except (OSError, AttributeError):  # gone meanwhile, being made, or a system without users
            continue
    return PrivateFolder()


def _locked(file: BinaryIO) -> bool:
    """Lock a file for this process; False where another one has it, or nothing can be locked."""
    try:
        import fcntl
    except ModuleNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
