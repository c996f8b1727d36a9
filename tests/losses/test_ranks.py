"""The loss over several gloo processes against one process on the whole batch."""

import inspect
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from twlcli.losses import Loss, class_wise_loss, sample_wise_loss, two_way_loss

FUNCTIONS: list[tuple[str, str, Loss]] = [
    ("two-way", "global", two_way_loss),
    ("sample-wise", "global", sample_wise_loss),
    ("class-wise", "global", class_wise_loss),
    ("two-way", "local", partial(two_way_loss, class_scope="local")),
    ("class-wise", "local", partial(class_wise_loss, class_scope="local")),
]
OVER_RANKS: dict[tuple[str, str, bool], Loss] = {
    (name, scope, anchor): partial(loss, anchor=anchor)
    for name, scope, loss in FUNCTIONS
    for anchor in (False, True)
}


def in_one_process(
    name: str, scope: str, anchor: bool, logits: Tensor, targets: Tensor, shares: list[slice]
) -> Tensor:
    """What the ranks' loss has to be, from the whole batch."""
    if name == "sample-wise":
        return sample_wise_loss(logits, targets, anchor=anchor)
    compared = shares if scope == "local" else [slice(None)]
    parts = [class_wise_loss(logits[own], targets[own], anchor=anchor) for own in compared]
    columns = torch.stack(parts).mean()
    if name == "class-wise":
        return columns
    return sample_wise_loss(logits, targets, anchor=anchor) + columns


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
    for case, loss in OVER_RANKS.items():
        weights = weights.detach().requires_grad_()
        value = loss(features[own] @ weights, targets[own], group=dist.group.WORLD)
        value.backward()
        gradient = weights.grad
        assert gradient is not None
        dist.all_reduce(gradient)  # what data-parallel training does: the mean over ranks
        results[case] = (value.detach(), gradient / world)
    refuse_what_ranks_cannot_do(features[own] @ weights.detach(), targets[own])
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def refuse_what_ranks_cannot_do(logits: Tensor, targets: Tensor) -> None:
    loss = partial(two_way_loss, targets=targets, group=dist.group.WORLD)
    with pytest.raises(RuntimeError, match=r"over ranks .* no torch\.func transforms"):
        torch.func.grad(loss)(logits)
    value = loss(logits.requires_grad_())
    with pytest.raises(RuntimeError, match=r"over ranks .* no second derivative"):
        torch.autograd.grad(value, logits, create_graph=True)


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_averaged_gradient_equals_one_process(world: int, tmp_path: Path):
    spawn(on_a_rank, args=(world, str(tmp_path)), nprocs=world)
    of_ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]
    features, weights, targets = whole_batch()
    for case in OVER_RANKS:
        weights = weights.detach().requires_grad_()
        value = in_one_process(*case, features @ weights, targets, slices(world))
        value.backward()
        for results in of_ranks:
            torch.testing.assert_close(results[case][0], value.detach())
            torch.testing.assert_close(results[case][1], weights.grad)


def count_on_a_rank(rank: int, folder: str) -> None:
    store = f"file://{folder}/store"
    dist.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=2, timeout=timedelta(minutes=5)
    )
    sent: dict[str, int] = {}

    def counting(name: str) -> Callable[..., object]:
        call = getattr(dist, name)

        def counted(*tensors: Any, **options: Any) -> object:
            sent[name] = sent.get(name, 0) + tensors[-1].nbytes
            return call(*tensors, **options)

        return counted

    logits = torch.randn(3 + rank, 1000, requires_grad=True)
    targets = torch.randint(0, 2, logits.shape)
    names = [name for name in dir(dist) if name.startswith(("all_", "reduce", "broadcast"))]
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in names:
            if inspect.isfunction(getattr(dist, name)):
                monkeypatch.setattr(dist, name, counting(name))
        two_way_loss(logits, targets, group=dist.group.WORLD).backward()
    torch.save(sent, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_a_rank_hands_out_two_numbers_a_label_and_two_more_however_many_images_it_has(
    tmp_path: Path,
):
    spawn(count_on_a_rank, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        sent = torch.load(tmp_path / f"{rank}.pt")
        assert sent == {"all_gather": 4 * 2 * 1000, "all_reduce": 4 * 2}


def test_scope_of_one_process_means_nothing():
    features, weights, targets = whole_batch()
    logits = features @ weights
    assert two_way_loss(logits, targets, class_scope="local") == two_way_loss(logits, targets)
    with pytest.raises(ValueError, match="class_scope of global or local, got 'rank'"):
        two_way_loss(logits, targets, class_scope="rank")  # type: ignore[arg-type]
