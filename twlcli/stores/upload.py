"""Files that are written locally and belong into a store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from twlcli.errors import TwlError
from twlcli.stores.address import scheme_of, shown
from twlcli.stores.faults import StoreError
from twlcli.stores.folders import folder_of, state_folder
from twlcli.stores.store import open_store

_READ_ONLY = frozenset(("http", "https"))
_LONGEST = 100  # bytes of the name of a file; what is written beside it has a longer one


def staged(address: str) -> Path:
    """Where a file is written that is to be uploaded to an address.

    It is a name in a folder of the user's, the same for each run, so that the journal lies beside
    it and what could not be uploaded stays.

    Raises:
        TwlError: the address names no file, or the folder cannot be made.
    """
    name = address.rpartition("/")[2]
    if not name or name in (".", "..") or "\0" in name or "\\" in name:
        raise TwlError(f"{shown(address)}: expected the name of a file at the end")
    if scheme_of(address) in _READ_ONLY:
        raise TwlError(f"{shown(address)}: nothing can be written over HTTP")
    # Names of objects may be longer than those of files.
    name = os.fsdecode(os.fsencode(name)[-_LONGEST:])
    return folder_of(address, state_folder() / "outputs") / name


@contextmanager
def named_as_given(addresses: Iterable[str]) -> Iterator[None]:
    """Errors of the block that name where a file is written at first name its address instead."""
    try:
        yield
    except TwlError as error:
        for address in addresses:
            error.message = error.message.replace(str(staged(address)), shown(address))
        error.args = (error.message,)
        raise


def beside(address: str, name: str) -> str:
    """The address of a file of another name in the same folder."""
    return f"{address.rpartition('/')[0]}/{name}"


@dataclass(frozen=True)
class Upload:
    """A local file, and where it goes once it is complete."""

    file: Path
    address: str

    def status(self) -> tuple[int, int] | None:
        """Size and version of what is there now; None for nothing.

        Raises:
            TwlError: it cannot be told, or there is a folder.
        """
        store, path = open_store(self.address)
        try:
            found = store.find_named(path)
        except StoreError as error:
            if error.missing and error.message != "no such bucket":
                return None
            raise error.at(shown(self.address)) from error
        if found is None:
            raise TwlError(f"{shown(self.address)}: is a folder, expected the name of a file")
        return (found.size or 0, found.version or 0)

    def send(self) -> None:
        """Upload the file and remove it here.

        Raises:
            TwlError: it cannot be uploaded; then it stays.
        """
        store, path = open_store(self.address)
        try:
            store.put(self.file, path)
        except StoreError as error:
            raise TwlError(
                f"{shown(self.address)}: cannot be uploaded ({error.message}); the complete file "
                f"is {self.file}"
            ) from error
        self.file.unlink(missing_ok=True)
