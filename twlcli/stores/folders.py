"""Where twl keeps files of the user's that belong to no folder of theirs."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from twlcli.errors import TwlError
from twlcli.io import write_errors


def cache_folder() -> Path:
    """The folder of what can be fetched or computed again: `~/.cache/twl` on Linux.

    There `XDG_CACHE_HOME` names another, where it is an absolute path, as the XDG Base Directory
    Specification has it.
    """
    return _folder("XDG_CACHE_HOME", ".cache", "Library/Caches", "Local")


def state_folder() -> Path:
    """The folder of what a run needs to go on: `~/.local/state/twl` on Linux."""
    return _folder("XDG_STATE_HOME", ".local/state", "Library/Application Support", "Local")


def folder_of(address: str, parent: Path) -> Path:
    """The private folder of an address inside another, made where it is not there.

    Raises:
        TwlError: it cannot be made.
    """
    folder = parent / hashlib.sha256(address.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _folder(variable: str, linux: str, macos: str, windows: str) -> Path:
    named = Path(os.environ.get(variable, ""))
    if sys.platform not in ("win32", "darwin") and named.is_absolute():
        return named / "twl"
    try:
        home = Path.home()
    except RuntimeError:
        raise TwlError("there is no home folder to keep files in") from None
    if sys.platform == "win32":
        return home / "AppData" / windows / "twl"
    return home / (macos if sys.platform == "darwin" else linux) / "twl"
