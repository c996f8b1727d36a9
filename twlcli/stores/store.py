"""A store as fsspec opens it: what is there, and its bytes."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from twlcli.errors import MissingExtraError, TwlError
from twlcli.stores.address import scheme_of, shown, without_secrets
from twlcli.stores.faults import StoppedError, StoreError, fault_of, tried

if TYPE_CHECKING:
    from twlcli.stores.direct import DirectReads

CONNECTIONS = 32  # to one store at once; botocore's own limit of 10 would hold up what is fetched
_LOOK = 0.2  # seconds after which a request that shall end is cancelled
_PATIENCE = 60.0  # seconds for one request, and as many more as its bytes take at _SLOWEST
_SLOWEST = 100_000  # bytes per second
_PAGE = 1000  # objects in one answer of S3
_MD5 = re.compile(r"[0-9a-f]{32}")
# What tells versions of an object apart, the best first; every store has names of its own.
_VERSIONS = (
    *("ETag", "etag", "md5Hash", "content_md5", "Content-MD5", "blob_id", "checksum", "Digest"),
    *("VersionId", "version_id", "generation", "LastModified", "last_modified", "Last-Modified"),
    *("updated", "mtime", "modified", "created"),
)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a store, as it was when it was last asked for.

    Attributes:
        store: where it is.
        path: its name there, as fsspec takes it.
        size: bytes; None where that is not known.
        version: tells its versions apart, 63 bits of the digest of its ETag, of the time of its
            last change where there is none; None where nothing was asked for yet.
        md5: of its bytes, where its ETag or its metadata look like one; else empty.
    """

    store: Store
    path: str
    size: int | None = None
    version: int | None = None
    md5: bytes = b""

    @property
    def address(self) -> str:
        """Its address, as it may be shown."""
        return self.store.shown(self.path)


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies in a folder of a store: its last name, and the object where it is none itself."""

    name: str
    object: StoredObject | None


class Store:
    """One file system of fsspec's. It may be used from several threads."""

    def __init__(self, files: Any, scheme: str, options: Mapping[str, Any]) -> None:
        self._files = files
        self.scheme = scheme
        self._options = dict(options)
        self._is_async = bool(getattr(files, "async_impl", False))
        if hasattr(files, "retries"):  # it is twl's own: tries are counted in `tried`
            files.retries = 1
        self.pages = scheme in ("s3", "s3a") and hasattr(files, "_call_s3")
        self._direct: DirectReads | None = None
        if self.pages:
            from twlcli.stores.direct import DirectReads

            self._direct = DirectReads.of(files)

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process, the store of the same addresses, with the settings that are there."""
        return _store, (self.scheme, self._options)

    def plain(self) -> Any:
        """The file system as fsspec has it, for other libraries."""
        import fsspec

        return fsspec.filesystem(self.scheme, **self._options)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        if self._direct is not None:
            self._direct.close()

    def path(self, address: str) -> str:
        """The path of an address in this store."""
        return str(self._files._strip_protocol(address))

    def shown(self, path: str) -> str:
        """The address of a path, as it may be shown."""
        if "://" in path:
            return shown(path)
        return shown(f"{self.scheme}://{path.lstrip('/')}")

    def find(self, path: str, stop: threading.Event | None = None) -> StoredObject | None:
        """The object at a path as it is now; None for a folder.

        Raises:
            StoreError: there is nothing, or it cannot be told.
        """
        info = self._ask("info", path, stop=stop)
        return None if info.get("type") == "directory" else self._object(info, path)

    def find_named(self, path: str) -> StoredObject | None:
        """As `find`, for what somebody has named: says whether it is the bucket that is missing."""
        try:
            return self.find(path)
        except StoreError as error:
            if error.missing and self.pages:
                next(self.entries(path.partition("/")[0]), None)
            raise

    def _object(self, info: Mapping[str, Any], path: str) -> StoredObject:
        size = info.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            size = None
        found = next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
        text = found.removeprefix("W/").strip('"')
        version = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
        return StoredObject(self, path, size, version, self._md5(info, text))

    def _md5(self, info: Mapping[str, Any], etag: str) -> bytes:
        if self.scheme in ("s3", "s3a") and _MD5.fullmatch(etag):
            return bytes.fromhex(etag)
        if isinstance(given := info.get("md5Hash"), str):  # of Google Cloud Storage
            with suppress(ValueError):
                return base64.b64decode(given, validate=True)
        return b""

    def entries(self, path: str) -> Iterator[Entry]:
        """What lies in a folder, whose path ends in no slash, in the order of the names.

        Keys of S3 may have empty parts: `a//b.jpg` lies in a folder without a name.
        Of S3 a page is asked for when it is needed, so that a folder of any size takes the memory
        of one; its order is that of the bytes of UTF-8, which is that of Python's texts.

        Raises:
            StoreError: it cannot be listed.
        """
        if self.pages and path:
            yield from self._paged(path)
            return
        folder = path.rstrip("/")
        found = []
        for info in self._ask("ls", folder or path, detail=True):
            inside = str(info["name"]).rstrip("/")
            if not inside.startswith(f"{folder}/"):  # what a page links to, or the folder itself
                continue
            name = inside[len(folder) + 1 :]
            if name and "/" not in name:
                is_folder = info.get("type") == "directory"
                kept = None if is_folder else self._object(info, str(info["name"]))
                found.append(Entry(name, kept))
        yield from sorted(found, key=lambda entry: entry.name)

    def _paged(self, folder: str) -> Iterator[Entry]:
        bucket, _, inside = folder.partition("/")
        prefix = f"{inside}/" if inside else ""
        more: dict[str, Any] = {}
        while True:
            page = self._ask(
                "call_s3",
                "list_objects_v2",
                Bucket=bucket,
                Prefix=prefix,
                Delimiter="/",
                MaxKeys=_PAGE,
                **more,
                **getattr(self._files, "req_kw", {}),
            )
            found = [
                Entry(each["Prefix"][len(prefix) : -1], None)
                for each in page.get("CommonPrefixes", ())
            ]
            found += [
                Entry(each["Key"][len(prefix) :], self._of_page(bucket, each))
                for each in page.get("Contents", ())
            ]
            # An object with the name of the folder stands for the folder.
            there = (each for each in found if each.name or each.object is None)
            yield from sorted(there, key=lambda each: each.name)
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _of_page(self, bucket: str, each: Mapping[str, Any]) -> StoredObject:
        return self._object({**each, "size": each["Size"]}, f"{bucket}/{each['Key']}")

    def read(
        self, path: str, start: int, end: int, *, stop: threading.Event | None = None
    ) -> bytes:
        """The bytes from `start` to `end`, which must all be there; asked for once.

        Raises:
            Exception: whatever fsspec raises; see `fault_of`.
        """
        if self._direct is not None and end > start:
            content = self._direct.read(path, start, end, stop)
        else:
            patience = _PATIENCE + (end - start) / _SLOWEST
            content = self._once(
                "cat_file", path, start=start, end=end, patience=patience, stop=stop
            )
        if len(content) != end - start:
            raise ConnectionError(f"{len(content):,} of {end - start:,} bytes came")
        return bytes(content)

    def read_all(self, path: str, most: int) -> bytes:
        """The bytes of an object of unknown size, at most `most` + 1 of them; asked for once."""
        parts: list[bytes] = []
        left = most + 1
        with self._files.open(path, "rb", block_size=0) as file:
            while left > 0 and (part := file.read(min(left, 1 << 20))):
                parts.append(part)
                left -= len(part)
        return b"".join(parts)

    def put(self, local: Path, path: str) -> None:
        """Store a local file under a path, whole or not at all.

        An object of S3 and its like appears whole; elsewhere it gets its name when all of it is
        there.

        Raises:
            StoreError: it cannot be stored.
        """
        patience = _PATIENCE + local.stat().st_size / _SLOWEST
        if self.scheme in _APPEARS_WHOLE:
            self._ask("put_file", str(local), path, patience=patience)
            return
        temporary = f"{path}.partial"
        with suppress(StoreError):  # where folders are none, or are there
            parent = path.rpartition("/")[0]
            if parent:
                self._ask("makedirs", parent, exist_ok=True)
        self._ask("put_file", str(local), temporary, patience=patience)
        tried(partial(self._files.mv, temporary, path))

    def _ask(
        self,
        method: str,
        *arguments: object,
        stop: threading.Event | None = None,
        patience: float = _PATIENCE,
        **named: object,
    ) -> Any:
        """As `_once`, tried again where what it raises may pass."""
        work = partial(self._once, method, *arguments, stop=stop, patience=patience, **named)
        return tried(work, stop=stop)

    def _once(
        self,
        method: str,
        *arguments: object,
        stop: threading.Event | None = None,
        patience: float = _PATIENCE,
        **named: object,
    ) -> Any:
        if self._is_async and hasattr(self._files, f"_{method}"):
            work = getattr(self._files, f"_{method}")
            return self._awaited(partial(work, *arguments, **named), stop, patience)
        return getattr(self._files, method)(*arguments, **named)

    def _awaited(
        self,
        begin: Callable[[], Coroutine[Any, Any, Any]],
        stop: threading.Event | None,
        patience: float,
    ) -> Any:
        """What a coroutine gives, run in fsspec's own thread; cancelled where it has to end."""
        outcome: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        tasks: list[Any] = []

        async def run() -> None:
            try:
                outcome.put((await begin(), None))
            except BaseException as error:  # for the thread that waits
                outcome.put((None, error))

        loop = self._files.loop
        loop.call_soon_threadsafe(lambda: tasks.append(loop.create_task(run())))
        deadline = time.monotonic() + patience
        try:
            while True:
                with suppress(Empty):
                    value, error = outcome.get(timeout=_LOOK)
                    if error is not None:
                        raise error
                    return value
                if stop is not None and stop.is_set():
                    raise StoppedError
                if time.monotonic() > deadline:
                    raise TimeoutError
        finally:
            loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])


# Stores in which nobody sees an object before it is there as a whole.
_APPEARS_WHOLE = frozenset(("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hf"))

_stores: dict[object, Store] = {}
_opening = threading.Lock()


def open_store(address: str) -> tuple[Store, str]:
    """The store of an address, and the path in it.

    Stores are configured as fsspec has it: by the environment, by its own configuration files and
    by those of the store's client.

    Raises:
        TwlError: no store has such addresses, or it cannot be set up.
        MissingExtraError: fsspec or s3fs is not installed.
    """
    scheme = scheme_of(address)
    try:
        import fsspec
    except ModuleNotFoundError:
        raise MissingExtraError(f"opening {scheme}:// addresses", "remote") from None
    try:
        options = fsspec.get_filesystem_class(scheme)._get_kwargs_from_urls(address)
        store = _store(scheme, options)
        path = store.path(address)
        bucket = path.partition("/")[0]
        if store.pages and not bucket:
            raise TwlError(f"{shown(address)}: expected {scheme}://BUCKET and a name in it")
        if store.pages and "@" in bucket:
            raise TwlError(
                f"{shown(address)}: has credentials in it; expected them in the environment or in "
                "the files of the store's client"
            )
        return store, path
    except TwlError:
        raise
    except ImportError as error:
        raise _missing(scheme, error) from error
    except Exception as error:
        if isinstance(error, ValueError) and "not known" in str(error).lower():
            raise TwlError(f"{shown(address)}: no store has addresses with {scheme}://") from error
        raise fault_of(error).at(shown(address)) from error


def _store(scheme: str, options: Mapping[str, Any]) -> Store:
    """The store of a scheme with what its addresses say, the same for all that say the same."""
    import fsspec

    key = (scheme, repr(sorted(options.items())))
    with _opening:
        if key not in _stores:
            kind = fsspec.get_filesystem_class(scheme)
            _stores[key] = Store(kind(**_settings(scheme), **options), scheme, options)
    return _stores[key]


def _settings(scheme: str) -> dict[str, Any]:
    """How a file system is made: one of twl's own, that remembers no listings."""
    settings: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if scheme in ("s3", "s3a"):
        from fsspec.config import conf

        given = conf.get(scheme, {}).get("config_kwargs", {})
        # Tries are counted in `tried`, where they can be told of and stopped.
        ours = {
            "max_pool_connections": CONNECTIONS,
            "retries": {"max_attempts": 0},
            "signature_version": "s3v4",  # else addresses are signed as not every store takes it
        }
        settings["config_kwargs"] = {**ours, **(given if isinstance(given, dict) else {})}
    return settings


def _missing(scheme: str, error: ImportError) -> TwlError:
    """The error for a package that is not installed."""
    cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
    package = (cause.name or "").partition(".")[0]
    if package in ("fsspec", "s3fs"):
        return MissingExtraError(f"opening {scheme}:// addresses", "remote")
    if not package:
        return TwlError(f"{scheme}:// addresses cannot be opened ({without_secrets(str(error))})")
    return TwlError(f"{scheme}:// addresses need the package {package}: pip install {package}")
