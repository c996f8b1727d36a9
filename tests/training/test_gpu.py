"""What only a GPU can show; run with `pytest -m gpu`."""

import numpy as np
import pytest
import torch

from twlcli.losses import LOSSES
from twlcli.model.torch import TorchPredictor
from twlcli.recipe import Recipe
from twlcli.runs.run_folder import Run
from twlcli.training import watcher
from twlcli.training.devices import Ranks, autocast_dtype
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
