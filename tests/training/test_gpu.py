"""What only a GPU can show; run with `pytest -m gpu`."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn

from tests.training.drawn import batch, network
from twlcli.losses import LOSSES
from twlcli.model.backbones import build_backbone
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.torch import TorchPredictor
from twlcli.recipe import Recipe
from twlcli.runs.run_folder import Run
from twlcli.training import asynchronous, watcher
from twlcli.training.asynchronous import Losses, on_device
from twlcli.training.devices import Ranks, autocast_dtype
from twlcli.training.loader import Batch
from twlcli.training.memory import fitting_micro_batch
from twlcli.training.step import Stepper
from twlcli.training.trainer import Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


class Silent(watcher.Silent):
    def __getattr__(self, name):
        return lambda *values: None


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_losses_and_gradients_agree_with_the_cpu(name, dtype):
    generator = torch.Generator().manual_seed(0)
    logits = (5 * torch.randn(64, 80, generator=generator)).to(dtype)
    targets = torch.randint(-1, 2, (64, 80), generator=generator)
    results = []
    for device in ("cpu", "cuda"):
        moved = logits.to(device).requires_grad_()
        loss = LOSSES[name](moved, targets.to(device))
        loss.backward()
        assert moved.grad is not None
        results.append((loss.item(), moved.grad.float().cpu()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize(
    "setting", ["train.compile=false", "train.compile=true", "schedule.micro_batch=3"]
)
def test_training_on_the_gpu_gives_a_model_that_the_cpu_runs_alike(tmp_path, photographs, setting):
    settings = [
        *(f"data.path={photographs}", "model.backbone=resnet18", "model.weights=none"),
        *("image.size=32", "image.resize=36", "schedule.batch_size=8", "schedule.epochs=10"),
        setting,
    ]
    run = Run.create(tmp_path / "run", Recipe().with_settings(settings))
    device = torch.device("cuda")
    assert autocast_dtype("auto", device) == torch.bfloat16
    trainer = Trainer(run, Ranks(device), Silent())
    trainer.train()
    losses = [record["loss"] for record in trainer.progress.history]
    assert losses[-1] < losses[0]
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    there, here = (TorchPredictor.load(run.folder, device=name)(images) for name in ("cuda", "cpu"))
    np.testing.assert_allclose(there, here, rtol=0.02, atol=0.02)
    resumed = Trainer(Run.open(run.folder), Ranks(device), Silent(), resumed=True)
    resumed.train()
    assert len(resumed.progress.history) == 10


@pytest.mark.parametrize("loss", sorted(LOSSES.keys() - {"warp", "rml"}))
@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("schedule.micro_batch=4",),
        ("optimizer.name=adamw", "train.ema=0.9"),
        ("data.missing_positives=0.5",),
        ("train.compile=true",),
        ("train.checkpoint_activations=true",),
    ],
)
def test_neither_steps_nor_copies_nor_losses_wait_for_the_gpu(monkeypatch, loss, settings):
    monkeypatch.setattr(asynchronous, "_SECONDS_BETWEEN_READS", 0.0)
    recipe = Recipe().with_settings(
        [f"loss.name={loss}", "optimizer.learning_rate=0.1", "schedule.batch_size=10", *settings]
    )
    device = torch.device("cuda")
    net = nn.Sequential(nn.Sequential(nn.BatchNorm2d(3)), network())
    stepper = Stepper(net, recipe, Preprocessing(8, 8), Ranks(device))
    losses = Losses(device)

    def steps() -> None:
        pinned = (batch().pin_memory() for _ in range(5))
        for number, images in enumerate(on_device(pinned, device)):
            losses.add(stepper(images, number, 10))
            read.extend(losses.arrived())

    read: list[float] = []
    steps()  # what is made once, such as compiled code and the optimizer's state, may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    read += losses.all()
    assert len(read) == 10
    assert np.isfinite(read).all()


def test_a_micro_batch_that_fits_is_found_and_the_memory_given_back():
    device = torch.device("cuda")
    count, size = 4096, 64
    recipe = Recipe().with_settings(
        [f"schedule.batch_size={count}", f"image.size={size}", "optimizer.learning_rate=0.1"]
    )
    targets = torch.zeros(count, 5, dtype=torch.int8)

    def found() -> int:
        torch.manual_seed(0)
        net = build_backbone("resnet18", 5, image_size=size)
        return fitting_micro_batch(net, recipe, Preprocessing(size, size), Ranks(device), targets)

    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    share = (before + 2**30) / torch.cuda.get_device_properties(device).total_memory
    try:
        torch.cuda.set_per_process_memory_fraction(share)  # a GPU with one gigabyte
        fits = found()
        assert 1 < fits < count
        assert torch.cuda.memory_reserved() <= before + 64 * 2**20
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny"])
def test_recomputed_blocks_take_less_memory_and_train_alike(name):
    results, peaks = [], []
    for again in ("false", "true"):
        recipe = Recipe().with_settings(
            [
                f"train.checkpoint_activations={again}",
                *("schedule.batch_size=10", "optimizer.learning_rate=0.01"),
            ]
        )
        torch.manual_seed(0)
        net = build_backbone(name, 5, image_size=8)
        one = Stepper(net, recipe, Preprocessing(64, 64), Ranks(torch.device("cuda")))
        images = Batch(
            torch.full((10, 64, 64, 3), 100, dtype=torch.uint8), batch().colour, batch().targets
        )
        one(images, 0, 3)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        results.append([one(images, step, 3).item() for step in (1, 2)])
        peaks.append(torch.cuda.max_memory_allocated() - before)
    assert results[1] == pytest.approx(results[0], rel=1e-2)
    assert peaks[1] < peaks[0]


def test_batches_on_the_gpu_are_those_that_were_loaded():
    sent = [batch() for _ in range(20)]
    pinned = (each.pin_memory() for each in sent)
    for got, expected in zip(on_device(pinned, torch.device("cuda")), sent, strict=True):
        assert torch.equal(got.images.cpu(), expected.images)
        assert torch.equal(got.targets.cpu(), expected.targets)


def normalised_on_a_rank(rank: int, folder: str, world: int, backend: str) -> None:
    """Two steps of a network with batch norm over all ranks, on one GPU for all of them."""
    dist.init_process_group(
        backend, init_method=f"file://{folder}/store-{world}", rank=rank, world_size=world
    )
    try:
        ranks = Ranks(torch.device("cuda", 0), rank, world, world, dist.group.WORLD)
        torch.save(
            normalised(ranks, slice(0, 10) if world == 1 else slice(7 * rank, 7 + 3 * rank)),
            f"{folder}/{world}-{rank}.pt",
        )
    finally:
        dist.destroy_process_group()


def normalised(ranks: Ranks, rows: slice) -> dict[str, torch.Tensor]:
    recipe = Recipe().with_settings(
        [
            *("optimizer.learning_rate=0.1", "schedule.batch_size=10", "train.precision=float32"),
            *("train.sync_batch_norm=true", "train.ema=0.5"),
        ]
    )
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), network())
    torch.manual_seed(0)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    stepper = Stepper(net, recipe, Preprocessing(8, 8), ranks)
    for step in range(2):
        stepper(batch(rows), step, 2)
    norm = type(stepper.network.get_submodule("1"))
    assert norm is (nn.BatchNorm2d if ranks.group is None else nn.SyncBatchNorm)
    return {name: value.cpu() for name, value in stepper.best_network.state_dict().items()}


@pytest.mark.parametrize(("world", "backend"), [(1, "nccl"), (2, "gloo")])
def test_batch_norm_over_ranks_is_that_of_one_process(tmp_path: Path, world: int, backend: str):
    expected = normalised(Ranks(torch.device("cuda", 0)), slice(0, 10))
    spawn(normalised_on_a_rank, args=(str(tmp_path), world, backend), nprocs=world)
    for rank in range(world):
        found = torch.load(tmp_path / f"{world}-{rank}.pt")
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
