"""What goes wrong with a store, in words, and what is worth another try."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from twlcli.errors import TwlError
from twlcli.stores.address import without_secrets

TRIES = 5
FIRST_WAIT = 0.5  # seconds before the second try; each further wait is twice as long

_AGAIN = frozenset((408, 425, 429))  # HTTP's codes below 500 that may pass
_CODES_AGAIN = frozenset(("RequestTimeout", "SlowDown", "Throttling", "ThrottlingException"))
_LASTING = (
    *(FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError),
    *(ValueError, TypeError, NotImplementedError, AttributeError, ImportError),
)
_LOST = (ConnectionError, TimeoutError)
_NO_CREDENTIALS = ("Credential", "Token", "ProfileNotFound", "NoAuth", "SSO")
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))

Result = TypeVar("Result")


class StoreError(TwlError):
    """Something in a store cannot be had. The message is the reason alone, without the address.

    Attributes:
        missing: there is no such object.
        passing: the store or the network is at fault; later it may be there.
    """

    def __init__(self, reason: str, *, missing: bool = False, passing: bool = False) -> None:
        super().__init__(reason)
        self.missing = missing
        self.passing = passing

    def at(self, place: str) -> TwlError:
        """The error that says where."""
        return TwlError(f"{place}: {self.message}")


class StoppedError(Exception):
    """The run has ended meanwhile."""


def tried(work: Callable[[], Result], *, stop: threading.Event | None = None) -> Result:
    """What `work` gives, tried again with growing waits where what it raises may pass.

    Each wait is drawn from the upper half of its length, so that clients that were refused
    together do not come back together.

    Args:
        work: asks the store once.
        stop: ends the waiting.

    Raises:
        StoreError: it cannot be had.
        StoppedError: `stop` was set.
    """
    import random  # most runs see no store

    wait = FIRST_WAIT
    for attempt in range(1, TRIES + 1):
        try:
            return work()
        except (StoppedError, TwlError):
            raise
        except Exception as error:
            fault = fault_of(error)
            if not fault.passing:
                raise fault from error
            if attempt == TRIES:
                reason = f"cannot be reached ({fault.message} after {TRIES} tries)"
                raise StoreError(reason, passing=True) from error
        pause = wait * random.uniform(0.5, 1)  # noqa: S311  no secret
        if stop is None:
            threading.Event().wait(pause)
        elif stop.wait(pause):
            raise StoppedError
        wait *= 2
    raise AssertionError("the last try returns or raises")


def fault_of(error: Exception) -> StoreError:
    """What an exception of fsspec, or of a library below it, says."""
    chain = list(_causes(error))
    code = next(filter(None, map(_code, chain)), "")
    status = next(filter(None, map(_status, chain)), 0)
    if code == "NoSuchBucket":
        return StoreError("no such bucket", missing=True)
    if code in _CODES_AGAIN or status >= 500 or status in _AGAIN:
        return StoreError(_described(status, code) or _text(error), passing=True)
    if any(name in type(each).__name__ for each in chain for name in _NO_CREDENTIALS):
        return StoreError(f"no credentials ({_text(error)})")
    if isinstance(error, FileNotFoundError) and not status:
        # fsspec says so over HTTP of a server that does not answer, too.
        lost = next((each for each in chain if isinstance(each, _LOST)), None)
        if lost is not None:
            return StoreError(without_secrets(str(lost)) or "no answer in time", passing=True)
    if status in (401, 403) or isinstance(error, PermissionError):
        return StoreError(f"access denied ({_described(status, code) or _text(error)})")
    if status == 404 or isinstance(error, FileNotFoundError):
        return StoreError("no such file", missing=True)
    lasting = status >= 400 or isinstance(error, _LASTING)
    if isinstance(error, OSError) and error.errno in _FULL:
        lasting = True
    return StoreError(_text(error), passing=not lasting)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _code(error: BaseException) -> str:
    """The code of an error of S3, such as `SlowDown`."""
    response = getattr(error, "response", None)
    found = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return found if isinstance(found, str) else ""


def _status(error: BaseException) -> int:
    """The status that HTTP gave; 0 where none is known."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(error, "status", None) or getattr(error, "status_code", None)
        found = found or getattr(response, "status_code", None) or getattr(error, "code", None)
    return found if isinstance(found, int) and 100 <= found < 600 else 0


def _described(status: int, code: str) -> str:
    from http import HTTPStatus

    if not status:
        return code
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    name = phrase if not code or code.isdigit() else code
    return f"{status} {name}".strip()


def _text(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return without_secrets(str(error)) or type(error).__name__
