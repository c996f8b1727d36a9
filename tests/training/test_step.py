from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from tests.training.drawn import CPU, batch, network
from tests.training.waiting import NothingIsWaitedFor
from twlcli.losses import LOSSES, targets
from twlcli.model.preprocessing import Preprocessing
from twlcli.recipe import Recipe
from twlcli.training.devices import Ranks
from twlcli.training.step import Stepper

STEPS = 3


def stepper(net: nn.Module, *settings: str, device: torch.device = CPU) -> Stepper:
    settings = (
        "optimizer.learning_rate=0.5",
        "optimizer.clip=1",
        "train.precision=float32",  # bf16 rounds each part by itself
        "schedule.batch_size=10",
        *settings,
    )
    return Stepper(net, Recipe().with_settings(settings), Preprocessing(8, 8), Ranks(device))


def gradients(net: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in net.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("loss", ["two-way", "class-wise", "bce", "asl", "warp"])
@pytest.mark.parametrize("micro_batch", [1, 4, 9])
def test_micro_batches_train_as_one_batch_does(loss, micro_batch):
    whole = stepper(network(), f"loss.name={loss}")
    split = stepper(network(), f"loss.name={loss}", f"schedule.micro_batch={micro_batch}")
    for step in range(STEPS):
        expected = whole(batch(), step, STEPS)
        assert split(batch(), step, STEPS).item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(
        split.network.state_dict(), whole.network.state_dict(), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("micro_batch", [1, 4])
def test_micro_batches_leave_out_the_same_labels(micro_batch):
    missing = "data.missing_positives=0.5"
    whole, split = (
        stepper(network(), missing, *more)
        for more in ((), (f"schedule.micro_batch={micro_batch}",))
    )
    plain = stepper(network())
    for step in range(STEPS):
        expected = whole(batch(), step, STEPS)
        assert split(batch(), step, STEPS).item() == pytest.approx(expected.item(), rel=1e-5)
        others = plain(batch(), step, STEPS)
        assert (expected.item() == others.item()) is (step == 0)  # it grows from nothing


def test_both_passes_over_a_micro_batch_draw_the_same_dropout():
    """Against the same parts with one graph over all of them."""

    def dropping() -> nn.Module:
        return nn.Sequential(network(), nn.Dropout(0.5))

    split = stepper(dropping(), "schedule.micro_batch=4", "optimizer.clip=0")
    loss = split(batch(), 1, STEPS)
    joined = stepper(dropping())
    joined.network.train()
    logits = torch.cat(
        [joined._logits(part, 1, number) for number, part in enumerate(batch().split(3))]
    )
    assert (logits == 0).any()
    expected = joined.loss(logits, batch().targets)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(gradients(split.network), gradients(joined.network))


def test_running_statistics_count_every_image_once():
    def normalising() -> nn.Module:
        return nn.Sequential(nn.BatchNorm2d(3), network())

    split = stepper(normalising(), "schedule.micro_batch=4")
    split(batch(), 0, STEPS)
    once = stepper(normalising())
    once.network.train()
    for number, part in enumerate(batch().split(3)):
        once._logits(part, 0, number)
    torch.testing.assert_close(
        dict(split.network.named_buffers()), dict(once.network.named_buffers())
    )
    assert split.network.get_buffer("0.num_batches_tracked") == 3


def test_images_at_once_is_a_ranks_share_or_a_micro_batch():
    def of(*settings: str) -> int:
        return stepper(network(), *settings).images_at_once

    assert of() == 10
    assert of("schedule.micro_batch=4") == 4
    assert of("schedule.micro_batch=99") == 10


@pytest.mark.parametrize(
    "wait",
    [
        lambda value: value.item(),
        lambda value: value.tolist(),
        lambda value: bool(value > 0),
        lambda value: float(value),
        lambda value: value[value > 0],
        lambda value: value.nonzero(),
        lambda value: value.new_tensor([1.0]),
    ],
)
def test_what_a_gpu_would_be_waited_for_is_found(wait):
    with NothingIsWaitedFor(), pytest.raises(AssertionError, match="would be waited for"):
        wait(torch.tensor(1.0))


# WARP and RML compare as many pairs as there are present labels, which the device has to tell.
without_waiting = pytest.mark.parametrize("loss", sorted(LOSSES.keys() - {"warp", "rml"}))
with_settings = pytest.mark.parametrize(
    "settings",
    [
        (),
        ("schedule.micro_batch=4",),
        ("optimizer.name=adamw", "train.ema=0.9"),
        ("data.missing_positives=0.5",),
        ("train.checkpoint_activations=true",),
    ],
)


@without_waiting
@with_settings
def test_no_step_waits_for_the_device(monkeypatch, loss, settings):
    monkeypatch.setattr(targets, "_NOT_WAITED_FOR", ("cpu", "cuda"))  # as a GPU checks targets
    block = nn.Sequential(nn.BatchNorm2d(3))
    one = stepper(nn.Sequential(block, network()), f"loss.name={loss}", *settings)
    images = batch()
    with NothingIsWaitedFor():
        losses = [one(images, step, STEPS) for step in range(STEPS)]
    assert torch.stack(losses).isfinite().all()


@without_waiting
@with_settings
def test_all_of_a_step_is_on_its_device(monkeypatch, loss, settings):
    """As on a GPU: what is elsewhere is refused, and no value can be asked for."""
    monkeypatch.setattr(torch, "autocast", lambda *values, **named: nullcontext())
    net = nn.Sequential(nn.Sequential(nn.BatchNorm2d(3)), network())
    one = stepper(net, f"loss.name={loss}", *settings, device=torch.device("meta"))
    losses = [one(batch(), step, STEPS) for step in range(STEPS)]
    assert {each.device.type for each in losses} == {"meta"}
    with pytest.raises(RuntimeError, match="device"):
        losses[0].reshape(1) + torch.ones(1)
