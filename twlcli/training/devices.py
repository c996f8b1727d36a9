"""Which device trains, with which precision, and what the ranks of a run share."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from twlcli.errors import DeviceError, RecipeError
from twlcli.model.torch import pick_device
from twlcli.parallel import usable_cores
from twlcli.recipe.sections import ScheduleRecipe, TrainRecipe

# Of CPU and GPU, and of the GPU's libraries.
_NO_MEMORY = re.compile("allocate memory|out of memory|STATUS_ALLOC_FAILED", re.IGNORECASE)
_OF_RANKS = re.compile("gloo|NCCL", re.IGNORECASE)
_AROUND_REASON = re.compile(r"^\[\S+:\d+\] |\. This is typically .*")  # of gloo's errors
_MOST_SAID = 300  # characters of an error of a library
_TOO_SMALL = re.compile(r"Output size is too small|Kernel size can't be greater")


@dataclass(frozen=True)
class Ranks:
    """This process among those of one run; alone, it is rank 0 of 1 and has no group."""

    device: torch.device
    rank: int = 0
    world: int = 1
    neighbours: int = 1  # ranks on this machine, this one included
    group: dist.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank; every rank has to ask."""
        return flag if self.group is None else any(self.gather(flag))

    def gather(self, own: Any) -> list[Any]:
        """Every rank's object, in the order of ranks, on every rank."""
        if self.group is None:
            return [own]
        everyone: list[Any] = [None] * self.world
        dist.all_gather_object(everyone, own, group=self.group)
        return everyone


@contextmanager
def joined_ranks(device: str) -> Iterator[Ranks]:
    """Join the other processes that `torchrun` started; without it, be alone.

    Each rank has a GPU of its own and NCCL between them, or they share the CPU with gloo.

    Raises:
        DeviceError: the device is not available, there are fewer GPUs than ranks, or they do not
            find each other, or lose each other.
    """
    picked = pick_device(device)
    if not dist.is_torchelastic_launched():
        yield Ranks(picked)
        return
    if picked.type == "cuda":
        picked = pick_device(f"cuda:{dist.get_node_local_rank()}")
        torch.cuda.set_device(picked)
    # What ranks tell each other besides gradients goes by gloo, for which no GPU is waited for.
    backend = "cpu:gloo,cuda:nccl" if picked.type == "cuda" else "gloo"
    with _rank_errors():
        store, rank, world = next(rendezvous("env://"))
        # torchrun restarts ranks with the store of those before, whose addresses are still in it.
        life = f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)} of {world}"
        store = dist.PrefixStore(life, store)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    try:
        with _rank_errors():
            alone = Ranks(picked, dist.get_rank(), dist.get_world_size(), group=dist.group.WORLD)
            neighbours = alone.gather(platform.node()).count(platform.node())
            yield replace(alone, neighbours=neighbours)
    finally:
        dist.destroy_process_group()


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 in hardware; emulated it would be slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return False


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The dtype of autocast for a recipe's precision; None trains in float32.

    Raises:
        DeviceError: bf16 is asked for on a device without it.
    """
    if precision == "bf16" and not has_bf16(device):
        raise DeviceError(
            f"precision bf16 is not supported by this {device.type} device; "
            "expected auto or float32"
        )
    wanted = precision == "bf16" or (precision == "auto" and has_bf16(device))
    return torch.bfloat16 if wanted else None


_LEAST_BORNE = 16  # as many as are ever chosen
_BORNE_BY_CORE = 8  # slow disks gain from several


def loader_workers(asked: int, ranks: Ranks) -> int:
    """How many processes load images on this rank; -1 suits the machine.

    A GPU needs all the cores for decoding; a CPU that trains can spare about half.
    """
    if asked >= 0:
        return asked
    cores = usable_cores()
    share = cores if ranks.device.type == "cuda" else cores // 2
    return max(1, min(16, share // ranks.neighbours))


def images_at_once(schedule: ScheduleRecipe, world: int) -> int:
    """The most images that are in a rank's memory with all that their gradients need.

    Of `auto` it is not known before it is tried; then it is the rank's whole share.
    """
    share = -(-schedule.batch_size // world)
    asked = schedule.micro_batch
    return share if asked == "auto" else min(share, asked or share)


def is_out_of_memory(error: Exception) -> bool:
    """Whether torch says that a device or the machine has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or bool(_NO_MEMORY.search(str(error)))


@contextmanager
def _rank_errors() -> Iterator[None]:
    """Raise DeviceError where the connection to another rank is lost, or does not come about."""
    try:
        yield
    except RuntimeError as error:
        told = str(error)
        is_of_ranks = isinstance(error, dist.DistError) or _OF_RANKS.search(told)
        if is_of_ranks and not _NO_MEMORY.search(told):
            reason = _AROUND_REASON.sub("", told.splitlines()[0])[:_MOST_SAID]
            raise DeviceError(
                f"the connection to another rank is lost ({reason}); its own output says why, "
                "unless it was killed"
            ) from error
        raise


@contextmanager
def device_errors(images_at_once: int, size: int) -> Iterator[None]:
    """Turn what torch says of memory, devices and sizes into one line that says what to try.

    Args:
        images_at_once: images in a rank's memory with all that their gradients need.
        size: side of the images, pixels.

    Raises:
        DeviceError: the device or the machine has no memory left, the device is out of order, or
            another rank is gone.
        RecipeError: the images are too small for the network, or batch norm is to normalise a
            single value.
    """
    try:
        with _rank_errors():
            yield
    except (RuntimeError, ValueError) as error:
        told = str(error)
        if is_out_of_memory(error):
            raise DeviceError(
                f"out of memory with {images_at_once} images at once",
                hint=f"{{micro_batch}} {max(1, images_at_once // 2)} leaves the loss as it is",
            ) from error
        if "more than 1 value per channel" in told:
            raise RecipeError(
                f"batch norm cannot normalise one image at a time at {size} pixels",
                hint="{batch_size} and {micro_batch} of at least 2, or a larger {size}",
            ) from error
        if _TOO_SMALL.search(told):
            raise RecipeError(
                f"the network does not take images of {size} pixels ({told.splitlines()[0]})",
                hint="a larger {size}",
            ) from error
        if told.startswith("CUDA error"):
            raise DeviceError(f"the GPU cannot be used ({told.splitlines()[0]})") from error
        raise


def check_batch(batch_size: int, images: int, ranks: Ranks) -> None:
    """Raise RecipeError where a batch cannot give every rank an image."""
    if batch_size < ranks.world:
        raise RecipeError(f"batch size {batch_size} is too small for {ranks.world} ranks")
    if images < ranks.world:
        raise RecipeError(f"{images} training images are too few for {ranks.world} ranks")


def check_parallel(train: TrainRecipe, ranks: Ranks) -> None:
    """Raise RecipeError for more processes or threads than a machine of this size bears.

    A recipe may come from a larger machine, or from somebody who wants this one to stand still.
    """
    cores = usable_cores()
    most = max(_LEAST_BORNE, _BORNE_BY_CORE * cores // ranks.neighbours)
    for name, asked in (("workers", train.workers), ("threads", train.threads)):
        if asked > most:
            raise RecipeError(
                f"train.{name} is {asked}; at most {most} are started on {cores} cores"
            )


@contextmanager
def own_torch_state(device: torch.device, threads: int) -> Iterator[None]:
    """Inside the block, seeds and the number of threads are not the caller's.

    Args:
        device: whose generator is kept apart, besides the CPU's.
        threads: of torch on the CPU; 0 leaves the number as it is.
    """
    index = device.index if device.index is not None else 0
    devices = [index] if device.type == "cuda" else []
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices):
        if threads:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
