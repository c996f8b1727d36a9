"""One run on several machines: which images each takes, and the record that joins them again."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from twlcli.errors import TwlError, reason_of
from twlcli.images.image_file import ImageFile
from twlcli.io import check_regular, parse_json, write_errors, write_whole

RunValue = str | int | float | bool | None

_MAX_LINE = 1 << 20  # bytes


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of the images; `index` runs from 1 to `count`.

    An image belongs to the part that the hash of its name says, on every machine and in every order
    of the files, so that a file that is added moves no other.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard of a text such as `2/8`.

        Raises:
            TwlError: it is none.

        Example:
            >>> Shard.parse("2/8")
            Shard(index=2, count=8)
        """
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if match is None:
            raise TwlError(f"shard '{text}': expected i/n, such as 2/8 for the second of eight")
        index, count = int(match[1]), int(match[2])
        if not 1 <= index <= count:
            raise TwlError(f"shard '{text}': expected i/n with i from 1 to n; the first is 1/n")
        return cls(index, count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def takes(self, name: str) -> bool:
        """Whether the image of this name belongs to the part.

        The name's bytes go through BLAKE2b of 8 bytes, read as a big-endian number, modulo `count`.
        """
        digest = hashlib.blake2b(name_bytes(name), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.index - 1


def name_bytes(name: str) -> bytes:
    """The bytes of a name: UTF-8, and those that are not as they are in the file system."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # Windows has names with halves of UTF-16 pairs
        return name.encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Summary:
    """The first line of a record.

    Attributes:
        shard: such as `2/8`.
        images: how many the scan found in all, for all shards together.
        names: digest of all their names, in order.
        taken: how many of them belong to this shard: the lines that follow.
        rows: how many rows the output beside the record has.
        run: what must be the same in all shards, such as the model's hash.
    """

    shard: str
    images: int
    names: str
    taken: int
    rows: int
    run: Mapping[str, RunValue]


def record_path(output: Path) -> Path:
    """Where the record of an output lies: `tags.csv.shard` beside `tags.csv`."""
    return output.with_name(output.name + ".shard")


def read_summary(output: Path) -> Summary:
    """The summary in the record of an output.

    Raises:
        TwlError: there is no record, or it is none of twl's.
    """
    path = record_path(output)
    try:
        check_regular(path)
        with path.open("rb") as file:
            summary = Summary(**parse_json(file.readline(_MAX_LINE)))
        _check_kinds(summary)
        Shard.parse(summary.shard)
    except FileNotFoundError:
        raise TwlError(
            f"{output}: there is no {path.name} beside it; expected a table of one shard"
        ) from None
    except OSError as error:
        raise TwlError(f"{path}: cannot be read ({reason_of(error)})") from error
    except (ValueError, TypeError, TwlError) as error:
        raise TwlError(f"{path}: not a shard's record: {error}") from error
    return summary


def _check_kinds(summary: Summary) -> None:
    counts = (summary.images, summary.taken, summary.rows)
    if any(type(count) is not int or count < 0 for count in counts):
        raise ValueError("expected the numbers of images, taken and rows")
    if not isinstance(summary.run, dict) or not isinstance(summary.shard, str):
        raise ValueError("expected a shard and what it ran with")


def read_images(output: Path, summary: Summary) -> Iterator[tuple[int, str]]:
    """The images in the record of an output: their places among all images, ascending, and names.

    Raises:
        TwlError: the record cannot be read, or is not whole.
    """
    path = record_path(output)
    line, last = 1, -1
    try:
        with path.open("rb") as file:
            file.readline(_MAX_LINE)
            while text := file.readline(_MAX_LINE):
                line += 1
                position, name = parse_json(text)
                if type(position) is not int or position <= last or type(name) is not str:
                    raise ValueError("expected a place and a name")
                last = position
                if line - 1 > summary.taken:
                    raise ValueError(f"expected {summary.taken:,} images")
                yield position, name
    except OSError as error:
        raise TwlError(f"{path}: cannot be read ({reason_of(error)})") from error
    except (ValueError, TypeError) as error:
        raise TwlError(f"{path}:{line}: damaged: {error}") from error
    if line - 1 != summary.taken:
        raise TwlError(
            f"{path}: has {line - 1:,} images, expected {summary.taken:,}; it may be incomplete"
        )


class ShardRecord:
    r"""Picks the images of a shard, and records what `twl merge` needs to know of them.

    The record beside each output is JSON lines: a `Summary`, then `[position, name]` for each image
    of the shard, failed ones too, with its place among all images that the scan found, from 0.

    Example:
        {"shard": "1/2", "images": 3, "names": "9f…", "taken": 2, "rows": 2, "run": {"top_k": 5}}
        [0, "a.jpg"]
        [2, "caf\udce9.jpg"]
    """

    def __init__(self, shard: Shard, outputs: Sequence[Path]) -> None:
        """Prepare the record of a run; nothing is written before the block is entered.

        Args:
            shard: the part that this run takes.
            outputs: the tables that it writes.
        """
        self._shard = shard
        self._outputs = tuple(outputs)
        self._record = record_path(self._outputs[0])
        self._lines: IO[bytes]
        self._images = self._taken = 0
        self._names = hashlib.blake2b(digest_size=16)
        self._complete = False

    def __enter__(self) -> Self:
        """Start the record.

        Raises:
            TwlError: it cannot be written.
        """
        with write_errors(self._record):
            self._lines = tempfile.TemporaryFile(dir=self._record.parent)
            for output in self._outputs:  # one of an earlier run would not fit the new output
                record_path(output).unlink(missing_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the lines; their file has no name."""
        with suppress(OSError):  # of a full disk, which `finish` has told or another file will
            self._lines.close()

    def take(self, files: Iterable[ImageFile]) -> Iterator[ImageFile]:
        """Those of `files`, which are all that the scan finds, that belong to the shard.

        Raises:
            TwlError: the record cannot be written.
        """
        for position, file in enumerate(files):
            name = name_bytes(file.name)
            self._names.update(b"%d:%b" % (len(name), name))
            self._images += 1
            if self._shard.takes(file.name):
                self._taken += 1
                with write_errors(self._record):
                    self._lines.write(json.dumps([position, file.name]).encode("ascii") + b"\n")
                yield file
        self._complete = True

    def finish(self, rows: Mapping[Path, int], run: Mapping[str, RunValue]) -> None:
        """Write the record beside each output, once these have their final names.

        Args:
            rows: for each output the number of its rows.
            run: what must be the same in all shards.

        Raises:
            TwlError: it cannot be written.
        """
        assert self._complete, "the files of `take` were not drawn to their end"
        for output in self._outputs:
            summary = Summary(
                shard=str(self._shard),
                images=self._images,
                names=self._names.hexdigest(),
                taken=self._taken,
                rows=rows[output],
                run=run,
            )
            header = json.dumps(asdict(summary)).encode("ascii") + b"\n"
            write_whole(record_path(output), partial(self._write_record, header))

    def _write_record(self, header: bytes, file: IO[bytes]) -> None:
        file.write(header)
        self._lines.seek(0)
        shutil.copyfileobj(self._lines, file)
