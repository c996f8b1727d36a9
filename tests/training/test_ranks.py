"""Training over several gloo processes against one process."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn

from twlcli.recipe import Recipe
from twlcli.spec import Preprocessing
from twlcli.training.augment import Colour
from twlcli.training.devices import Ranks
from twlcli.training.loader import Batch
from twlcli.training.step import Stepper

CPU = torch.device("cpu")
STEPS = 3


def network() -> nn.Module:
    """Without batch norm, whose statistics are each rank's own."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5))


def batch(rows: slice) -> Batch:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (10, 8, 8, 3), dtype=torch.uint8, generator=generator)
    targets = torch.randint(-1, 2, (10, 5), generator=generator).to(torch.int8)
    colour = torch.ones(10, 9)
    colour[:, :3] = torch.arange(3)
    colour[:, 6:] = 0
    return Batch(images[rows], Colour(*colour[rows].split(3, dim=1)), targets[rows])


def trained(ranks: Ranks, rows: slice) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The losses and the weights after some steps."""
    recipe = Recipe().with_settings(["optimizer.learning_rate=0.5", "optimizer.clip=1"])
    stepper = Stepper(network(), recipe, Preprocessing(8, 8), ranks)
    losses = [stepper(batch(rows), step, STEPS).item() for step in range(STEPS)]
    return losses, stepper.network.state_dict()


def on_a_rank(rank: int, folder: str) -> None:
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    ranks = Ranks(CPU, rank, 2, 2, dist.group.WORLD)
    assert ranks.gather(rank) == [0, 1]
    assert ranks.any(rank == 1)
    torch.save(trained(ranks, slice(0, 7) if rank == 0 else slice(7, 10)), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_train_as_one_process_does(tmp_path: Path):
    spawn(on_a_rank, args=(str(tmp_path),), nprocs=2)
    losses, weights = trained(Ranks(CPU), slice(0, 10))
    assert losses[-1] < losses[0]
    for rank in range(2):
        their_losses, their_weights = torch.load(tmp_path / f"{rank}.pt")
        assert their_losses == pytest.approx(losses, rel=1e-5)
        torch.testing.assert_close(their_weights, weights, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_torchrun_trains_and_counts_every_image_once(tmp_path: Path, photographs: Path):
    run = tmp_path / "run"
    settings = ["model.weights=none", "image.size=32", "image.resize=36", "train.workers=1"]
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "twlcli"),
        *("train", str(photographs), "--out", str(run), "--backbone=shufflenet_v2_x0_5"),
        *("--epochs=1", "--batch-size=9", "--device=cpu"),
        *(f"--set={setting}" for setting in settings),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "2 ranks" in done.stderr
    assert done.stderr.count("best epoch") == 1
    evaluated = subprocess.run(
        [sys.executable, "-m", "twlcli", "eval", str(run), "--json", "--device=cpu"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    scores = json.loads(evaluated.stdout)
    record = json.loads((run / "metrics.jsonl").read_text())
    assert scores["images"] == 10
    assert scores["map_class"]["value"] == pytest.approx(record["map_class"], abs=1e-4)
