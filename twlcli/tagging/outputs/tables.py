"""What is made of tags alone, without the images, by the names of their formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from twlcli.errors import TwlError
from twlcli.tagging.outputs.csv import Csv
from twlcli.tagging.outputs.fiftyone import FiftyOne
from twlcli.tagging.outputs.jsonl import Jsonl
from twlcli.tagging.outputs.label_studio import LabelStudio, LabelStudioConfig
from twlcli.tagging.outputs.output import Output
from twlcli.tagging.outputs.parquet import Parquet

TABLES: dict[str, Callable[[Path], Output]] = {"csv": Csv, "jsonl": Jsonl, "parquet": Parquet}
# Both are JSON, so that no suffix tells which is meant.
FOR_TOOLS: dict[str, Callable[[Path], Output]] = {"label-studio": LabelStudio, "fiftyone": FiftyOne}
STREAMED: dict[str, Callable[[None, BinaryIO], Output]] = {
    "csv": Csv,
    "jsonl": Jsonl,
    "label-studio": LabelStudio,
    "fiftyone": FiftyOne,
}
_ALL = TABLES | FOR_TOOLS


def table(path: Path, format_name: str | None = None) -> Output:
    """The table of tags that a file's suffix, or else a format, asks for.

    Raises:
        TwlError: the format is not known, or the suffix names none.
    """
    return _ALL[format_of(path, format_name)](path)


def is_table(output: Output) -> bool:
    """Whether an output is a table of tags, which `merge` joins with those of other shards."""
    return isinstance(output, Csv | Jsonl | Parquet)


def needs_images(output: Output) -> bool:
    """Whether an output needs the images themselves, or their places, beside their tags."""
    return not isinstance(
        output, Csv | Jsonl | Parquet | LabelStudio | LabelStudioConfig | FiftyOne
    )


def streamed_table(stream: BinaryIO, format_name: str | None = None) -> Output:
    """A table of tags whose rows go into an open binary stream; CSV unless told otherwise.

    Raises:
        TwlError: the format is not known, or needs a file.
    """
    name = _known(format_name or "csv")
    if name not in STREAMED:
        raise TwlError(f"format '{name}' needs a file: it cannot be written to a stream")
    return STREAMED[name](None, stream)


def format_of(path: Path, wish: str | None = None) -> str:
    """The format wished for, else that of the file's suffix; a key of `TABLES` or `FOR_TOOLS`.

    Raises:
        TwlError: the format is not known, or the suffix names none.
    """
    if wish is not None:
        return _known(wish)
    name = path.suffix.lower().removeprefix(".")
    if name == "json":
        raise TwlError(
            f"{path}: .json may be Label Studio's or FiftyOne's; expected LabelStudio(path) or "
            "FiftyOne(path)"
        )
    if name not in TABLES:
        raise TwlError(
            f"{path}: the suffix '{path.suffix}' is not a known format; expected .csv, .jsonl or "
            ".parquet"
        )
    return name


def _known(name: str) -> str:
    if name not in _ALL:
        raise TwlError(f"format '{name}' is not known (known: {', '.join(_ALL)})")
    return name
