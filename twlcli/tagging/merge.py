"""Joins the tables of all shards into the one that a single run would have written."""

from __future__ import annotations

import csv
import heapq
import os
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from twlcli.annotations.csv_cells import image_of_cell
from twlcli.annotations.encoding import open_text, readable
from twlcli.annotations.rows import long_cells
from twlcli.confined import ConfinedError, confined
from twlcli.errors import TwlError, needs_extra, reason_of
from twlcli.io import check_free, check_regular, discard_partial, listed, open_partial, parse_json
from twlcli.tagging.outputs.parquet import parquet_rows
from twlcli.tagging.outputs.tables import format_of
from twlcli.tagging.shards import Shard, Summary, read_images, read_summary
from twlcli.tagging.tags import Tags

_NOT_SET = "not set"
_TAGS_HEADER = b"image,labels,probabilities\n"
_ERRORS_HEADER = b"image,error\n"
_BATCH = 1024  # rows of a Parquet part in memory
_SHOWN = 20  # missing shards

NamedRow = tuple[str, Any]  # the image's name, and the row as the table's writer takes it


@dataclass(frozen=True)
class Merged:
    """What a merge has written.

    Attributes:
        shards: number of parts.
        images: how many the scan had found, for all shards together.
        rows: rows in the table.
        without_row: images that have none; in a table of tags those that failed.
    """

    shards: int
    images: int
    rows: int
    without_row: int


def merge(out: Path | str, parts: Sequence[Path | str], *, force: bool = False) -> Merged:
    """Join the tables of all shards, in the order in which one run would have written the rows.

    Beside each part lies its record (see `ShardRecord`). Rows are copied as they are, so that the
    bytes are those of one run. Memory does not grow with the number of rows.

    Args:
        out: the table to write, in the format of the parts; it has its name once it is whole.
        parts: the tables of all shards, in any order; tags, or the unreadable images of `--errors`.
        force: replace `out`.

    Raises:
        TwlError: `out` exists; a shard is missing or comes twice; shards differ in model, options
            or images; or a part lacks rows, has some twice or has others.
        MissingExtraError: Parquet without pyarrow.
    """
    return _merge(Path(out), [Path(part) for part in listed(parts)], force=force)


def _merge(out: Path, parts: Sequence[Path], *, force: bool) -> Merged:
    if not parts:
        raise TwlError("nothing to merge; expected the tables of all shards")
    check_free(out, force=force)
    for part in (out, *parts):
        if part.suffix.lower() == ".json":
            raise TwlError(
                f"{part}: Label Studio and FiftyOne take the files of all shards one after the "
                "other; expected tables to join"
            )
    formats = {part: format_of(part) for part in (out, *parts)}
    for part in parts:
        if formats[part] != formats[out]:
            raise TwlError(f"{part}: is {formats[part]}, expected {formats[out]} as {out}")
        if part.resolve() == out.resolve():
            raise TwlError(f"{part}: is a part and the output")
        with readable(part):
            check_regular(part)
    summaries = [read_summary(part) for part in parts]
    _check_shards(parts, summaries)
    table: _Text | _Parquet
    joined: Iterator[list[Any]]
    if formats[out] == "parquet":
        table = _Parquet()
        joined = _joined_elsewhere(out, parts, summaries)
    else:
        table = _Text(parts, formats[out])
        joined = _joined(out, parts, summaries, table)
    images = rows = without_row = 0
    try:
        with table.write(out) as write:
            for found in joined:
                images += 1
                rows += len(found)
                without_row += not found
                for row in found:
                    write(row)
    except BaseException:
        discard_partial(out)  # nothing goes on from it
        raise
    return Merged(len(parts), images, rows, without_row)


def _joined(
    out: Path, parts: Sequence[Path], summaries: Sequence[Summary], table: _Text | _Parquet
) -> Iterator[list[Any]]:
    """The rows of each image, in the order of one run."""
    entries = [
        _entries(part, summary, table) for part, summary in zip(parts, summaries, strict=True)
    ]
    before: Path | None = None
    images = 0
    for position, found, part in heapq.merge(*entries, key=lambda entry: entry[0]):
        if position != images:
            what = "no part" if position > images else f"{before} and in {part}"
            raise TwlError(f"{out}: image number {min(position, images) + 1:,} is in {what}")
        before = part
        images += 1
        yield found
    if images != summaries[0].images:
        raise TwlError(f"{out}: image number {images + 1:,} is in no part")


def _joined_elsewhere(
    out: Path, parts: Sequence[Path], summaries: Sequence[Summary]
) -> Iterator[list[Tags]]:
    """As `_joined`, of Parquet, in a process that may crash or take too much."""
    with needs_extra("reading Parquet", "parquet"):
        import pyarrow  # noqa: F401
    try:
        for found in confined(_joined_parquet, out, parts, summaries):
            yield [
                Tags(name, tuple(labels), tuple(probabilities))
                for name, labels, probabilities in found
            ]
    except ConfinedError as error:
        raise TwlError(f"{out}: a part of it {error}") from None


def _joined_parquet(
    out: Path, parts: Sequence[Path], summaries: Sequence[Summary]
) -> Iterator[list[Any]]:
    yield from _joined(out, parts, summaries, _Parquet())


def _check_shards(parts: Sequence[Path], summaries: Sequence[Summary]) -> None:
    """Raise TwlError where these are not all the shards of one run."""
    shards = [Shard.parse(summary.shard) for summary in summaries]
    count = _agreed(parts, [shard.count for shard in shards], "is one of {} shards")
    there: dict[int, Path] = {}
    for part, shard in zip(parts, shards, strict=True):
        if shard.index in there:
            raise TwlError(f"{part}: is shard {shard}, and so is {there[shard.index]}")
        there[shard.index] = part
    for key in sorted({key for summary in summaries for key in summary.run}):
        values = [summary.run.get(key, _NOT_SET) for summary in summaries]
        _agreed(parts, [_NOT_SET if value is None else value for value in values], f"{key} is {{}}")
    again = "; tag it again from the same files"
    found = [f"{summary.images:,}" for summary in summaries]
    _agreed(parts, found, "the scan found {} images", again)
    names = [summary.names for summary in summaries]
    _agreed(parts, names, "the scan found other images, or in another order", again)
    if len(there) < count:
        missing = islice((i for i in range(1, count + 1) if i not in there), _SHOWN)
        more = f" and {left:,} more" if (left := count - len(there) - _SHOWN) > 0 else ""
        which = ", ".join(str(Shard(index, count)) for index in missing)
        raise TwlError(f"{parts[0]}: is one of {count:,} shards; missing: {which}{more}")


def _agreed(parts: Sequence[Path], values: Sequence[Any], what: str, then: str = "") -> Any:
    """The value that most parts have; of several such, that of the first part.

    Raises:
        TwlError: a part has another one, and is named.
    """
    usual = max(values, key=values.count)
    like = [part for part, value in zip(parts, values, strict=True) if value == usual]
    others = f" and {len(like) - 1} more" if len(like) > 1 else ""
    for part, value in zip(parts, values, strict=True):
        if value != usual:
            but = (
                f", but {usual} in {like[0]}{others}"
                if "{}" in what
                else f" than {like[0]}{others}"
            )
            raise TwlError(f"{part}: {what.format(value)}{but}{then}")
    return usual


def _entries(
    part: Path, summary: Summary, table: _Text | _Parquet
) -> Iterator[tuple[int, list[Any], Path]]:
    """Each image of a shard: its place among all images, its rows, and the part."""
    rows = table.read(part)
    count = 0
    row = next(rows, None)
    for position, name in read_images(part, summary):
        found: list[Any] = []
        while row is not None and row[0] == name and (table.repeats or not found):
            found.append(row[1])
            count += 1
            row = next(rows, None)
        yield position, found, part
    if row is not None:
        raise TwlError(
            f"{part}: row {count + 1:,}, '{row[0]}', does not belong to shard {summary.shard}, "
            "is duplicated or is out of order"
        )
    if count != summary.rows:
        raise TwlError(f"{part}: has {count:,} rows, expected {summary.rows:,}; rows are missing")


class _Text:
    """CSV and JSONL, whose rows are copied without a change.

    Attributes:
        repeats: whether an image may have several rows: in a table of failures.
    """

    def __init__(self, parts: Sequence[Path], format_name: str) -> None:
        self._header = b""
        self._read: Callable[[Path, Any], Iterator[NamedRow]] = _jsonl_rows
        if format_name == "csv":
            self._read = _csv_rows
            headers = {part: _first_line(part) for part in parts}
            for part, header in headers.items():
                if header.removeprefix(BOM_UTF8) not in (_TAGS_HEADER, _ERRORS_HEADER):
                    raise TwlError(f"{part}: is not a table of tags, nor of failures")
            for (one, first), (other, second) in pairwise(headers.items()):
                if first != second:
                    raise TwlError(f"{other}: its columns are not those of {one}")
            self._header = headers[parts[0]]
        self.repeats = self._header.removeprefix(BOM_UTF8) == _ERRORS_HEADER

    def read(self, path: Path) -> Iterator[NamedRow]:
        """The rows of a part."""
        with readable(path), path.open("rb") as raw:
            is_empty = raw.seek(0, os.SEEK_END) == 0
            if not is_empty and raw.seek(-1, os.SEEK_END) >= 0 and raw.read(1) != b"\n":
                raise TwlError(f"{path}: is cut off in its last row")
        with open_text(path, "utf-8", errors="surrogateescape") as file:
            yield from self._read(path, file)

    @contextmanager
    def write(self, path: Path) -> Iterator[Callable[[Any], object]]:
        """Takes the rows of the output."""
        with open_partial(path) as file:
            file.write(self._header)
            yield lambda row: file.write(row.encode("utf-8", "surrogateescape"))


def _first_line(part: Path) -> bytes:
    with readable(part), part.open("rb") as file:
        return file.readline(1024)


def _csv_rows(path: Path, file: Iterator[str]) -> Iterator[NamedRow]:
    next(file, None)
    lines: list[str] = []
    reader = csv.reader(_noted(file, lines), strict=True)
    with long_cells():
        try:
            for row in reader:
                if len(row) > 2:
                    _check_probabilities(_numbers(row[2]))
                yield image_of_cell(row[0]), "".join(lines)
                lines.clear()
        except (csv.Error, IndexError) as error:
            raise TwlError(f"{path}:{reader.line_num + 1}: not a row of CSV ({error})") from error
        except ValueError as error:
            raise TwlError(f"{path}:{reader.line_num + 1}: not a row of tags ({error})") from error


def _numbers(cell: str) -> list[Any]:
    """The probabilities in a cell, as `outputs.csv` writes them.

    Example:
        >>> _numbers("0.93|0.71"), _numbers("[0.93]"), _numbers("")
        ([0.93, 0.71], [0.93], [])
    """
    if cell.startswith("["):
        return list(parse_json(cell))
    return [float(each) for each in cell.split("|")] if cell else []


def _check_probabilities(values: Iterable[Any]) -> None:
    """Raise ValueError for what no model gives."""
    for value in values:
        if type(value) not in (float, int) or not 0 <= value <= 1:
            raise ValueError(f"the probability {value!r} is not between 0 and 1")


def _noted(file: Iterator[str], lines: list[str]) -> Iterator[str]:
    """The lines of a file, which are also put into a list as they are drawn."""
    for line in file:
        lines.append(line)
        yield line


def _jsonl_rows(path: Path, file: Iterator[str]) -> Iterator[NamedRow]:
    for number, line in enumerate(file, start=1):
        try:
            row = parse_json(line)
            name = row["image"]
            _check_probabilities(row["labels"].values())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            what = f" ({error})" if type(error) is ValueError else ", expected an 'image'"
            raise TwlError(f"{path}:{number}: not a row of tags{what}") from None
        yield name, line


class _Parquet:
    """Parquet, whose rows are read and written again."""

    repeats = False

    def read(self, path: Path) -> Iterator[NamedRow]:
        """The rows of a part; their writer takes `Tags`."""
        import pyarrow
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_BATCH, use_threads=False):
                    for row in batch.to_pylist():
                        image = row["image"]
                        name = os.fsdecode(row["image_bytes"]) if image is None else image
                        _check_probabilities(row["probabilities"])
                        if len(row["labels"]) != len(row["probabilities"]):
                            raise ValueError("labels and probabilities differ in number")
                        yield name, (name, row["labels"], row["probabilities"])
        except MemoryError:
            raise
        except OSError as error:
            raise TwlError(f"{path}: cannot be read ({reason_of(error)})") from error
        except (pyarrow.ArrowException, KeyError, TypeError, ValueError) as error:
            raise TwlError(f"{path}: not a Parquet table of tags ({error})") from error

    @contextmanager
    def write(self, path: Path) -> Iterator[Callable[[Any], object]]:
        """Takes the rows of the output."""
        with open_partial(path) as file, parquet_rows(file) as groups:
            yield groups.add
