"""Outputs that belong into a store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from twlcli.stores.upload import named_as_given, staged
from twlcli.tagging.outputs.output import Output, RunFacts, Sink


@dataclass(frozen=True)
class Uploaded:
    """An output that `tag_files` writes to a file of twl's and uploads once it is complete.

    Attributes:
        output: what is written.
        address: where its file goes, such as `s3://bucket/tags.parquet`.
    """

    output: Output
    address: str

    @classmethod
    def to(cls, address: str, make: Callable[[Path], Output]) -> Uploaded:
        """The output that `make` makes of a path, at an address.

        Raises:
            TwlError: the address names no file.
        """
        with named_as_given([address]):
            return cls(make(staged(address)), address)

    @property
    def file(self) -> Path | None:
        """Where it is written before it is uploaded."""
        return self.output.file

    def open(self, run: RunFacts) -> AbstractContextManager[Sink]:
        """Begin to write; whoever opens it uploads the file."""
        return self.output.open(run)
