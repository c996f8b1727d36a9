"""Results that are kept: a model and an image set that were evaluated are not evaluated again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from twlcli.annotations.annotations import Annotations
from twlcli.io import parse_json, read_short_text, write_errors, write_whole
from twlcli.probing.plan import ImageSet
from twlcli.probing.result import ProbeResult, from_dict, to_dict

RESULTS_NAME = "results"
_FORMAT = 1  # to be raised when the same settings would give other figures


class KeptResults:
    """The results in an output folder, one file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / RESULTS_NAME

    def read(self, key: str, *, model: str, data: str) -> ProbeResult | None:
        """A result, under the names of today; None where there is none, or a damaged one."""
        try:
            fields = parse_json(read_short_text(self._folder / f"{key}.json"))
            return replace(from_dict(fields), model=model, data=data)
        except (OSError, ValueError):
            return None

    def write(self, key: str, result: ProbeResult) -> None:
        """Keep a result.

        Raises:
            TwlError: it cannot be written.
        """
        text = json.dumps(to_dict(result), allow_nan=False, indent=1) + "\n"
        with write_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / f"{key}.json", lambda file: file.write(text.encode()))


def key_of(features: str, data: ImageSet, settings: Mapping[str, Any]) -> str:
    """The name that a result is kept under.

    Args:
        features: what tells the network, its weights and its preprocessing.
        data: the images; a file that changes makes another key.
        settings: all that the figures depend on besides, fit for JSON.
    """
    parts = [_digest(part) for part in (data.train, data.test)]
    text = json.dumps([_FORMAT, features, parts, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _digest(data: Annotations) -> str:
    """SHA-256 of images and labels: the files by their paths, sizes and times."""
    digest = hashlib.sha256(json.dumps(data.vocabulary.names).encode())
    for row in range(len(data)):
        path = data.path(row).absolute()
        try:
            known = path.stat()
            about = f"{known.st_size} {known.st_mtime_ns}"
        except OSError:
            about = ""
        digest.update(f"{path}\0{about}\0".encode("utf-8", "surrogateescape"))
    matrix = data.labels
    for array in (matrix.starts, matrix.columns, matrix.values):
        digest.update(array.tobytes())
    return digest.hexdigest()
