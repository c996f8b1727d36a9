"""The scores of an evaluation as a file."""

from __future__ import annotations

import csv
import io
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.csv_cells import (
    cell_of_image,
    cell_of_text,
    image_of_cell,
    row_writer,
    text_of_cell,
)
from twlcli.errors import TwlError
from twlcli.inference.scored import ScoredImages
from twlcli.io import write_whole
from twlcli.model.decisions import calibration_of, probabilities
from twlcli.model.spec import ModelSpec
from twlcli.scoring.average_precision import blocks

SUFFIXES = (".csv", ".npz")


@dataclass(frozen=True)
class Scores:
    """What a file of scores holds.

    Attributes:
        images: N names, as the label file has them.
        labels: C names.
        probabilities: (N, C) float32 in 0..1; NaN where there is none.
    """

    images: tuple[str, ...]
    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]


def check_suffix(path: Path) -> None:
    """Raise TwlError where the name does not say which form is wanted."""
    if path.suffix.lower() not in SUFFIXES:
        raise TwlError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}")


def write_scores(scored: ScoredImages, spec: ModelSpec, path: Path) -> None:
    """Write what the model said of each image, in the form that the name's ending asks for.

    `.csv`: a header `image,LABEL,LABEL,…`, then a row for each image with its calibrated
    probabilities, in the shortest form that float32 reads back exactly.

    `.npz`: arrays that `numpy.load` reads without pickle: `logits` and `probabilities` (N, C)
    float32, `targets` (N, C) int8 of 1, 0 and -1, `labels` (C,) and `images` (N,) strings.

    Raises:
        ModelError: the model carries no calibration.
        TwlError: the name ends otherwise, or the file cannot be written; then none is there.
    """
    check_suffix(path)
    certain = probabilities(scored.logits, calibration_of(spec))
    write = _write_csv if path.suffix.lower() == ".csv" else _write_npz
    write_whole(path, lambda file: write(file, scored, spec, certain))


def _write_csv(
    file: IO[bytes], scored: ScoredImages, spec: ModelSpec, certain: NDArray[np.float32]
) -> None:
    for text in _csv_blocks(scored, spec, certain):
        # Names that are not Unicode keep their bytes.
        file.write(text.encode("utf-8", "surrogateescape"))


def _csv_blocks(
    scored: ScoredImages, spec: ModelSpec, certain: NDArray[np.float32]
) -> Iterator[str]:
    text = io.StringIO(newline="")
    write_row = row_writer(text)
    write_row(["image", *map(cell_of_text, spec.vocabulary)])
    for block in blocks(*certain.shape):
        cells = certain[block].astype(str).tolist()
        for image, row in zip(scored.images[block], cells, strict=True):
            write_row([cell_of_image(image), *row])
        yield text.getvalue()
        text.seek(0)
        text.truncate()


def _write_npz(
    file: IO[bytes], scored: ScoredImages, spec: ModelSpec, certain: NDArray[np.float32]
) -> None:
    np.savez(
        file,
        logits=scored.logits,
        probabilities=certain,
        targets=scored.targets,
        labels=np.array(spec.vocabulary.names, dtype=np.str_),
        images=np.array(scored.images, dtype=np.str_),
    )


def read_scores(path: Path) -> Scores:
    """What `write_scores` wrote: probabilities, with their images and labels.

    Raises:
        TwlError: the file is not there, or not one of scores.
    """
    check_suffix(path)
    try:
        scores = _read_csv(path) if path.suffix.lower() == ".csv" else _read_npz(path)
        shape = len(scores.images), len(scores.labels)
        if scores.probabilities.shape != shape:
            raise ValueError(f"{scores.probabilities.shape} probabilities, expected {shape}")
    except FileNotFoundError:
        raise TwlError(f"{path}: no such file") from None
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        EOFError,
        RuntimeError,
        tokenize.TokenError,
        zlib.error,
        zipfile.BadZipFile,
        csv.Error,
    ) as error:
        reason = " ".join(str(error).split())
        raise TwlError(f"{path}: not a file of scores ({reason})") from error
    with np.errstate(invalid="ignore"):
        outside = (scores.probabilities < 0) | (scores.probabilities > 1)
    if outside.any():
        raise TwlError(f"{path}: holds a probability outside 0..1")
    return scores


def _read_npz(path: Path) -> Scores:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return Scores(
            tuple(arrays["images"].tolist()),
            tuple(arrays["labels"].tolist()),
            np.asarray(arrays["probabilities"], np.float32),
        )


def _read_csv(path: Path) -> Scores:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if header[:1] != ["image"]:
            raise ValueError("its header does not begin with image")
        images, values = [], []
        for row in rows:
            if len(row) != len(header):
                raise ValueError(f"line {rows.line_num} has {len(row)} cells, not {len(header)}")
            images.append(image_of_cell(row[0]))
            values.append(np.array(row[1:], dtype=np.float32))
    shape = len(images), len(header) - 1
    labels = tuple(map(text_of_cell, header[1:]))
    return Scores(tuple(images), labels, np.array(values, np.float32).reshape(shape))
