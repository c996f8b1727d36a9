"""The raw scores of an evaluation as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import TwlError
from twlcli.inference.scored import ScoredImages
from twlcli.io import write_whole
from twlcli.model.decisions import calibration_of, probabilities
from twlcli.model.spec import ModelSpec
from twlcli.scoring.average_precision import blocks

SUFFIXES = (".csv", ".npz")


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
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *spec.vocabulary])
    for block in blocks(*certain.shape):
        cells = certain[block].astype(str).tolist()
        writer.writerows(
            [image, *row] for image, row in zip(scored.images[block], cells, strict=True)
        )
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
