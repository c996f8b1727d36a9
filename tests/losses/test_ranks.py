"""The loss over several gloo processes against one process on the whole batch."""

from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from twlcli.losses import class_wise_loss, sample_wise_loss, two_way_loss

LOSSES_HERE = {
    f"{name}, anchor {anchor}": partial(loss, anchor=anchor)
    for name, loss in {
        "two-way": two_way_loss,
        "sample-wise": sample_wise_loss,
        "class-wise": class_wise_loss,
    }.items()
    for anchor in (False, True)
}


def whole_batch() -> tuple[Tensor, Tensor, Tensor]:
    """Features, a linear layer's weights and targets; rows 4 to 6 and 8 have no positive."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(11, 5, generator=generator, dtype=torch.float64)
    weights = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    targets = torch.randint(-1, 2, (11, 5), generator=generator)
    targets[4:7] = 0
    targets[8] = -1
    targets[:, 3] = 0  # a label that nobody has
    targets[:, 4] = -1  # one that nobody knows about
    return features, weights, targets


def slices(world: int) -> list[slice]:
    """Uneven shares of the 11 rows; with four ranks, one has no positive and one no rows."""
    bounds = {2: [0, 4, 11], 4: [0, 4, 7, 7, 11]}[world]
    return [slice(a, b) for a, b in pairwise(bounds)]


def on_a_rank(rank: int, world: int, folder: str) -> None:
    store = f"file://{folder}/store"
    dist.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=world, timeout=timedelta(minutes=5)
    )
    features, weights, targets = whole_batch()
    own = slices(world)[rank]
    results = {}
    for name, loss in LOSSES_HERE.items():
        weights = weights.detach().requires_grad_()
        value = loss(features[own] @ weights, targets[own], group=dist.group.WORLD)
        value.backward()
        gradient = weights.grad
        assert gradient is not None
        dist.all_reduce(gradient)  # what data-parallel training does: the mean over ranks
        results[name] = (value.detach(), gradient / world)
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_averaged_gradient_equals_one_process(world: int, tmp_path: Path):
    spawn(on_a_rank, args=(world, str(tmp_path)), nprocs=world)
    features, weights, targets = whole_batch()
    for name, loss in LOSSES_HERE.items():
        weights = weights.detach().requires_grad_()
        value = loss(features @ weights, targets)
        value.backward()
        for rank in range(world):
            their_value, their_gradient = torch.load(tmp_path / f"{rank}.pt")[name]
            torch.testing.assert_close(their_value, value.detach())
            torch.testing.assert_close(their_gradient, weights.grad)
