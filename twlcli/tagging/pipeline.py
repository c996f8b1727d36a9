"""From image files to rows in every output."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twlcli.images.decoding import USUAL, Caveat, Decoding
from twlcli.images.image_file import Failure, ImageFile
from twlcli.images.sandbox import Decoder
from twlcli.inference.stream import Chunk, stream
from twlcli.model.decisions import calibration_of, probabilities
from twlcli.model.predictor import Predictor
from twlcli.model.spec import ModelSpec
from twlcli.parallel import usable_cores
from twlcli.tagging.chunks import Choice, Item, JournalLookup, chunked
from twlcli.tagging.outputs.fan_out import FanOut, Tally
from twlcli.tagging.tags import Logits, Row, Scores

if TYPE_CHECKING:
    from twlcli.stores.spool import Spool


@dataclass(frozen=True)
class Spread:
    """How the work lies on the cores; `files` are those that came in."""

    files: Iterator[ImageFile]
    workers: int
    threads: int

    @property
    def is_one_chunk(self) -> bool:
        """Whether one call of the model takes all files, and every core."""
        return self.threads == EVERY_CORE


EVERY_CORE = 0  # threads of one call, as ONNX Runtime counts them


def spread(files: Iterable[ImageFile], *, workers: int | None, batch_size: int) -> Spread:
    """Lay the work on the cores: many files on workers with one thread each, few on one worker.

    A single chunk keeps one worker busy only, so that its inference may use every core.
    """
    remaining = iter(files)
    first = list(islice(remaining, batch_size + 1))
    if len(first) <= batch_size:
        return Spread(iter(first), workers=1, threads=EVERY_CORE)
    return Spread(chain(first, remaining), workers=workers or usable_cores(), threads=1)


def tag(
    files: Iterable[ImageFile],
    predictor: Predictor,
    outputs: FanOut,
    *,
    decoders: Sequence[Decoder],
    thresholds: NDArray[np.float32] | None,
    top_k: int | None = None,
    batch_size: int | None = None,
    decoding: Decoding = USUAL,
    ordered: bool = True,
    lookup: JournalLookup | None = None,
    logits: bool = False,
    spool: Spool | None = None,
    progress: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Tag images and hand each one's row to every output.

    Args:
        files: the images, drawn as the work goes on; memory does not grow with their number.
        predictor: the model; called from as many threads as there are decoders.
        outputs: what takes the rows.
        decoders: what decodes the images; closed in the end.
        thresholds: (C,), the labels with p >= threshold are given; None gives all of them.
        top_k: give at most this many labels, the most probable.
        batch_size: images in one call of the model; None is what suits the device.
        decoding: the settings that change pixels.
        ordered: hand rows over in the order of the files; otherwise as they come.
        lookup: the journal; what is there already is not computed again, and the others are
            there once the outputs have them.
        logits: whether rows carry them, for outputs of scores; those of the journal as it keeps
            them.
        spool: where images in stores are fetched to.
        progress: told now and then how far the run has come.

    Returns:
        The final tally.

    Raises:
        ModelError: the model carries no calibration, or fails.
        DeviceError: the memory does not suffice.
        TwlError: the journal or an output cannot be written.
    """
    calibration_of(predictor.spec)  # before the first image
    start = time.perf_counter()
    choice = Choice(predictor.spec, thresholds, top_k, logits=logits)
    if lookup is not None:
        choice = lookup.choice
    size = batch_size or predictor.batch_size
    fetched: Callable[[Iterator[Item]], Iterator[Item]] = iter
    if spool is not None:
        from twlcli.tagging.fetching import Fetching  # most runs read no store

        fetching = Fetching(spool)
        fetched, decoders = fetching.fetched, [fetching.releasing(each) for each in decoders]
    chunks = stream(
        chunked(files, lookup, batch_size=size, workers=len(decoders), fetched=fetched),
        predictor,
        files_of=_missing,
        decoders=decoders,
        decoding=decoding,
        ordered=ordered,
    )
    tally = Tally()
    caveats: Counter[Caveat] = Counter()
    with closing(chunks):
        for chunk in chunks:
            rows = _rows(chunk, predictor.spec, choice, keep=lookup is not None)
            for item in chunk.group:
                row, scores = next(rows) if item.stored is None else (item.stored, None)
                outputs.take(item, row, scores)
            outputs.commit()
            caveats.update(each for caveat in chunk.caveats for each in caveat)
            tally = replace(
                outputs.tally(time.perf_counter() - start),
                profiles_ignored=caveats[Caveat.PROFILE_IGNORED],
                damaged=caveats[Caveat.DAMAGED],
            )
            progress(tally)
    return tally


def _missing(items: Sequence[Item]) -> list[ImageFile]:
    """The files whose rows have to be computed."""
    return [item.decoded or item.file for item in items if item.stored is None]


def _rows(
    chunk: Chunk[tuple[Item, ...]],
    spec: ModelSpec,
    choice: Choice,
    *,
    keep: bool,
) -> Iterator[tuple[Row, Scores | Logits | None]]:
    """The rows of the files of `_missing`, in their order, with what a journal keeps of them."""
    good = np.array([error is None for error in chunk.errors], dtype=bool)
    certain = np.full(chunk.logits.shape, np.nan, dtype=np.float32)
    certain[good] = probabilities(chunk.logits[good], calibration_of(spec))
    computed = zip(_missing(chunk.group), chunk.errors, certain, chunk.logits, strict=True)
    for file, error, row, logits in computed:
        if error is not None:
            yield Failure(file.name, str(error)), None
        else:
            kept = choice.entry(file.name, row, logits) if keep else None
            yield choice.given(file.name, row, logits), kept
