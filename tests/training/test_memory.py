"""Micro-batches that fit in memory, with a network whose memory is out above so many images."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training.drawn import CPU, batch, network
from tests.training.test_trainer import Silent, begin
from twlcli.errors import DeviceError, RecipeError
from twlcli.model.preprocessing import Preprocessing
from twlcli.recipe import Recipe
from twlcli.training import trainer
from twlcli.training.devices import Ranks
from twlcli.training.loader import Batch
from twlcli.training.memory import check_micro_batch, fitting_micro_batch
from twlcli.training.step import Stepper

TARGETS = batch().targets  # of ten images
RECIPE = Recipe().with_settings(
    [
        *("schedule.micro_batch=auto", "schedule.batch_size=10", "image.size=8", "image.resize=8"),
        *("train.ema=0.9", "optimizer.name=adamw", "optimizer.learning_rate=0.1"),
    ]
)


class Small(nn.Module):
    """Keeps the graphs of `most` images at a time."""

    def __init__(self, most: int, message: str = "") -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.BatchNorm2d(3), network())
        self.most, self.message = most, message

    def forward(self, images: Tensor) -> Tensor:
        if torch.is_grad_enabled() and len(images) > self.most:
            raise (
                RuntimeError(self.message) if self.message else torch.OutOfMemoryError("all of it")
            )
        logits: Tensor = self.inner(images)
        return logits


class WithAnother(Ranks):
    """Two ranks, of which the other needs four parts."""

    def gather(self, own: Any) -> list[Any]:
        return [own, 4]


def fitting(net: nn.Module, ranks: Ranks | None = None, images: int = 10) -> int:
    targets = TARGETS[:images]
    return fitting_micro_batch(net, RECIPE, Preprocessing(8, 8), ranks or Ranks(CPU), targets)


@pytest.mark.parametrize(
    ("most", "found"), [(99, 10), (10, 10), (9, 5), (5, 5), (4, 4), (3, 3), (2, 2), (1, 1)]
)
def test_the_least_number_of_equal_parts_that_fits_is_found(most, found):
    assert fitting(Small(most)) == found


def test_it_fits_every_rank():
    assert fitting(Small(99), WithAnother(CPU)) == 3
    assert fitting(Small(1), WithAnother(CPU)) == 1


def test_trying_leaves_no_trace():
    net = Small(4).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    assert fitting(net) == 4
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module.training for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("message", ["CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED"])
def test_what_libraries_say_of_memory_counts(message):
    assert fitting(Small(4, message)) == 4


def test_no_memory_for_one_image_is_one_line_and_other_errors_stay():
    with pytest.raises(DeviceError, match="out of memory with one image at once; a smaller `size`"):
        fitting(Small(0))
    with pytest.raises(RuntimeError, match="something else"):
        fitting(Small(4, "something else"))


def test_a_cpu_has_no_such_error():
    with pytest.raises(DeviceError, match=r"auto needs a CUDA GPU; the device is cpu; `micro_b"):
        check_micro_batch(RECIPE.schedule, CPU)
    check_micro_batch(RECIPE.schedule, torch.device("cuda"))
    check_micro_batch(Recipe().schedule, CPU)


def test_a_run_trains_with_what_fits_and_keeps_auto(monkeypatch, tmp_path: Path, photographs: Path):
    setting = "schedule.micro_batch=auto"
    with pytest.raises(DeviceError, match="auto needs a CUDA GPU"):
        begin(tmp_path / "refused", photographs, setting)
    logits = Stepper._logits

    def of_few(self: Stepper, batch: Batch, *place: int) -> Tensor:
        if torch.is_grad_enabled() and len(batch) > 3:
            raise torch.OutOfMemoryError("all of it")
        return logits(self, batch, *place)

    monkeypatch.setattr(Stepper, "_logits", of_few)
    monkeypatch.setattr(trainer, "check_micro_batch", lambda schedule, device: None)
    watcher = Silent()
    settings = ("schedule.epochs=1", "train.precision=float32")
    tried = begin(tmp_path / "tried", photographs, setting, *settings, watcher=watcher)
    assert watcher.notes[0] == "3 of 8 images fit in the GPU's memory at once (micro-batch auto)"
    assert tried.stepper.images_at_once == 3
    assert tried.run.recipe.schedule.micro_batch == "auto"
    tried.train()
    given = begin(tmp_path / "given", photographs, "schedule.micro_batch=3", *settings)
    given.train()
    state, expected = tried.stepper.network.state_dict(), given.stepper.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in state.items())


def test_what_is_neither_a_number_nor_auto_is_refused():
    message = r"schedule\.micro_batch is \"many\", expected a whole number from 0 to \d+ or auto"
    with pytest.raises(RecipeError, match=message):
        Recipe().with_settings(["schedule.micro_batch=many"])
    with pytest.raises(RecipeError, match="expected a whole number"):
        Recipe().with_settings(["schedule.micro_batch=-1"])
