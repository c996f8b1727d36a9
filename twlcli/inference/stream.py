"""Images through a model: decoded and predicted in parallel, in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import ImageError
from twlcli.images.decoding import USUAL, Caveat, Decoding
from twlcli.images.image_file import ImageFile
from twlcli.images.sandbox import Cut, Decoder
from twlcli.model.predictor import THREADS, Predictor, Stoppable
from twlcli.parallel import in_threads

Group = TypeVar("Group")


@dataclass(frozen=True)
class Chunk(Generic[Group]):
    """A group that went in, and what the model said of its n images.

    Attributes:
        group: as it went in.
        logits: (n, C); the row of an image that failed is NaN.
        errors: n entries, None where the image was read.
        caveats: n entries, what has to be said of those that were read.
    """

    group: Group
    logits: NDArray[np.float32]
    errors: tuple[ImageError | None, ...]
    caveats: tuple[Caveat, ...]


def stream(
    groups: Iterable[Group],
    predictor: Predictor,
    *,
    files_of: Callable[[Group], Sequence[ImageFile]],
    decoders: Sequence[Decoder],
    decoding: Decoding = USUAL,
    ordered: bool = True,
    cuts_of: Callable[[Group], Sequence[Cut]] | None = None,
) -> Generator[Chunk[Group], None, None]:
    """Decode and predict groups of files in threads, one for each decoder, each a group at a time.

    Every thread has a whole group decoded and calls the model itself, so that no queue lies
    between decoding and inference. At most twice as many groups as decoders are in flight: memory
    does not grow with the number of files, which are drawn from the iterable only as threads come
    free. Closing the generator, or an exception in it, cancels what waits, closes the decoders and
    ends the threads.

    Args:
        groups: anything that holds images; a group comes out again in its chunk.
        predictor: the model; called from as many threads as there are decoders.
        files_of: the images of a group; where there are none, the model is not called.
        decoders: what decodes, each in one thread at a time; closed in the end.
        decoding: the settings that change pixels.
        ordered: False gives the chunks as they are done, so that one slow image holds up its own
            group only.
        cuts_of: how each image of a group becomes the model's input; None is by the model's
            preprocessing.

    Returns:
        A generator of a chunk for each group. An image that cannot be read is an error in its
        place.

    Raises:
        TwlError: the model raised it or does not come to an end, or a decoder cannot work at all.
    """
    idle: SimpleQueue[Decoder] = SimpleQueue()
    for decoder in decoders:
        idle.put(decoder)
    stop = threading.Event()

    def look() -> None:
        if isinstance(predictor, Stoppable):
            predictor.stop(late=True)

    def end() -> None:
        stop.set()
        for decoder in decoders:
            decoder.close()
        if isinstance(predictor, Stoppable):
            predictor.stop()

    return in_threads(
        _Job(predictor, files_of, cuts_of, idle, decoding, stop),
        groups,
        threads=len(decoders),
        name=THREADS,
        ordered=ordered,
        look=look,
        end=end,
    )


@dataclass(frozen=True)
class _Job(Generic[Group]):
    predictor: Predictor
    files_of: Callable[[Group], Sequence[ImageFile]]
    cuts_of: Callable[[Group], Sequence[Cut]] | None
    idle: SimpleQueue[Decoder]
    decoding: Decoding
    stop: threading.Event

    def __call__(self, group: Group) -> Chunk[Group]:
        files = self.files_of(group)
        preprocessing = self.predictor.spec.preprocessing
        cuts = self.cuts_of(group) if self.cuts_of else [preprocessing] * len(files)
        decoder = self.idle.get()
        try:
            images, errors, caveats = self._decoded(files, cuts, decoder)
        finally:
            self.idle.put(decoder)
        label_count = len(self.predictor.spec.vocabulary)
        logits = np.full((len(files), label_count), np.nan, dtype=np.float32)
        if len(images) and not self.stop.is_set():  # else nobody waits for it
            readable = np.array([error is None for error in errors])
            logits[readable] = self.predictor(images)
            for place in np.flatnonzero(readable & ~np.isfinite(logits).all(axis=1)):
                errors[place] = ImageError("the model gives numbers for it that are not finite")
        return Chunk(group, logits, tuple(errors), tuple(caveats))

    def _decoded(
        self, files: Sequence[ImageFile], cuts: Sequence[Cut], decoder: Decoder
    ) -> tuple[NDArray[np.uint8], list[ImageError | None], list[Caveat]]:
        """The readable images of a group, and the error and the caveat of each."""
        side = self.predictor.spec.preprocessing.crop
        images = np.empty((len(files), side, side, 3), dtype=np.uint8)
        errors: list[ImageError | None] = []
        caveats = [Caveat.NOTHING] * len(files)
        good = 0
        for place, (file, cut) in enumerate(zip(files, cuts, strict=True)):
            try:
                if self.stop.is_set():
                    raise ImageError("stopped")
                if file.failure is not None:
                    raise ImageError(file.failure)
                caveats[place] = decoder.decode(file, cut, images[good], decoding=self.decoding)
                good += 1
                errors.append(None)
            except ImageError as error:
                errors.append(error)
        return images[:good], errors, caveats
