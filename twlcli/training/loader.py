"""Training images in batches: decoded and cropped by worker processes, in a seeded order."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from twlcli.annotations.annotations import Annotations
from twlcli.errors import ImageError
from twlcli.recipe import AugmentRecipe, ImageRecipe
from twlcli.training.augment import Colour, draw_colour, random_crop


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


@dataclass(frozen=True)
class Batch:
    """Some training images.

    Attributes:
        images: uint8 (n, H, W, 3), cropped and mirrored.
        colour: changes of colour yet to be made.
        targets: int8 (n, C) of 1, 0 and -1.
        unreadable: path and reason of images that were left out.
    """

    images: Tensor
    colour: Colour
    targets: Tensor
    unreadable: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def pin_memory(self) -> Batch:
        """The batch in memory from which copies to a GPU overlap with its work."""
        return self._each(lambda tensor: tensor.pin_memory())

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def split(self, size: int) -> list[Batch]:
        """The batch in parts of at most `size` images; what was unreadable stays with the first."""
        parts = [
            self._each(itemgetter(slice(first, first + size)))
            for first in range(0, len(self), size)
        ]
        return [parts[0], *(replace(part, unreadable=()) for part in parts[1:])]

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        colour = Colour(
            *(change(getattr(self.colour, key)) for key in ("order", "factors", "lighting"))
        )
        return replace(
            self, images=change(self.images), colour=colour, targets=change(self.targets)
        )


class TrainingImages(Dataset[Sample]):
    """Augmented images by `Key`; the same key gives the same pixels."""

    def __init__(
        self, annotations: Annotations, augment: AugmentRecipe, image: ImageRecipe, *, seed: int
    ) -> None:
        self.annotations = annotations
        self.augment = augment
        self.image = image
        self.seed = seed

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, key: Key) -> Sample:
        generator = np.random.default_rng((self.seed, *key))
        colour = draw_colour(self.augment, generator=generator)
        path = self.annotations.path(key.row)
        try:
            image = random_crop(path, self.augment, self.image, generator=generator)
        except ImageError as error:
            return Sample(key.row, None, colour, f"{path}: {error}")
        return Sample(key.row, image, colour)

    def collate(self, samples: list[Sample]) -> Batch:
        """The readable images among some samples as one batch."""
        good = [(sample, sample.image) for sample in samples if sample.image is not None]
        shape = (len(good), self.image.size, self.image.size, 3)
        images = np.empty(shape, dtype=np.uint8)
        for place, (_, image) in enumerate(good):
            images[place] = image
        colour = np.array([sample.colour for sample, _ in good], dtype=np.float32).reshape(-1, 9)
        rows = [sample.row for sample, _ in good]
        return Batch(
            images=torch.from_numpy(images),
            colour=Colour(*torch.from_numpy(colour).split(3, dim=1)),
            targets=torch.from_numpy(self.annotations.labels.dense(rows)),
            unreadable=tuple(sample.error for sample in samples if sample.image is None),
        )


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
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        for batch in range(self.first, len(self)):
            rows = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [Key(self.epoch, int(row)) for row in rows[self.rank :: self.world]]


class TrainingLoader:
    """Batches of one rank, epoch after epoch."""

    def __init__(
        self, images: TrainingImages, order: EpochOrder, *, workers: int, pin_memory: bool
    ) -> None:
        self.order = order
        self._loader = DataLoader(
            images,
            batch_sampler=order,
            collate_fn=images.collate,
            num_workers=workers,
            pin_memory=pin_memory,
            persistent_workers=workers > 0,
            worker_init_fn=_leave_interrupts_to_the_trainer,
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.order)

    def epoch(self, epoch: int, *, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from batch `first` on."""
        self.order.epoch, self.order.first = epoch, first
        return iter(self._loader)


def _leave_interrupts_to_the_trainer(worker: int) -> None:
    """Signals may reach the whole group of processes; the workers end when the trainer does."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
