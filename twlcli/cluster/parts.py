"""The folder that a cluster writes: Parquet parts, what they were made with, and what is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import dataset, fs

from twlcli.cluster.worker import FAILED, OUTCOME, TAGGED
from twlcli.errors import TwlError
from twlcli.io import is_address
from twlcli.stores.address import shown
from twlcli.stores.faults import StoreError
from twlcli.stores.store import open_store

_OWN = "_twl"  # readers of Parquet pass over names that begin so
_PENDING = ".pending.parquet"  # ends the names of Ray's notes on parts that may not be whole


@dataclass(frozen=True)
class Parts:
    """A folder of parts.

    Attributes:
        place: the folder as it was given, for errors.
        path: its path in the file system.
        files: the file system.
    """

    place: str
    path: str
    files: Any

    @classmethod
    def at(cls, folder: Path | str) -> Parts:
        """A folder of this machine or of a store, which need not be there.

        Raises:
            TwlError: the store does not answer, or has no such bucket.
        """
        if not is_address(folder):
            if Path(folder).exists() and not Path(folder).is_dir():
                raise TwlError(f"{folder}: is not a folder")
            return cls(str(folder), Path(folder).absolute().as_posix(), fs.LocalFileSystem())
        store, path = open_store(folder)
        try:
            next(store.entries(path.rstrip("/")), None)
        except StoreError as error:
            if not error.missing or error.message == "no such bucket":
                raise error.at(shown(folder)) from error
        return cls(
            shown(folder), path.rstrip("/"), fs.PyFileSystem(fs.FSSpecHandler(store.plain()))
        )

    @property
    def checkpoint(self) -> str:
        """The folder where Ray notes which images are done."""
        return f"{self.path}/{_OWN}/checkpoint"

    def begin(self, conditions: Mapping[str, Any]) -> None:
        """Make the folder, or see that it is of a run with the same conditions.

        Raises:
            TwlError: it is of another run, has other files, or cannot be written.
        """
        note = f"{self.path}/{_OWN}/run.json"
        if self.files.get_file_info(note).type == fs.FileType.File:
            with self.files.open_input_stream(note) as stream:
                self._check_same(json.loads(stream.read()), conditions)
            return
        if any(self._found("")):
            raise TwlError(f"{self.place}: is not empty, and not of a run on a cluster")
        try:
            self.files.create_dir(f"{self.path}/{_OWN}", recursive=True)
            with self.files.open_output_stream(f"{note}.tmp") as stream:
                stream.write(json.dumps(conditions, indent=2).encode())
            self.files.move(f"{note}.tmp", note)
        except Exception as error:  # of files and of stores, each with errors of its own
            raise TwlError(f"{self.place}: cannot be written ({error})") from error

    def _check_same(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        for key, value in now.items():
            if before.get(key) != value:
                raise TwlError(
                    f"{self.place}: was written with another {key.replace('_', ' ')} "
                    f"({before.get(key)}, now {value}); expected a new folder"
                )

    def _found(self, inside: str) -> list[Any]:
        selector = fs.FileSelector(f"{self.path}/{inside}".rstrip("/"), allow_not_found=True)
        found: list[Any] = self.files.get_file_info(selector)
        return found

    def done(self) -> int:
        """How many images are noted as done."""
        notes = [
            each.path
            for each in self._found(f"{_OWN}/checkpoint")
            if each.path.endswith(".parquet") and not each.path.endswith(_PENDING)
        ]
        return dataset.dataset(notes, filesystem=self.files).count_rows() if notes else 0

    def count(self) -> tuple[int, int]:
        """How many images have tags, and how many failed."""
        tagged, failed = (self._rows(outcome) for outcome in (TAGGED, FAILED))
        return tagged, failed

    def _rows(self, outcome: str) -> int:
        parts = [
            each.path
            for each in self._found(f"{OUTCOME}={outcome}")
            if each.path.endswith(".parquet")
        ]
        return dataset.dataset(parts, filesystem=self.files).count_rows() if parts else 0
