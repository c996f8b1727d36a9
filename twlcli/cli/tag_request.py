"""What was asked of `twl tag`, apart from its outputs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from twlcli.errors import TwlError
from twlcli.images.discover.scan import scan
from twlcli.images.sandbox import Limits

if TYPE_CHECKING:
    from twlcli.images.image_file import ImageFile
    from twlcli.tagging.shards import Shard


@dataclass(frozen=True)
class Sources:
    """What is tagged; see `images.scan.scan`."""

    paths: tuple[Path, ...]
    lists: tuple[str, ...]
    null: bool
    hidden: bool
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    shard: Shard | None

    def __post_init__(self) -> None:
        if not self.paths and not self.lists:
            raise TwlError("nothing to tag: name images or folders, or a list of them with --from")

    def files(self) -> Iterator[ImageFile]:
        """All files of all shards, anew."""
        if "-" in self.lists and sys.stdin is None:
            raise TwlError("a list on the standard input, which is closed")
        standard_input = typer.get_binary_stream("stdin") if "-" in self.lists else None
        return scan(
            self.paths,
            lists=self.lists,
            null=self.null,
            standard_input=standard_input,
            hidden=self.hidden,
            include=self.include,
            exclude=self.exclude,
        )

    def again(self) -> Iterable[ImageFile] | None:
        """The files of this shard a second time; None where they come only once."""
        if "-" in self.lists:
            return None
        shard = self.shard
        return (file for file in self.files() if shard is None or shard.takes(file.name))


@dataclass(frozen=True)
class Decision:
    """What decides the tags of an image, besides the model."""

    threshold: str | None
    top_k: int | None
    exact: bool
    policy: Path | None


@dataclass(frozen=True)
class Engine:
    """What runs the model, and how; None is the default."""

    model: Path | None
    provider: str | None
    batch_size: int | None
    workers: int | None
    limits: Limits


@dataclass(frozen=True)
class Remembering:
    """How the journal is used; `journal` is None where there is none."""

    journal: Path | None
    content: bool
    retry_failed: bool

    def __post_init__(self) -> None:
        if self.journal is None and (self.content or self.retry_failed):
            option = "--retry-failed" if self.retry_failed else "--hash"
            raise TwlError(f"{option} needs a journal: name one with --journal, or an --out FILE")


def limits_of(seconds: float | None, megabytes: int | None) -> Limits:
    """What one image may take; None is the default."""
    default = Limits()
    return Limits(seconds or default.seconds, megabytes or default.megabytes)


def shard_of(text: str | None) -> Shard | None:
    """The shard that `I/N` names.

    Raises:
        TwlError: it names none.
    """
    if text is None:
        return None
    from twlcli.tagging.shards import Shard

    return Shard.parse(text)
