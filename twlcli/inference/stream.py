"""Images through a model: decoded and predicted in parallel, in bounded memory."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import ImageError
from twlcli.images.image_file import ImageFile
from twlcli.images.sandbox import Decoder
from twlcli.images.sandbox_protocol import Geometry

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Chunk:
    """Some consecutive images and what the model said of them.

    Attributes:
        number: of the group, in the order they came in, from 0.
        files: n files, in the order they came in.
        logits: (n, C); the row of an image that failed is NaN.
        errors: n entries, None where the image was read.
    """

    number: int
    files: tuple[ImageFile, ...]
    logits: NDArray[np.float32]
    errors: tuple[ImageError | None, ...]


def stream(
    files: Iterable[ImageFile],
    predict: Predict,
    *,
    decoders: Sequence[Decoder],
    geometry: Geometry,
    label_count: int,
    batch_size: int,
) -> Generator[Chunk, None, None]:
    """Decode and predict files in chunks; see `stream_groups`.

    Args:
        files: the images, in the order in which the chunks will have them.
        predict: uint8 (n, crop, crop, 3) to logits (n, C) float32, such as a `Predictor`; called
            from several threads at once, with 1 to `batch_size` images.
        decoders: at least one; as for `stream_groups`.
        geometry: the model's.
        label_count: C.
        batch_size: images in a chunk, at least 1.

    Yields:
        Chunks in the order of `files`. An image that cannot be read is an error in its place.

    Raises:
        TwlError: `predict` raised it, or a decoder cannot work at all.
    """
    remaining = iter(files)
    return stream_groups(
        iter(lambda: tuple(islice(remaining, batch_size)), ()),
        predict,
        decoders=decoders,
        geometry=geometry,
        label_count=label_count,
    )


def stream_groups(
    groups: Iterable[tuple[ImageFile, ...]],
    predict: Predict,
    *,
    decoders: Sequence[Decoder],
    geometry: Geometry,
    label_count: int,
    ordered: bool = True,
) -> Generator[Chunk, None, None]:
    """Decode and predict groups of files in threads, one for each decoder, each a group at a time.

    Every thread has a whole group decoded and calls `predict` itself, so that no queue lies
    between decoding and inference. At most twice as many groups as decoders are in flight: memory
    does not grow with the number of files, which are drawn from the iterable only as threads come
    free. Closing the generator, or an exception in it, cancels what waits, closes the decoders and
    ends the threads.

    Args:
        groups: the images; a group may be empty, and then the model is not called.
        predict: as for `stream`.
        decoders: what decodes, each in one thread at a time; closed in the end.
        geometry: the model's.
        label_count: C.
        ordered: False gives the chunks as they are done, so that one slow image holds up its own
            group only.

    Yields:
        A chunk for each group.

    Raises:
        TwlError: `predict` raised it, or a decoder cannot work at all.
    """
    stop = threading.Event()
    idle: SimpleQueue[Decoder] = SimpleQueue()
    for decoder in decoders:
        idle.put(decoder)
    job = _Job(predict, idle, geometry, label_count, stop)
    waiting: deque[Future[Chunk]] = deque()
    pool = ThreadPoolExecutor(len(decoders), thread_name_prefix="twl-images")
    try:
        for number, group in enumerate(groups):
            waiting.append(pool.submit(job, number, group))
            if len(waiting) == 2 * len(decoders):
                yield _next(waiting, ordered=ordered)
        while waiting:
            yield _next(waiting, ordered=ordered)
    finally:
        stop.set()
        for decoder in decoders:
            decoder.close()
        pool.shutdown(cancel_futures=True)


def _next(waiting: deque[Future[Chunk]], *, ordered: bool) -> Chunk:
    """Wait for the first of the chunks, or for any of them, and take it out."""
    future = waiting[0]
    if not ordered:
        done = wait(waiting, return_when=FIRST_COMPLETED).done
        future = next(each for each in waiting if each in done)
    waiting.remove(future)
    return future.result()


@dataclass(frozen=True)
class _Job:
    predict: Predict
    idle: SimpleQueue[Decoder]
    geometry: Geometry
    label_count: int
    stop: threading.Event

    def __call__(self, number: int, files: tuple[ImageFile, ...]) -> Chunk:
        decoder = self.idle.get()
        try:
            images, errors = self._decoded(files, decoder)
        finally:
            self.idle.put(decoder)
        logits = np.full((len(files), self.label_count), np.nan, dtype=np.float32)
        if len(images) and not self.stop.is_set():  # else nobody waits for it
            logits[[error is None for error in errors]] = self.predict(images)
        return Chunk(number, files, logits, tuple(errors))

    def _decoded(
        self, files: tuple[ImageFile, ...], decoder: Decoder
    ) -> tuple[NDArray[np.uint8], list[ImageError | None]]:
        """The readable images of a group, and each one's error."""
        side = self.geometry.crop
        images = np.empty((len(files), side, side, 3), dtype=np.uint8)
        errors: list[ImageError | None] = []
        good = 0
        for file in files:
            try:
                if self.stop.is_set():
                    raise ImageError("stopped")
                if file.failure is not None:
                    raise ImageError(file.failure)
                decoder.decode(file, self.geometry, images[good])
                good += 1
                errors.append(None)
            except ImageError as error:
                errors.append(error)
        return images[:good], errors
