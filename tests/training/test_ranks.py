"""Training over several gloo processes against one process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn

from tests.training.drawn import CPU, batch, network
from tests.training.test_memory import Small, fitting
from twlcli.errors import DivergedError
from twlcli.model.preprocessing import Preprocessing
from twlcli.recipe import Recipe
from twlcli.runs.run_folder import Run
from twlcli.training.devices import Ranks
from twlcli.training.step import Stepper
from twlcli.training.trainer import Trainer
from twlcli.training.watcher import Silent

STEPS = 3
LOSSES = ("two-way", "bce", "asl", "warp", "rml")
# Which rows each rank has of two worlds; one rank has a single image.
SHARES = {2: [(0, 7), (7, 10)], 4: [(0, 3), (3, 4), (4, 8), (8, 10)]}


MISSING = ("loss.name=two-way", "data.missing_positives=0.5")
Trained = tuple[list[float], dict[str, torch.Tensor]]


def in_blocks() -> nn.Module:
    """The drawn network as a block and a head."""
    *block, head = network().children()
    return nn.Sequential(nn.Sequential(*block), head)


def trained(
    ranks: Ranks, rows: slice, *settings: str, made: Callable[[], nn.Module] = network
) -> Trained:
    """The losses and the weights after some steps."""
    settings = (
        "optimizer.learning_rate=0.5",
        "optimizer.clip=1",
        "schedule.batch_size=10",
        "train.precision=float32",  # bf16 rounds each part by itself
        *settings,
    )
    recipe = Recipe().with_settings(settings)
    stepper = Stepper(made(), recipe, Preprocessing(8, 8), ranks)
    losses = [stepper(batch(rows), step, STEPS).item() for step in range(STEPS)]
    return losses, stepper.network.state_dict()


def joined(rank: int, folder: str, world: int) -> Ranks:
    """This process as one of several, that meet in a file."""
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=world,
        timeout=timedelta(minutes=5),
    )
    return Ranks(CPU, rank, world, world, dist.group.WORLD)


def on_a_rank(rank: int, folder: str, world: int) -> None:
    ranks = joined(rank, folder, world)
    assert ranks.gather(rank) == list(range(world))
    assert ranks.any(rank == 1)
    rows = slice(*SHARES[world][rank])
    results: dict[tuple[str, int | str], Trained] = {
        (loss, micro): trained(ranks, rows, f"loss.name={loss}", f"schedule.micro_batch={micro}")
        for loss in LOSSES
        for micro in (0, 2)
    }
    for loss in ("two-way", "sample-wise", "bce"):
        results[loss, "local"] = trained(ranks, rows, f"loss.name={loss}", "loss.class_scope=local")
    results["two-way", "missing"] = trained(ranks, rows, *MISSING, "schedule.micro_batch=2")
    for micro in (0, 2):
        settings = ("train.checkpoint_activations=true", f"schedule.micro_batch={micro}")
        results["recomputed", micro] = trained(ranks, rows, *settings, made=in_blocks)
    # The first rank has memory for all of its share of five, the others for two images.
    assert fitting(Small(99 if rank == 0 else 2), ranks, images=5) == 2
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_and_micro_batches_train_as_one_process_does(tmp_path: Path, world: int):
    spawn(on_a_rank, args=(str(tmp_path), world), nprocs=world)
    of_ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]
    for loss in LOSSES:
        losses, weights = trained(Ranks(CPU), slice(0, 10), f"loss.name={loss}")
        assert losses[-1] < losses[0]
        for results in of_ranks:
            for micro in (0, 2):
                their_losses, their_weights = results[loss, micro]
                assert their_losses == pytest.approx(losses, rel=1e-5)
                torch.testing.assert_close(their_weights, weights, rtol=1e-4, atol=1e-6)
    losses, weights = trained(Ranks(CPU), slice(0, 10), *MISSING)
    for results in of_ranks:
        their_losses, their_weights = results["two-way", "missing"]
        assert their_losses == pytest.approx(losses, rel=1e-5)
        torch.testing.assert_close(their_weights, weights, rtol=1e-4, atol=1e-6)
    losses, weights = trained(Ranks(CPU), slice(0, 10), made=in_blocks)
    for results in of_ranks:
        for micro in (0, 2):
            their_losses, their_weights = results["recomputed", micro]
            assert their_losses == pytest.approx(losses, rel=1e-5)
            torch.testing.assert_close(their_weights, weights, rtol=1e-4, atol=1e-6)
    assert_local_scope_is_of_class_wise_losses_alone(of_ranks)


COMPILED = ("loss.name=two-way", "train.compile=true")


def compiled_on_a_rank(rank: int, folder: str, world: int) -> None:
    ranks = joined(rank, folder, world)
    torch.save(trained(ranks, slice(*SHARES[world][rank]), *COMPILED), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++ on a CPU")
def test_a_compiled_network_trains_as_it_does_otherwise_alone_and_on_ranks(tmp_path: Path):
    spawn(compiled_on_a_rank, args=(str(tmp_path), 2), nprocs=2)
    expected, weights = trained(Ranks(CPU), slice(0, 10), "loss.name=two-way")
    alone = trained(Ranks(CPU), slice(0, 10), *COMPILED)
    for losses, theirs in (alone, *(torch.load(tmp_path / f"{rank}.pt") for rank in range(2))):
        assert losses == pytest.approx(expected, rel=1e-5)
        torch.testing.assert_close(theirs, weights, rtol=1e-4, atol=1e-6)


def assert_local_scope_is_of_class_wise_losses_alone(
    of_ranks: list[dict[tuple[str, str], Trained]],
) -> None:
    for loss in ("bce", "sample-wise"):  # means over the whole batch whatever the scope
        expected, _ = trained(Ranks(CPU), slice(0, 10), f"loss.name={loss}")
        for results in of_ranks:
            assert results[loss, "local"][0] == pytest.approx(expected, rel=1e-5)
    whole, _ = trained(Ranks(CPU), slice(0, 10), "loss.name=two-way")
    local = [results["two-way", "local"][0] for results in of_ranks]
    assert all(losses == local[0] for losses in local)  # every rank has the value of all
    assert local[0][0] != pytest.approx(whole[0], rel=1e-2)


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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the ranks")
def test_torchrun_restarts_ranks_that_go_on_where_one_was_killed(tmp_path: Path, photographs: Path):
    run = tmp_path / "run"
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--max-restarts=1"),
        *("--standalone", "-m", "twlcli", "train", str(photographs), "--out", str(run)),
        *(
            "--auto-resume",
            "--backbone=shufflenet_v2_x0_5",
            "--epochs=8",
            "--batch-size=8",
            "--device=cpu",
        ),
        *("--size=32", "--weights=none", "--workers=0"),
    ]
    with (tmp_path / "said").open("w+") as said:
        started = subprocess.Popen(command, stdout=said, stderr=said)
        deadline = time.monotonic() + 200
        while not (run / "metrics.jsonl").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        ranks = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
        os.kill(int(ranks[-1]), signal.SIGKILL)
        assert started.wait(timeout=300) == 0
        said.seek(0)
        told = said.read()
    assert f"continuing {run}" in told
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == list(range(1, 9))
    assert "Traceback" not in told


def edges_on_a_rank(rank: int, folder: str, table: str) -> None:
    """What two ranks do where one of them has nothing to do, or a loss that is not a number."""
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=timedelta(minutes=2),
    )
    ranks = Ranks(CPU, rank, 2, 2, dist.group.WORLD)
    settings = ["model.backbone=shufflenet_v2_x0_5", "model.weights=none", "image.size=64"]
    settings += ["schedule.epochs=1", "schedule.batch_size=2", "train.workers=0"]
    recipe = Recipe().with_settings([*settings, f"data.path={table}", "train.precision=float32"])

    def trainer(name: str) -> Trainer:
        if ranks.first:
            Run.create(Path(folder, name), recipe)
        ranks.gather(None)
        return Trainer(Run.open(Path(folder, name)), ranks, Silent())

    whole = trainer("whole")
    whole.train()  # two training images, one of them unreadable, and one validation image
    assert len(whole.last_validation().images) == 1
    wrong = trainer("wrong")
    if rank == 1:
        loss = wrong.stepper.loss
        wrong.stepper.loss = lambda logits, targets: loss(logits, targets) * torch.nan
    with pytest.raises(DivergedError, match="the loss became nan in epoch 1, step 1"):
        wrong.train()
    Path(folder, f"done-{rank}").touch()
    dist.destroy_process_group()


def test_ranks_stay_together_where_one_has_nothing_to_do(tmp_path: Path, photographs: Path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    (tmp_path / "labels.csv").write_text(
        "image,labels,split\n"
        f"{photographs.parent / '0.png'},a,train\nbad.png,b,train\n"
        f"{photographs.parent / '2.png'},b,val\n"
    )
    spawn(edges_on_a_rank, args=(str(tmp_path), str(tmp_path / "labels.csv")), nprocs=2)
    assert {path.name for path in tmp_path.glob("done-*")} == {"done-0", "done-1"}
    assert "bad.png: not an image" in (tmp_path / "whole" / "unreadable.txt").read_text()
