"""Images to features: those that a cache has, and the others by way of the network."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.errors import AnnotationError, TwlError
from twlcli.features.cache import FeatureCache, Key
from twlcli.features.views import view
from twlcli.images.identity import Identity, identify
from twlcli.images.image_file import Failure, ImageFile
from twlcli.images.sandbox import Cut, decoder_processes
from twlcli.inference.stream import stream
from twlcli.model.predictor import Predictor
from twlcli.parallel import usable_cores

_KEPT_EVERY = 2.0  # seconds; what a process that is killed has to do again at most


@dataclass(frozen=True)
class Extracted:
    """The features of the n of N images that could be read, in the order of the data.

    Attributes:
        rows: (n) of the N images.
        features: (V n, D) float32, of V views of each: one view of all after the other.
        unreadable: the other images.
        computed: how many views went through the network; the others were in the cache.
    """

    rows: NDArray[np.int64]
    features: NDArray[np.float32]
    unreadable: tuple[Failure, ...]
    computed: int


class Stopped(Exception):  # noqa: N818
    """Whoever asked for features wants them no more; those that were computed are kept."""


def extract(
    predictor: Callable[[], Predictor],
    cache: FeatureCache,
    data: Annotations,
    *,
    views: int = 1,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Extracted:
    """The features of images; what the cache has not is computed and kept in it.

    Args:
        predictor: makes what turns images into features; called where the cache has not all.
        cache: of its features.
        data: N images.
        views: V, of each image; the first is its centre.
        workers: threads that decode and predict; None is one for each core.
        progress: told how many views are done, and of how many, that the cache had not.
        should_stop: asked now and then.

    Raises:
        Stopped: `should_stop` said so.
        AnnotationError: no image can be read.
        TwlError: the cache cannot be written, or is damaged.
    """
    files = [ImageFile(data.path(row).absolute(), image) for row, image in enumerate(data.images)]
    identities = [identify(file) for file in files]
    keys = [[(os.fsencode(file.path), number) for file in files] for number in range(views)]
    missing = [
        _Item(files[row], identities[row], key, row)
        for of_view in keys
        for row, key in enumerate(of_view)
        if cache.place(key, identities[row]) is None
    ]
    unreadable: dict[int, Failure] = {}
    if missing:
        unreadable = _compute(predictor(), cache, missing, workers, progress, should_stop)
    failures = tuple(unreadable[row] for row in sorted(unreadable))
    if files and len(failures) == len(files):
        raise AnnotationError(
            f"{data.source}: none of the {len(data):,} images can be read "
            f"(the first: {failures[0].image}: {failures[0].reason})"
        )
    rows = np.array([row for row in range(len(files)) if row not in unreadable], dtype=np.int64)
    places = [cache.place(of_view[row], identities[row]) for of_view in keys for row in rows]
    features = np.empty((len(places), cache.about.width), dtype=np.float32)
    cache.read(np.array(places, dtype=np.int64), features)
    if not np.isfinite(features).all():
        raise TwlError(
            f"{cache.folder}: is damaged; it has features that are not finite numbers",
            hint="remove it, and they are computed again",
        )
    return Extracted(rows, features, failures, len(missing))


@dataclass(frozen=True)
class _Item:
    """One view of one image."""

    file: ImageFile
    identity: Identity | None
    key: Key
    row: int


def _compute(
    predictor: Predictor,
    cache: FeatureCache,
    items: Sequence[_Item],
    workers: int | None,
    progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> dict[int, Failure]:
    """Put the features of views into the cache; the rows of images that cannot be read."""
    preprocessing = predictor.spec.preprocessing

    def groups() -> Iterator[Sequence[_Item]]:
        for start in range(0, len(items), predictor.batch_size):
            yield items[start : start + predictor.batch_size]

    def cuts_of(group: Sequence[_Item]) -> list[Cut]:
        return [view(item.key[1], item.key[0], preprocessing) for item in group]

    unreadable: dict[int, Failure] = {}
    done = 0
    with (
        decoder_processes(workers or usable_cores()) as decoders,
        closing(
            stream(
                groups(),
                predictor,
                files_of=lambda group: [item.file for item in group],
                decoders=decoders,
                cuts_of=cuts_of,
                ordered=False,
            )
        ) as chunks,
        _Keeper(cache) as keeper,
    ):
        for chunk in chunks:
            for item, features, error in zip(chunk.group, chunk.logits, chunk.errors, strict=True):
                if error is not None:
                    unreadable[item.row] = Failure(item.file.name, str(error))
                elif item.identity is not None:
                    keeper.take(item.key, item.identity, features)
            done += len(chunk.group)
            progress(done, len(items))
            if should_stop():
                raise Stopped
    return unreadable


class _Keeper:
    """Puts features into a cache every now and then, and in the end, however that comes."""

    def __init__(self, cache: FeatureCache) -> None:
        self._cache = cache
        self._waiting: list[tuple[Key, Identity, NDArray[np.float32]]] = []
        self._kept = time.monotonic()

    def __enter__(self) -> _Keeper:
        return self

    def __exit__(self, *_: object) -> None:
        self._keep()

    def take(self, key: Key, identity: Identity, features: NDArray[np.float32]) -> None:
        """Keep the features (D) of one view, soon."""
        self._waiting.append((key, identity, features))
        if time.monotonic() - self._kept >= _KEPT_EVERY:
            self._keep()

    def _keep(self) -> None:
        if self._waiting:
            keys, identities, features = zip(*self._waiting, strict=True)
            self._waiting = []
            self._cache.add(keys, identities, np.stack(features))
        self._kept = time.monotonic()
