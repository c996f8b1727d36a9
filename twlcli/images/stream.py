"""Images through a model: decoded and predicted in parallel, in order, in bounded memory."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import ImageError
from twlcli.images.decode import open_upright
from twlcli.images.found import FoundFile, read_part
from twlcli.images.preprocess import load, preprocess
from twlcli.spec import Preprocessing

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
        files: n files, in the order they came in.
        logits: (n, C); the row of an image that failed is NaN.
        errors: n entries, None where the image was read.
    """

    files: tuple[FoundFile, ...]
    logits: NDArray[np.float32]
    errors: tuple[ImageError | None, ...]


def stream(
    files: Iterable[FoundFile],
    predict: Predict,
    *,
    preprocessing: Preprocessing,
    label_count: int,
    workers: int,
    batch_size: int,
    exact: bool = False,
) -> Generator[Chunk, None, None]:
    """Decode and predict files in `workers` threads, in chunks; see `stream_groups`.

    Args:
        files: the images, in the order in which the chunks will have them.
        predict: uint8 (n, crop, crop, 3) to logits (n, C) float32, such as a `Predictor`; called
            from several workers at once, with 1 to `batch_size` images.
        preprocessing: the model's, from its spec.
        label_count: C.
        workers: number of threads, at least 1.
        batch_size: images in a chunk, at least 1.
        exact: decode JPEG at full size.

    Yields:
        Chunks in the order of `files`. An image that cannot be read is an error in its place.

    Raises:
        TwlError: `predict` raised it.
    """
    remaining = iter(files)
    return stream_groups(
        iter(lambda: tuple(islice(remaining, batch_size)), ()),
        predict,
        preprocessing=preprocessing,
        label_count=label_count,
        workers=workers,
        exact=exact,
    )


def stream_groups(
    groups: Iterable[tuple[FoundFile, ...]],
    predict: Predict,
    *,
    preprocessing: Preprocessing,
    label_count: int,
    workers: int,
    exact: bool = False,
) -> Generator[Chunk, None, None]:
    """Decode and predict groups of files in `workers` threads, each a group at a time.

    Every worker decodes a whole group and calls `predict` itself, so that no queue lies
    between decoding and inference. At most `2 * workers` groups are in flight: memory does not
    grow with the number of files, which are drawn from the iterable only as workers come free.
    Closing the generator, or an exception in it, cancels what waits and ends the workers.

    Args:
        groups: the images; a group may be empty, and then the model is not called.
        predict: as for `stream`.
        preprocessing: the model's, from its spec.
        label_count: C.
        workers: number of threads, at least 1.
        exact: decode JPEG at full size.

    Yields:
        A chunk for each group, in their order.

    Raises:
        TwlError: `predict` raised it.
    """
    stop = threading.Event()
    job = _Job(predict, preprocessing, label_count, exact, stop)
    waiting: deque[Future[Chunk]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="twl-images")
    try:
        for group in groups:
            waiting.append(pool.submit(job, group))
            if len(waiting) == 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Job:
    predict: Predict
    preprocessing: Preprocessing
    label_count: int
    exact: bool
    stop: threading.Event

    def __call__(self, files: tuple[FoundFile, ...]) -> Chunk:
        crop = self.preprocessing.crop
        images = np.empty((len(files), crop, crop, 3), dtype=np.uint8)
        logits = np.full((len(files), self.label_count), np.nan, dtype=np.float32)
        errors: list[ImageError | None] = [None] * len(files)
        good: list[int] = []
        for row, file in enumerate(files):
            if self.stop.is_set():
                return Chunk(files, logits, tuple(errors))  # nobody waits for it
            try:
                images[len(good)] = self._load(file)
                good.append(row)
            except ImageError as error:
                errors[row] = error
        if good:
            logits[good] = self.predict(images[: len(good)])
        return Chunk(files, logits, tuple(errors))

    def _load(self, file: FoundFile) -> NDArray[np.uint8]:
        if file.failure is not None:
            raise ImageError(file.failure)
        if file.part is None:
            return load(file.path, self.preprocessing, exact=self.exact)
        shorter_side = None if self.exact else self.preprocessing.resize
        image = open_upright(read_part(file.path, file.part), shorter_side=shorter_side)
        return preprocess(image, self.preprocessing)
