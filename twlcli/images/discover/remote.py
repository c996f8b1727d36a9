"""Images in stores: below an address, by a glob, or an object alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from twlcli.errors import TwlError
from twlcli.images.discover.compact import SortedNames
from twlcli.images.discover.gitignore import Patterns
from twlcli.images.discover.walk import (
    EVERYTHING,
    Folder,
    Walker,
    closed,
    is_glob,
    is_tar,
)
from twlcli.images.image_file import ImageFile
from twlcli.parallel import in_threads
from twlcli.stores.address import shown
from twlcli.stores.faults import StoreError
from twlcli.stores.fetch import resolved as resolved_object
from twlcli.stores.store import Store, StoredObject, open_store

_THREADS = 16  # requests at once that ask what objects are like


def stored_file(found: StoredObject, name: str) -> ImageFile:
    """An image in a store; its path is for messages only."""
    return ImageFile(Path(name), name, stored=found)


def named_in_list(address: str) -> ImageFile:
    """The image of an address that a list names; the store is not asked yet.

    Raises:
        TwlError: there is no such store.
    """
    store, path = open_store(address)
    return stored_file(StoredObject(store, path), shown(address))


def resolved(files: Sequence[ImageFile]) -> list[ImageFile]:
    """The files, those of stores with size and version; what is not there has its failure."""
    return list(in_threads(_resolved, files, threads=_THREADS, name="twl-stores"))


def _resolved(file: ImageFile) -> ImageFile:
    if file.stored is None or file.failure is not None:
        return file
    try:
        return replace(file, stored=resolved_object(file.stored))
    except StoreError as error:
        return replace(file, failure=error.message)


@dataclass(frozen=True)
class StoreWalker(Walker):
    """Walks folders of a store as `Walker` does those of the disk; the files come page by page."""

    store: Store = field(kw_only=True)

    def _walk(self, root: Folder, parts: tuple[str, ...]) -> Iterator[ImageFile]:
        waiting = [iter([root])]
        while waiting:
            folder = next(waiting[-1], None)
            if folder is None:
                waiting.pop()
                continue
            folders = SortedNames()
            try:
                yield from self._files(folder, parts, folders)
            except StoreError as error:
                if error.passing:  # whatever follows would be missing
                    raise error.at(self.store.shown(folder.path)) from error
                reason = f"folder cannot be read ({error.message})"
                yield ImageFile(Path(folder.path), folder.prefix or ".", reason)
            waiting.append(self._below(folder, folders, parts))

    def _files(
        self, folder: Folder, parts: tuple[str, ...], folders: SortedNames
    ) -> Iterator[ImageFile]:
        """The images in a folder; the folders in it are put into `folders`."""
        for entry in self.store.entries(folder.path):
            after = self._after(entry.name, parts, folder.reached)
            if not after:
                continue
            if entry.object is None:
                if not self._leaves_out(entry.name, folder, parts):
                    folders.add(entry.name)
            elif self._wants(entry.name, folder, parts, after) and self._takes(folder, entry.name):
                yield stored_file(entry.object, folder.prefix + entry.name)

    def _joined(self, folder: str, name: str) -> str:
        return f"{folder}/{name}"


@dataclass(frozen=True)
class StoredRoot:
    """An address as given: a glob, a folder, or an object."""

    address: str

    @cached_property
    def _place(self) -> tuple[Store, str]:
        return open_store(self.address)

    @cached_property
    def _object(self) -> StoredObject | None:
        """The object at the address; None where there are others below it.

        Raises:
            StoreError: there is nothing.
        """
        store, path = self._place
        if self.address.endswith("/") or ("/" not in path.strip("/") and store.pages):
            return None
        return store.find_named(path)

    @cached_property
    def _is_glob(self) -> bool:
        store, path = self._place
        if not is_glob(path) or store.scheme in ("http", "https"):
            return False
        try:
            return store.find(path) is None
        except StoreError as error:
            if not error.missing:
                raise
            return True

    def folder(self) -> Path | None:
        """No folder of the disk is searched."""
        return None

    def find(self, walker: Walker, *, alone: bool) -> Iterator[ImageFile]:
        """What the address stands for; tars are not opened yet."""
        store, path = self._place
        inside = StoreWalker(walker.patterns, walker.hidden, walker.left_out, store=store)
        if self._is_glob:
            yield from self._matches(inside)
        elif self._object is None:
            prefix = "" if alone else shown(self.address).rstrip("/") + "/"
            yield from inside._walk(Folder(path.rstrip("/"), prefix, "", EVERYTHING), ())
        else:
            name = shown(self.address)
            if is_tar(name) or walker.patterns.takes(name):
                yield stored_file(self._object, name)

    def _matches(self, walker: StoreWalker) -> Iterator[ImageFile]:
        store, path = self._place
        parts = PurePosixPath(path).parts
        first = next(place for place, part in enumerate(parts) if is_glob(part))
        if first == 0:
            raise TwlError(f"{shown(self.address)}: expected a bucket without wildcards")
        folder = str(PurePosixPath(*parts[:first]))
        prefix = store.shown(folder).rstrip("/") + "/"
        rest = parts[first:]
        yield from walker._walk(Folder(folder, prefix, prefix, closed({0}, rest)), rest)

    def check(self, patterns: Patterns, *, hidden: bool) -> None:
        """Raise TwlError where there is nothing to find, or the store cannot be asked."""
        place = shown(self.address)
        try:
            walker = Walker(patterns, hidden=hidden)
            first = next(self.find(walker, alone=True), None)
            if first is not None:
                if first.failure is not None:
                    raise TwlError(f"{place}: {first.failure}")
                return
            if self._is_glob:
                raise TwlError(f"{place}: matches no images and no .tar")
            if self._object is not None:  # which the patterns leave out
                return
            store, path = self._place
            if next(store.entries(path.rstrip("/")), None) is None:
                raise TwlError(f"{place}: no such file or folder")
        except StoreError as error:
            reason = error.message
            if error.missing and reason != "no such bucket":
                reason = "no such file or folder"
            raise TwlError(f"{place}: {reason}") from error
        hint = "" if patterns.are_empty else " match the patterns"
        hint += "".join(f"; {line}" for line in walker.left_out.lines())
        raise TwlError(f"{place}: no images in this folder{hint}")
