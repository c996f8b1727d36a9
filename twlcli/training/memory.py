"""How many images fit in a GPU's memory at once, found by trying."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from twlcli.errors import DeviceError
from twlcli.model.preprocessing import Preprocessing
from twlcli.recipe import Recipe, ScheduleRecipe
from twlcli.training.augment import Colour
from twlcli.training.devices import Ranks, is_out_of_memory, own_torch_state
from twlcli.training.loader import Batch
from twlcli.training.step import Stepper

_STEPS = 2  # the second has what the first makes, such as the optimizer's state


def check_micro_batch(schedule: ScheduleRecipe, device: torch.device) -> None:
    """Raise DeviceError where `auto` cannot be tried: without an error that says memory is out.

    A machine whose own memory runs out ends processes instead, this one or others.
    """
    if schedule.micro_batch == "auto" and device.type != "cuda":
        raise DeviceError(
            f"schedule.micro_batch auto needs a CUDA GPU; the device is {device.type}",
            hint="{micro_batch} takes a number of images",
        )


def fitting_micro_batch(
    network: nn.Module,
    recipe: Recipe,
    preprocessing: Preprocessing,
    ranks: Ranks,
    targets: Tensor,
    *,
    allow_code: bool = False,
) -> int:
    """The largest micro-batch that every rank has memory for; every rank has to ask.

    A rank's share of a batch is tried whole, then in the least number of equal parts that fits.
    Copies of the network are trained on black images, so that nothing of it changes, and without
    the other ranks, which would wait for one whose memory is out.

    Args:
        network: on the CPU yet, as it is given to a `Stepper`.
        recipe: of the run.
        preprocessing: of the run.
        ranks: this process among those of the run.
        targets: int8 (n, C) of as many images as a rank has at most.
        allow_code: as for `Stepper`.

    Raises:
        DeviceError: a rank has no memory for a single image.
    """
    if ranks.group is not None:  # so that what the exchange itself takes is taken
        dist.all_reduce(torch.zeros(1, device=ranks.device), group=ranks.group)
    alone = Ranks(ranks.device)
    share = len(targets)

    def fits(parts: int) -> bool:
        schedule = {"batch_size": share, "micro_batch": -(-share // parts)}
        tried = recipe.with_values({"schedule": schedule})

        def steps() -> None:
            stepper = Stepper(
                copy.deepcopy(network), tried, preprocessing, alone, allow_code=allow_code
            )
            _train(stepper, targets)

        return _has_memory(steps, recipe, ranks.device)

    with own_torch_state(ranks.device, 0):
        parts = ranks.gather(_least_parts(fits, share))
    if 0 in parts:
        raise DeviceError(
            "out of memory with one image at once", hint="a smaller {size} needs less"
        )
    most_parts: int = max(parts)
    return -(-share // most_parts)


def _least_parts(fits: Callable[[int], bool], most: int) -> int:
    """The least number of parts that fit, or 0 if not even `most` do."""
    fails, parts = 0, 1
    while not fits(parts):
        if parts == most:
            return 0
        fails, parts = parts, min(2 * parts, most)
    while parts - fails > 1:
        middle = (fails + parts) // 2
        if fits(middle):
            parts = middle
        else:
            fails = middle
    return parts


def _has_memory(work: Callable[[], None], recipe: Recipe, device: torch.device) -> bool:
    """Whether some work, which leaves nothing behind, has enough memory."""
    try:
        work()
        enough = True
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        enough = False
    if recipe.train.compile:
        torch.compiler.reset()  # code for one network after the other, of which torch keeps eight
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return enough


def _train(stepper: Stepper, targets: Tensor) -> None:
    """Steps on black images."""
    count, size, device = len(targets), stepper.recipe.image.size, stepper.ranks.device
    colour = Colour(torch.arange(3.0).repeat(count, 1), torch.ones(count, 3), torch.zeros(count, 3))
    images = torch.zeros(count, size, size, 3, dtype=torch.uint8)
    batch = Batch(images, colour, targets)
    ahead = batch.to(device)  # as the next batch is copied during a step
    for step in range(_STEPS):
        stepper(batch, step, _STEPS)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    del ahead
