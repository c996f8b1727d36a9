"""What is wrong with the input or the environment.

    TwlError               one clear line: where, what is wrong, what was expected
    ├── AnnotationError    a label file, or an image that it names
    ├── ImageError         one image that cannot be decoded
    ├── RecipeError        a recipe, or a setting that overrides it
    ├── ModelError         a run, checkpoint or exported model
    ├── DeviceError        a device or execution provider that is not available, or exhausted memory
    ├── DivergedError      training whose loss became NaN or infinite
    └── MissingExtraError  a part of twl that was not installed

    InterruptedRunError    training stopped because it was asked to; not a fault

An error may carry a `hint`: what to do about it, in terms of the arguments of the function that was
called. The command line prints `twl: error: MESSAGE; HINT` with its own names of those arguments,
and exits with 2.

Losses and metrics raise ValueError or TypeError for arguments that cannot be used, as torch does.
Anything else that escapes is a bug and shows its traceback.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

_LONGEST_COMPARED = 60  # characters
_MOST_COMPARED = 5_000  # words
_ARGUMENT = re.compile(r"\{([a-z_]+)\}")


class TwlError(Exception):
    """Base of all errors that are the input's or the environment's fault, not twl's.

    Attributes:
        message: where, what is wrong and what was expected, on one line.
        hint: what to do about it, if there is more to say; see `hinted`.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self._hint = hint

    @property
    def hint(self) -> str:
        """What to do about it, naming arguments as in Python; empty if there is nothing to add."""
        return self.hinted(lambda name: f"`{name}`")

    def hinted(self, name_of: Callable[[str], str]) -> str:
        """The hint with every argument named by `name_of`.

        Example:
            >>> error = TwlError("a.csv: exists already", hint="use {force} to replace it")
            >>> error.hinted(lambda name: f"--{name}")
            'use --force to replace it'
        """
        return _ARGUMENT.sub(lambda found: name_of(found[1]), self._hint)

    def advise(self, hint: str) -> None:
        """Add to the hint."""
        self._hint = "; ".join(filter(None, (self._hint, hint)))

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self._hint else self.message


class AnnotationError(TwlError):
    """A label file is unreadable, contradictory, or names something that is not there."""

    @classmethod
    def at(
        cls, path: Path | str, line: int | None, message: str, *, hint: str = ""
    ) -> AnnotationError:
        """An error with its place, as `path:line: message` (`path: message` without a line)."""
        place = f"{path}:{line}" if line is not None else f"{path}"
        return cls(f"{place}: {message}", hint=hint)


class UnknownLabelError(AnnotationError):
    """A label file has a label that is not one of the model's."""


class ImageError(TwlError):
    """One image cannot be decoded. The message is the reason alone, without the path."""


class RecipeError(TwlError):
    """A recipe has an unknown key, a value of the wrong type or one out of range."""


class ModelError(TwlError):
    """A run folder, checkpoint or exported model is missing, damaged or not twl's."""


class DeviceError(TwlError):
    """A device or execution provider is not available, or its memory is exhausted."""


class MissingExtraError(TwlError):
    """Something needs an optional dependency that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the '{extra}' extra: pip install 'twlcli[{extra}]'")
        self._arguments = what, extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return MissingExtraError, self._arguments


class InterruptedRunError(Exception):
    """Training stopped when it was asked to; the run can be resumed.

    Attributes:
        folder: the run's.
    """

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message, folder)
        self.message = message
        self.folder = folder

    def __str__(self) -> str:
        return self.message


class DivergedError(TwlError):
    """The loss became NaN or infinite."""


def did_you_mean(word: str, known: Iterable[str], *, like: float = 0.6) -> str:
    """`; did you mean 'cat'?` for the known word nearest to `word`, or an empty string.

    Words longer than a name, and those beyond the first thousands, are not compared: that would
    take minutes where somebody wants it to. `like` says how near it has to be, 0..1.
    """
    import difflib

    names = [name for name in islice(known, _MOST_COMPARED) if len(name) <= _LONGEST_COMPARED]
    if len(word) > _LONGEST_COMPARED:
        return ""
    nearest = difflib.get_close_matches(word, names, n=1, cutoff=like)
    return f"; did you mean '{nearest[0]}'?" if nearest else ""


def check_extra(what: str, extra: str, package: str) -> None:
    """Raise MissingExtraError at once where a package that `extra` installs is not there.

    For work that begins long before it imports the package; see `needs_extra`.
    """
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(what, extra)


def reason_of(error: OSError) -> str:
    """Why the system refuses something, on one line; libraries raise OSErrors of their own too."""
    return error.strerror or (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def needs_extra(what: str, extra: str) -> Iterator[None]:
    """Imports inside the block may be of packages that `extra` installs.

    Args:
        what: what cannot be done without them, such as `training`.
        extra: the name of the extra in twl's package.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "twlcli":  # a bug of our own
            raise
        raise MissingExtraError(what, extra) from error
