"""Models and label files of a store, fetched once for each version of them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from twlcli.errors import TwlError
from twlcli.io import replacing
from twlcli.stores.address import shown
from twlcli.stores.faults import StoreError
from twlcli.stores.fetch import fetch
from twlcli.stores.folders import cache_folder, folder_of
from twlcli.stores.store import open_store

_UNSAFE = re.compile(r"[^\w.\- ]")


def local_copy(address: str) -> Path:
    """A local file with the content that an address has now.

    It lies in the user's cache, in a folder named by version, so that a version is fetched once.
    Older versions of the address are removed.

    Raises:
        TwlError: there is no such object, it is a folder, or it cannot be fetched.
        MissingExtraError: a package for the store is not installed.
    """
    store, path = open_store(address)
    try:
        found = store.find_named(path)
        if found is None:
            raise StoreError("is a folder in a store; only files are fetched")
        folder = folder_of(address, cache_folder() / "stores")
        name = _UNSAFE.sub("_", path.rstrip("/").rpartition("/")[2])[-100:] or "file"
        kept = folder / f"{found.version:016x}-{found.size or 0}" / name
        if kept.is_file() and found.size in (None, kept.stat().st_size):
            return kept
        for older in folder.iterdir():
            shutil.rmtree(older, ignore_errors=True)
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(kept) as temporary:
            fetch(found, temporary)
    except StoreError as error:
        raise error.at(shown(address)) from error
    except OSError as error:
        raise TwlError(f"{shown(address)}: cannot be kept in the cache ({error})") from error
    return kept
