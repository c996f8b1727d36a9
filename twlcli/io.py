"""Files: written whole or not at all, replaced only on request, and parsed without trust."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import secrets
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import IO, Any, BinaryIO, TextIO, TypeGuard, cast

from twlcli.errors import TwlError, reason_of

try:
    import fcntl
except ImportError:  # Windows
    _LOCKS = False
else:
    _LOCKS = True

_DEVICES = ("/dev", "/dev/fd", "/proc/self/fd")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# --- paths and addresses --------------------------------------------------------------------------

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")


def is_address(path: object) -> TypeGuard[str]:
    r"""Whether a path given as text is an address; a local file of that very name comes first.

    Example:
        >>> [is_address(each) for each in ("s3://bucket/a.jpg", "photos", r"C:\x", "file:///a")]
        [True, False, False, True]
    """
    if not isinstance(path, str):
        return False
    return _SCHEME.match(path) is not None and not os.path.lexists(path)


# --- may a file be written ------------------------------------------------------------------------


def place_of(path: Path) -> Path:
    """Where a file is, over links to its folder; the file itself may be a link, to be replaced."""
    return path.parent.resolve() / path.name


def check_not_read(path: Path, read: Iterable[Path | str | None]) -> None:
    """Raise TwlError for an output that is one of the files that are read."""
    place = place_of(path)
    if any(each is not None and place_of(Path(each)) == place for each in read):
        raise TwlError(f"{path}: is read by this run, and cannot be an output")


def check_free(path: Path, *, force: bool = False) -> None:
    """Raise TwlError where a file must not or cannot be written.

    Args:
        path: the file to write.
        force: whether a file that exists may be replaced.
    """
    if path.is_dir():
        raise TwlError(f"{path}: is a folder, expected the name of a file")
    if path.absolute().parent.as_posix() in _DEVICES:  # one may be a link to a file now
        raise TwlError(f"{path}: is a device, expected the name of a file")
    if path.exists() and not path.is_file():  # a device would be replaced by a file
        raise TwlError(f"{path}: exists and is not a regular file")
    if path.exists() and not force:
        raise TwlError(f"{path}: exists already", hint="use {force} to replace it")
    if not path.parent.is_dir():
        raise TwlError(f"{path}: there is no folder {path.parent}")


def lies_in(path: Path, folders: Iterable[Path]) -> bool:
    """Whether a path lies in one of the folders, wherever links on the way to either lead."""
    real = PurePath(os.path.realpath(path))
    return any(real.is_relative_to(os.path.realpath(folder)) for folder in folders)


@contextmanager
def write_errors(place: Path | str) -> Iterator[None]:
    """Turn the operating system's refusals inside the block into one line about `place`.

    Raises:
        TwlError: for every OSError but a broken pipe: whoever reads it has seen enough.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise TwlError(f"{place}: cannot be written ({reason_of(error)})") from error


# --- written whole or not at all ------------------------------------------------------------------

# What stood at a name before is never opened for writing: a stranger's folder may hold links there.
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL
_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # a pipe that took the place of a file does not block


@contextmanager
def replacing(path: Path, *, keep: Path | None = None) -> Iterator[Path]:
    """A new file beside `path` that takes its place when the block ends well.

    The block writes it by its name, which nobody can foresee. Where the block raises, `path` is as
    it was before and the new file is gone.

    Args:
        path: the file; replaced if it is there.
        keep: where a file that is replaced is kept.

    Raises:
        TwlError: the file cannot be written, such as on a full disk.
    """
    with _new_beside(path, keep) as (temporary, descriptor):
        os.close(descriptor)
        yield temporary


def write_whole(
    path: Path, write: Callable[[IO[bytes]], object], *, keep: Path | None = None
) -> None:
    """Write a file under a temporary name and move it into place once it is on the disk.

    Args:
        path: the file; replaced if it is there.
        write: writes the content into the open file that it is given.
        keep: where a file that is replaced is kept.

    Raises:
        TwlError: the file cannot be written; then `path` is as it was before.
    """
    with _new_beside(path, keep) as (_, descriptor):
        raw = _NamedFile(descriptor, "wb")
        raw.path = path
        with io.BufferedWriter(raw) as file:
            try:
                write(file)
                file.flush()
                os.fsync(raw.fileno())
            except RuntimeError as error:  # of torch.save, which does not say why it failed
                raise (raw.failure or error) from error


@contextmanager
def _new_beside(path: Path, keep: Path | None) -> Iterator[tuple[Path, int]]:
    """As `replacing`; the new file is open too, and the block closes it."""
    temporary = path.with_name(f".twl-{secrets.token_hex(8)}.tmp")
    with write_errors(path):
        descriptor = _create(temporary, path)
        try:
            yield temporary, descriptor
            if keep is not None and path.exists():
                path.replace(keep)
            put(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _create(temporary: Path, path: Path) -> int:
    """A new file for what will replace `path`, read by nobody who may not read that."""
    rights = 0o666
    with suppress(OSError):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            rights = (status.st_mode & 0o666) | 0o600
    return os.open(temporary, _NEW | _FLAGS, rights)


def put(temporary: Path, path: Path) -> None:
    """Move a finished file into its place, with the rights of the file that it replaces.

    Raises:
        OSError: the system refuses.
    """
    with suppress(FileNotFoundError):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and hasattr(os, "fchmod"):  # not on Windows
            descriptor = os.open(temporary, os.O_RDONLY | _FLAGS | _AT_ONCE)
            try:
                with suppress(PermissionError):  # only the superuser gives files away
                    os.fchown(descriptor, status.st_uid, status.st_gid)
                with suppress(PermissionError):  # of file systems without rights
                    os.fchmod(descriptor, status.st_mode & 0o777)
            finally:
                os.close(descriptor)
    temporary.replace(path)


def partial_path(path: Path) -> Path:
    """Where `open_partial` keeps the content until `path` is complete."""
    return path.with_name(path.name + ".partial")


@contextmanager
def open_partial(path: Path) -> Iterator[BinaryIO]:
    """A file that grows for hours and gets its name when the block ends well.

    Until then, and for good where the block ends by an exception, it is `partial_path(path)`.
    Errors name `path`, wherever in a run of several outputs they come up.

    Raises:
        TwlError: the file cannot be written.
    """
    partial = partial_path(path)
    with write_errors(path):
        descriptor = claim(partial, path)
    try:
        raw = _NamedFile(os.dup(descriptor), "wb")  # the lock lasts until both are closed
        raw.path = path
        with io.BufferedWriter(raw) as file:
            yield cast(BinaryIO, file)
        with write_errors(path):
            if not _is_at(descriptor, partial):  # where files cannot be locked
                raise TwlError(f"{path}: another twl is writing it")
            if not _LOCKS:
                os.close(descriptor)  # Windows moves no open file
                descriptor = -1
            put(partial, path)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def discard_partial(path: Path) -> None:
    """Remove the partial file of `path`, unless another process writes it."""
    with suppress(OSError, TwlError):
        _remove_abandoned(partial_path(path), path)


def claim(temporary: Path, path: Path) -> int:
    """A new file at a name that follows from another, open and locked until it is closed.

    A file of that name that a killed process has left is removed, not written into.

    Args:
        temporary: the new file.
        path: what is written there in the end; named by errors.

    Raises:
        TwlError: another process has claimed it.
        OSError: it cannot be made, or something else than a file has its name.
    """
    while True:
        try:
            descriptor = _create(temporary, path)
        except FileExistsError:
            _remove_abandoned(temporary, path)
            continue
        try:
            lock(descriptor, path)
            if _is_at(descriptor, temporary):  # nobody took it for abandoned in the meantime
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _remove_abandoned(temporary: Path, path: Path) -> None:
    """Remove a file whose process has ended; the system lets go of its lock then."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(temporary.lstat().st_mode):
            raise OSError(errno.EEXIST, f"{temporary.name!a} is in the way and not a regular file")
        descriptor = os.open(temporary, os.O_RDWR | _FLAGS)
        try:
            lock(descriptor, path)
            if _LOCKS:
                temporary.unlink()
        finally:
            os.close(descriptor)
        if not _LOCKS:
            temporary.unlink()  # Windows removes no open file


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def lock(descriptor: int, path: Path, *, shared: bool = False) -> None:
    """Lock an open file or folder against other processes, where the system can.

    Args:
        descriptor: of the file.
        path: its name, for error messages.
        shared: let those in that also ask for a shared lock.

    Raises:
        TwlError: another process has locked it; names `path`.
    """
    if not _LOCKS:
        return
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise TwlError(f"{path}: another twl is writing it") from None
    except OSError:
        """Not on this file system, such as some network drives."""


@contextmanager
def locked_folder(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Keep other processes that ask for the same out of a folder until the block ends.

    A shared lock lets those in that also ask for one.

    Raises:
        TwlError: another process has it.
    """
    if not _LOCKS:
        yield
        return
    with write_errors(folder):
        descriptor = os.open(folder, os.O_RDONLY)
    _held_here.add(descriptor)
    try:
        lock(descriptor, folder, shared=shared)
        yield
    finally:
        _held_here.discard(descriptor)
        os.close(descriptor)


def _leave_locks_behind() -> None:
    """In a forked process: a lock ends with the process that took it, not with its children."""
    while _held_here:
        os.close(_held_here.pop())


_held_here: set[int] = set()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_locks_behind)


@contextmanager
def open_text(file: Path | None, stream: BinaryIO | None = None) -> Iterator[TextIO]:
    """UTF-8 text into a file as `open_partial` makes it, or into a stream that stays open.

    Names of files that are not UTF-8 keep their bytes. What goes into a stream is there at once.

    Raises:
        TwlError: it cannot be written.
    """
    form: Any = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
    if file is not None:
        with open_partial(file) as binary, io.TextIOWrapper(binary, **form) as text:
            yield text
        return
    assert stream is not None, "a file or a stream"
    streamed = _Stream(stream, **form)
    try:
        yield streamed
    finally:
        streamed.detach()


class _Stream(io.TextIOWrapper):
    """Text that is flushed at once."""

    def write(self, text: str) -> int:
        with write_errors("the output stream"):
            count = super().write(text)
            self.flush()
        return count


class _NamedFile(io.FileIO):
    """A file whose errors say which output it is, and that remembers them."""

    path: Path
    failure: TwlError | None = None

    def write(self, data: Any) -> int:
        try:
            with write_errors(self.path):
                return super().write(data)
        except TwlError as error:
            self.failure = error
            raise


# --- parsed without trust -------------------------------------------------------------------------


MAX_TEXT = 16 << 20  # bytes of a file that people write by hand


def read_short_text(path: Path) -> str:
    """The text of a UTF-8 file as people write them by hand, such as a recipe.

    Raises:
        OSError: it cannot be read, is a pipe or device, or is larger than `MAX_TEXT`.
        UnicodeDecodeError: it is not UTF-8.
    """
    check_regular(path)
    if (size := path.stat().st_size) > MAX_TEXT:
        raise OSError(errno.EFBIG, f"{size:,} bytes, the limit is {MAX_TEXT:,}")
    return path.read_text(encoding="utf-8-sig")


def check_regular(path: Path) -> None:
    """Raise OSError for a pipe, socket or device, which may never end."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"not a regular file: {stat.filemode(mode)}")


def open_own(path: Path) -> BinaryIO:
    """Open a regular file for reading that lies at its name itself.

    Whoever may write into its folder can exchange it at any time: what counts is what was opened.

    Raises:
        OSError: it cannot be opened, is a link, a pipe, a socket or a device.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | _FLAGS | _AT_ONCE), "rb")
    mode = os.fstat(file.fileno()).st_mode
    if not stat.S_ISREG(mode):
        file.close()
        raise OSError(errno.EINVAL, f"not a regular file: {stat.filemode(mode)}")
    return file


def check_not_compressed(path: Path) -> None:
    """Raise ValueError for a zip archive of which a small file can fill the memory."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(each.compress_type != zipfile.ZIP_STORED for each in entries):
        raise ValueError("a compressed archive")
    if sum(each.file_size for each in entries) > path.stat().st_size:
        raise ValueError("entries that share their bytes")


def parse_json(text: str | bytes, *, unique_keys: bool = False) -> Any:
    """The value of a JSON text.

    Args:
        text: the text, or its bytes.
        unique_keys: refuse objects that name a key twice, of which two programs may take
            different values.

    Raises:
        ValueError: it is none (a JSONDecodeError), is nested too deeply, or holds a number of more
            digits than Python reads.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique if unique_keys else None)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"key '{twice}' is there twice")
    return values


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ValueError: as for `parse_json`.
    """
    import tomllib  # most runs read no TOML

    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of a TOML file that somebody has written.

    Args:
        path: of the file.
        what: it holds, for the errors.

    Raises:
        TwlError: it cannot be read, or is no TOML.
    """
    try:
        return parse_toml(read_short_text(path))
    except OSError as error:
        raise TwlError(f"{path}: cannot read the {what} ({reason_of(error)})") from error
    except ValueError as error:
        raise TwlError(f"{path}: not a TOML file of {what} ({error})") from error


# --- arguments that are not trusted ---------------------------------------------------------------


def check_count(name: str, value: int | None, *, least: int = 1) -> None:
    """Raise TwlError where an argument is not None and not a whole number of at least `least`."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise TwlError(f"{name} is {value!r}; expected a whole number of at least {least}")


def listed(value: Any) -> list[Any]:
    """What stands in a sequence; a text, bytes or a path is one thing, not its parts."""
    return [value] if isinstance(value, str | bytes | os.PathLike) else list(value)
