"""Addresses of files, as pages link to them."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from urllib.parse import quote


def folder_address(folder: Path, start: Path) -> str:
    """The address of a folder as seen from another one, ending with a slash unless empty."""
    try:
        # os.path: pathlib has no way up to a common folder before Python 3.12.
        relative = PurePath(os.path.relpath(folder, start)).as_posix()
    except ValueError:  # another drive of Windows
        return folder.as_uri() + "/"
    return "" if relative == "." else quoted(relative) + "/"


def quoted(text: str) -> str:
    """A name with its bytes percent-encoded, which leaves nothing that HTML would read."""
    return quote(os.fsencode(text), safe="/")
