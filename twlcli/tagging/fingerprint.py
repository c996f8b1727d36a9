"""What tells whether an image, or a model, is still the one that a stored row came from."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import ImageError
from twlcli.images.image_file import ImageFile, read_range
from twlcli.inference.stream import usable_cores
from twlcli.tagging.entries import Identity

ROWS = 1  # to be raised when another twl would decode or decide the same image differently


def identify(file: ImageFile, *, content: bool = False) -> Identity | None:
    """The identity of a file, with its content's hash if asked for; None if it cannot be told."""
    if file.failure is not None:
        return None
    try:
        sha256 = _sha256(file) if content else None
        if file.byte_range is not None:
            return Identity(
                file.byte_range.size, file.byte_range.mtime_ns, file.byte_range.offset, sha256
            )
        status = file.path.stat()
        return Identity(status.st_size, status.st_mtime_ns, sha256=sha256)
    except (OSError, ImageError):  # decoding will say why
        return None


@contextmanager
def identifier(
    *, content: bool
) -> Iterator[Callable[[Sequence[ImageFile]], list[Identity | None]]]:
    """A function from files to their identities; hashes are taken in several threads."""
    if not content:
        yield lambda files: [identify(file) for file in files]
        return
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="twl-hashes") as pool:
        yield lambda files: list(pool.map(partial(identify, content=True), files))


def model_digest(model: Path) -> str:
    """SHA-256 of a model file, in hexadecimal."""
    with model.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_key(
    model: str, *, thresholds: NDArray[np.float32] | None, top_k: int | None, exact: bool
) -> bytes:
    """A digest of all that decides a row, apart from the image.

    Provider, batch size and workers are left out: they move a probability in its last digits
    only, and a run may go on with others.

    Args:
        model: its `model_digest`; labels, preprocessing and calibration are inside.
        thresholds: (C,), or None where all labels are given.
        top_k: at most so many labels.
        exact: whether JPEG is decoded at full size.
    """
    given = "all" if thresholds is None else thresholds.tobytes().hex()
    return hashlib.sha256(json.dumps([ROWS, model, given, top_k, exact]).encode()).digest()


def _sha256(file: ImageFile) -> bytes:
    if file.byte_range is not None:
        source: io.BufferedIOBase = io.BytesIO(read_range(file.path, file.byte_range))
    else:
        source = file.path.open("rb")
    with source:
        return hashlib.file_digest(source, "sha256").digest()
