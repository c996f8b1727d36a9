"""From image files to tags."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from twlcli.images.image_file import ImageFile
from twlcli.images.sandbox import Decoder
from twlcli.images.sandbox_protocol import Geometry
from twlcli.inference.stream import Chunk, stream_groups, usable_cores
from twlcli.model.onnx import CPU_BATCH
from twlcli.model.predictor import Predictor
from twlcli.model.spec import Calibration, ModelSpec
from twlcli.scoring.calibration import calibration_of, probabilities
from twlcli.scoring.thresholds import decide
from twlcli.tagging.chunks import Item, Memory, grouped
from twlcli.tagging.outputs.fan_out import Delivery, Outputs, Tally
from twlcli.tagging.tags import Failure, Tags


@dataclass(frozen=True)
class Spread:
    """How the work lies on the cores; `files` are those that came in."""

    files: Iterator[ImageFile]
    workers: int
    threads: int

    @property
    def is_one_chunk(self) -> bool:
        """Whether one call of the predictor takes all files, and every core."""
        return self.threads == 0


def spread(files: Iterable[ImageFile], *, workers: int | None, batch_size: int) -> Spread:
    """Lay the work on the cores: many files on workers with one thread each, few on one worker.

    A single chunk keeps one worker busy only, so that its inference may use every core.
    """
    remaining = iter(files)
    first = list(islice(remaining, batch_size + 1))
    if len(first) <= batch_size:
        return Spread(iter(first), workers=1, threads=0)
    return Spread(chain(first, remaining), workers=workers or usable_cores(), threads=1)


def tag(
    files: Iterable[ImageFile],
    predictor: Predictor,
    outputs: Outputs,
    *,
    decoders: Sequence[Decoder],
    thresholds: NDArray[np.float32] | None,
    top_k: int | None = None,
    batch_size: int = CPU_BATCH,
    exact: bool = False,
    ordered: bool = True,
    memory: Memory | None = None,
    on_progress: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Tag images and hand each one's tags to every output.

    Args:
        files: the images, drawn as the work goes on; memory does not grow with their number.
        predictor: the model; called from as many threads as there are decoders.
        outputs: what takes the tags.
        decoders: what decodes the images; closed in the end.
        thresholds: (C,), the labels with p >= threshold are given; None gives all of them.
        top_k: give at most so many labels, the most probable.
        batch_size: images in one call of the predictor.
        exact: decode JPEG at full size.
        ordered: hand them over in the order of the files; otherwise as they come.
        memory: the journal; rows that are there already are not computed again, and the others
            are there once their outputs have them.
        on_progress: called now and then with the state so far.

    Returns:
        The final tally.

    Raises:
        ModelError: the model carries no calibration, or fails.
        DeviceError: the memory does not suffice.
        TwlError: the journal or an output cannot be written.
    """
    spec, calibration = predictor.spec, calibration_of(predictor.spec)
    start = time.perf_counter()
    delivery = Delivery(outputs, memory)
    drawn: dict[int, tuple[Item, ...]] = {}  # by the group's number, as many as are in flight

    def missing() -> Iterator[tuple[ImageFile, ...]]:
        groups = grouped(files, memory, batch_size=batch_size, workers=len(decoders))
        for number, group in enumerate(groups):
            drawn[number] = group
            yield tuple(item.file for item in group if item.stored is None)

    chunks = stream_groups(
        missing(),
        predictor,
        decoders=decoders,
        geometry=Geometry.of(spec.preprocessing, exact=exact),
        label_count=len(spec.vocabulary),
        ordered=ordered,
    )
    tally = Tally()
    with closing(chunks):
        for chunk in chunks:
            rows = _rows(chunk, spec, calibration, thresholds, top_k)
            for item in drawn.pop(chunk.number):
                delivery.take(item, next(rows) if item.stored is None else item.stored)
            delivery.commit()
            tally = delivery.tally(time.perf_counter() - start)
            on_progress(tally)
    return tally


def _rows(
    chunk: Chunk,
    spec: ModelSpec,
    calibration: Calibration,
    thresholds: NDArray[np.float32] | None,
    top_k: int | None,
) -> Iterator[Tags | Failure]:
    good = np.array([error is None for error in chunk.errors])
    certain = np.full(chunk.logits.shape, np.nan, dtype=np.float32)
    certain[good] = probabilities(chunk.logits[good], calibration)
    given = np.ones(certain.shape, dtype=bool)
    if thresholds is not None:
        given[good] = decide(certain[good], thresholds)
    for row, file in enumerate(chunk.files):
        error = chunk.errors[row]
        if error is not None:
            yield Failure(file.name, str(error))
            continue
        columns = np.flatnonzero(given[row])
        columns = columns[np.argsort(-certain[row, columns], kind="stable")][:top_k]
        labels = tuple(spec.vocabulary.names[column] for column in columns)
        yield Tags(file.name, labels, tuple(certain[row, columns].tolist()))
