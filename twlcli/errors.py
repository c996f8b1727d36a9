"""Every error that twl raises on purpose.

    TwlError               one clear line: where, what is wrong, what was expected
    ├── AnnotationError    a label file, or an image that it names
    ├── ImageError         one image that cannot be decoded
    ├── RecipeError        a recipe, or a flag that overrides it
    ├── ModelError         a run, checkpoint or exported model
    ├── DeviceError        a device, execution provider or memory that is not there
    └── MissingExtraError  a part of twl that was not installed

The command line prints `twl: error: MESSAGE` and exits with 2. Anything else that escapes is a bug
and shows its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class TwlError(Exception):
    """Base of all errors that are the input's or the surroundings' fault, not twl's."""


class AnnotationError(TwlError):
    """A label file is unreadable, contradictory, or names something that is not there."""

    @classmethod
    def at(cls, path: Path | str, line: int | None, message: str) -> AnnotationError:
        """An error with its place, as `path:line: message` (`path: message` without a line)."""
        place = f"{path}:{line}" if line is not None else f"{path}"
        return cls(f"{place}: {message}")


class ImageError(TwlError):
    """One image cannot be decoded. The message is the reason alone, without the path."""


class RecipeError(TwlError):
    """A recipe has an unknown key, a value of the wrong type or one out of range."""


class ModelError(TwlError):
    """A run folder, checkpoint or exported model is missing, damaged or not twl's."""


class DeviceError(TwlError):
    """A device or execution provider is not available, or its memory is exhausted."""


class MissingExtraError(TwlError):
    """A command needs an optional dependency that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the '{extra}' extra: pip install 'twlcli[{extra}]'")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'cat'?` for the known word nearest to `word`, or an empty string."""
    nearest = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{nearest[0]}'?" if nearest else ""
