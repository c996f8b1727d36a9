"""Training images in batches: decoded and cropped by worker processes, in a seeded order."""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.multiprocessing import set_sharing_strategy
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from twlcli.annotations.annotations import Annotations
from twlcli.errors import DeviceError, ImageError
from twlcli.images.decoding import Caveat
from twlcli.images.image_file import ImageFile
from twlcli.images.sandbox import Decoder, DecoderProcess
from twlcli.labels import UNKNOWN
from twlcli.recipe import AugmentRecipe, ImageRecipe
from twlcli.training.augment import Colour, Operations, draw_colour, draw_crop

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  only looked at: how much is free
_LEAST_SHARED_MEMORY = 1 << 16  # bytes, for the locks of the processes
_GRACE = 2.0  # seconds in which the processes have to end
_LOOK = 1.0  # seconds after which whoever waits for a batch is told
_PATIENCE = 600.0  # seconds in which a batch has to come, or
_PATIENCE_AN_IMAGE = 2.0  # seconds for each of its images


class Key(NamedTuple):
    """One image in one epoch."""

    epoch: int
    row: int


@dataclass(frozen=True)
class Sample:
    """One augmented image, or the reason why there is none."""

    row: int
    image: NDArray[np.uint8] | None
    colour: NDArray[np.float32]
    error: str = ""
    caveat: Caveat = Caveat.NOTHING


@dataclass(frozen=True)
class Batch:
    """Some training images.

    Attributes:
        images: uint8 (n, H, W, 3), cropped and mirrored.
        colour: changes of colour yet to be made.
        targets: int8 (n, C) of 1, 0 and -1.
        unreadable: path and reason of images that were left out.
        profiles_ignored: images whose colour profile could not be used.
        piped: it did not fit in shared memory, and came from its process through a pipe.
    """

    images: Tensor
    colour: Colour
    targets: Tensor
    unreadable: tuple[str, ...] = ()
    profiles_ignored: int = 0
    piped: bool = False

    def __len__(self) -> int:
        return len(self.images)

    def pin_memory(self) -> Batch:
        """The batch in memory from which copies to a GPU overlap with its work."""
        return self._with(tensor.pin_memory() for tensor in self._tensors)

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return self._with(tensor.to(device, non_blocking=True) for tensor in self._tensors)

    def used_by(self, stream: torch.cuda.Stream) -> None:
        """Keep the memory until a stream, other than that which made the copy, is done with it."""
        for tensor in self._tensors:
            tensor.record_stream(stream)

    def split(self, parts: int) -> list[Batch]:
        """The batch in parts whose sizes differ by one at most; all name what was unreadable."""
        pieces = [tensor.tensor_split(parts) for tensor in self._tensors]
        return [self._with(part) for part in zip(*pieces, strict=True)]

    def padded(self, count: int) -> Batch:
        """The batch with at least `count` images: what is added is black, its labels unknown.

        An unknown label takes no part in any loss. So a rank without a readable image does its
        share of a step, without which the others would wait for it.
        """
        missing = count - len(self)
        if missing <= 0:
            return self
        order = self.colour.order
        added = (
            self.images.new_zeros((missing, *self.images.shape[1:])),
            torch.arange(3, dtype=order.dtype, device=order.device).repeat(missing, 1),
            self.colour.factors.new_ones((missing, 3)),
            self.colour.lighting.new_zeros((missing, 3)),
            self.targets.new_full((missing, self.targets.shape[1]), UNKNOWN),
        )
        return self._with(torch.cat(both) for both in zip(self._tensors, added, strict=True))

    def shared(self) -> Batch:
        """The batch in shared memory, or marked for a pipe where there is not enough of it.

        Sent as they are, tensors are moved there by a thread that drops them when they do not
        fit, and the batch would be awaited for ever.
        """
        try:
            return self._with(tensor.share_memory_() for tensor in self._tensors)
        except RuntimeError:
            return replace(self, piped=True)

    def __reduce__(self) -> Any:
        odd = self.unreadable, self.profiles_ignored
        if self.piped:
            return _from_pipe, ([tensor.numpy() for tensor in self._tensors], *odd)
        return Batch, (self.images, self.colour, self.targets, *odd)

    @property
    def _tensors(self) -> tuple[Tensor, ...]:
        colour = self.colour
        return self.images, colour.order, colour.factors, colour.lighting, self.targets

    def _with(self, tensors: Iterable[Tensor]) -> Batch:
        images, order, factors, lighting, targets = tensors
        colour = Colour(order, factors, lighting)
        return replace(self, images=images, colour=colour, targets=targets)


def _from_pipe(
    arrays: list[NDArray[Any]], unreadable: tuple[str, ...], profiles_ignored: int
) -> Batch:
    images, order, factors, lighting, targets = map(torch.from_numpy, arrays)
    colour = Colour(order, factors, lighting)
    return Batch(images, colour, targets, unreadable, profiles_ignored, piped=True)


class TrainingImages(Dataset[Sample]):
    """Augmented images by `Key`; the same key gives the same pixels."""

    def __init__(
        self, annotations: Annotations, augment: AugmentRecipe, image: ImageRecipe, *, seed: int
    ) -> None:
        self.annotations = annotations
        self.augment = augment
        self.image = image
        self.seed = seed
        self._operations = Operations(augment, image)
        self._decoder: Decoder | None = None  # of the process that asks for images

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, key: Key) -> Sample:
        generator = np.random.default_rng((self.seed, *key))
        colour = draw_colour(self.augment, generator=generator)
        crop = draw_crop(self.augment, self.image, generator=generator)
        file = ImageFile(self.annotations.path(key.row), self.annotations.images[key.row])
        image = np.empty((crop.size, crop.size, 3), dtype=np.uint8)
        if self._decoder is None:
            self._decoder = DecoderProcess()
        try:
            caveat = self._decoder.decode(file, crop, image)
        except ImageError as error:
            return Sample(key.row, None, colour, f"{file.path}: {error}")
        image = self._operations(image, generator=generator)
        return Sample(key.row, image, colour, caveat=caveat)

    def close(self) -> None:
        """End the process that decodes; the next image begins another."""
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def collate(self, samples: list[Sample]) -> Batch:
        """The readable images among some samples as one batch."""
        good = [(sample, sample.image) for sample in samples if sample.image is not None]
        shape = (len(good), self.image.size, self.image.size, 3)
        images = np.empty(shape, dtype=np.uint8)
        for place, (_, image) in enumerate(good):
            images[place] = image
        colour = np.array([sample.colour for sample, _ in good], dtype=np.float32).reshape(-1, 9)
        rows = [sample.row for sample, _ in good]
        batch = Batch(
            images=torch.from_numpy(images),
            colour=Colour(*torch.from_numpy(colour).split(3, dim=1)),
            targets=torch.from_numpy(self.annotations.labels.dense(rows)),
            unreadable=tuple(sample.error for sample in samples if sample.image is None),
            profiles_ignored=sum(Caveat.PROFILE_IGNORED in sample.caveat for sample, _ in good),
        )
        return batch if get_worker_info() is None else batch.shared()


class EpochOrder(Sampler[list[Key]]):
    """A seeded order of the images for each epoch, cut into global batches and dealt to ranks.

    A last batch that is not full is left out, as the class-wise term of a few images is noise; its
    images come at another place in the next epoch. Fewer images than a batch are one batch.
    """

    def __init__(self, count: int, *, batch_size: int, seed: int, rank: int, world: int) -> None:
        self.count = count
        self.batch_size = min(batch_size, count)
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0
        self.first = 0  # the batch to begin with, after an interruption

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return self.count // self.batch_size

    def __iter__(self) -> Iterator[list[Key]]:
        # A stream of its own: without the key it is that of the first image's augmentation.
        seeds = np.random.SeedSequence((self.seed, self.epoch), spawn_key=(0,))
        order = np.random.default_rng(seeds).permutation(self.count)
        for batch in range(self.first, len(self)):
            rows = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [Key(self.epoch, int(row)) for row in rows[self.rank :: self.world]]


class TrainingLoader:
    """Batches of one rank, epoch after epoch; to be closed, so that its processes end."""

    def __init__(
        self, images: TrainingImages, order: EpochOrder, *, workers: int, pin_memory: bool
    ) -> None:
        self.order = order
        self._images = images
        with _as_many_as_asked():
            self._loader = DataLoader(
                images,
                batch_sampler=order,
                collate_fn=images.collate,
                num_workers=workers,
                pin_memory=pin_memory,
                persistent_workers=workers > 0,
                worker_init_fn=_settle,
                timeout=self.patience if workers else 0,
            )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.order)

    def epoch(
        self, epoch: int, *, first: int = 0, waiting: Callable[[float], None] = lambda seconds: None
    ) -> Iterator[Batch]:
        """The batches of an epoch, from batch `first` on.

        Args:
            epoch: counted from 0.
            first: the batch to begin with.
            waiting: told every second for how long a batch has not come; what it raises ends the
                wait.

        Raises:
            DeviceError: the processes that load images cannot be started or have ended.
        """
        self.order.epoch, self.order.first = epoch, first
        if self._loader.num_workers and free_shared_memory() < _LEAST_SHARED_MEMORY:
            raise _ended(f"cannot be started ({SHARED_MEMORY} has no room)")
        try:
            with loader_errors(), _whole_or_none(), _as_many_as_asked():
                self._set_timeout(0)  # until the processes are ready again, or found dead
                batches = iter(self._loader)
                self._set_timeout(_LOOK)
        except OSError as error:
            raise _ended(f"cannot be started ({error.strerror or error})") from error
        while (batch := self._next(batches, waiting)) is not None:
            yield batch

    def _next(self, batches: Iterator[Batch], waiting: Callable[[float], None]) -> Batch | None:
        """The next batch; None after the last."""
        started = time.monotonic()
        while True:
            try:
                with loader_errors():
                    return next(batches, None)
            except TimeoutError:
                waiting(time.monotonic() - started)

    @property
    def patience(self) -> float:
        """Seconds in which a batch has to come."""
        return max(_PATIENCE, _PATIENCE_AN_IMAGE * self.order.batch_size)

    def _set_timeout(self, seconds: float) -> None:
        if self._loader.num_workers and self._loader._iterator is not None:
            self._loader._iterator._timeout = seconds

    def close(self) -> None:
        """End the processes, also those that hang."""
        self._images.close()
        batches, self._loader._iterator = self._loader._iterator, None
        if batches is None:
            return
        workers = batches._workers  # type: ignore[attr-defined]
        # They ignore the signal that torch would end them with.
        timer = threading.Timer(_GRACE, lambda: [worker.kill() for worker in workers])
        timer.start()
        with suppress(RuntimeError):  # torch's, which tells of each that is killed
            batches._shutdown_workers()  # type: ignore[attr-defined]
        timer.cancel()
        for worker in workers:
            worker.join(_GRACE)


@contextmanager
def loader_errors() -> Iterator[None]:
    """Tell apart what torch's loader says in the texts of its errors.

    That a process has ended it says whenever it comes to know, also within a step.

    Raises:
        TimeoutError: no batch came in time; the loader can be asked again.
        DeviceError: its processes have ended, or have no memory left.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        told = str(error)
        if "DataLoader timed out" in told:
            raise TimeoutError(told) from None
        if isinstance(error, MemoryError) and "DataLoader worker" in told:
            raise _ended("has no memory left") from error
        if "DataLoader worker (pid" in told:
            reason = "was ended from outside, as happens when the machine runs out of memory"
            raise _ended(reason) from error
        raise


def _ended(reason: str) -> DeviceError:
    return DeviceError(
        f"a process that loads images {reason}",
        hint="fewer {workers} need less; with 0 the training process loads them itself",
    )


def free_shared_memory() -> float:
    """Bytes that can be taken; infinite where shared memory is not a file system of its own."""
    if not SHARED_MEMORY.exists():
        return math.inf
    return shutil.disk_usage(SHARED_MEMORY).free if os.access(SHARED_MEMORY, os.W_OK) else 0


@contextmanager
def _as_many_as_asked() -> Iterator[None]:
    """Let torch not say that there are more processes than cores: reading a slow disk may gain."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield


@contextmanager
def _whole_or_none() -> Iterator[None]:
    """Start processes; where an exception comes in between, none of them is left.

    torch could not end them, as it has not noted them yet.
    """
    before = set(multiprocessing.active_children())
    try:
        yield
    except BaseException:
        for process in set(multiprocessing.active_children()) - before:
            process.kill()
            process.join(_GRACE)
        raise


def _settle(worker: int) -> None:
    """Leave signals, which may reach the whole group of processes, to the trainer.

    Objects that the trainer had no more use for are left to it, too: some, such as sessions of ONNX
    Runtime, would wait for threads that this process does not have.
    """
    gc.freeze()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    # Shared by name: a file descriptor would have to be asked of the process, which may not answer.
    set_sharing_strategy("file_system")
