import pytest
import torch

from tests.training.drawn import CPU, batch
from twlcli.training import asynchronous
from twlcli.training.asynchronous import Losses, on_device


def test_batches_come_whole_and_in_order():
    parts = batch().split(3)
    for got, sent in zip(on_device(iter(parts), CPU), parts, strict=True):
        assert torch.equal(got.images, sent.images)
        assert torch.equal(got.targets, sent.targets)


def test_no_batch_is_asked_for_before_the_step_on_the_one_before():
    asked = []

    def loaded():
        for number, part in enumerate(batch().split(3)):
            asked.append(number)
            yield part

    for number, _ in enumerate(on_device(loaded(), CPU)):
        assert asked == list(range(number + 1))


def test_losses_of_a_cpu_are_there_at_once_and_each_is_read_once():
    losses = Losses(CPU)
    losses.add(torch.tensor(1.5))
    losses.add(torch.tensor(0.25))
    assert losses.arrived() == [1.5, 0.25]
    assert losses.arrived() == []
    losses.add(torch.tensor(3.0))
    assert losses.all() == [3.0]


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_losses_of_another_device_are_read_now_and_then(monkeypatch, seconds):
    monkeypatch.setattr(asynchronous, "_SECONDS_BETWEEN_READS", seconds)
    losses = Losses(torch.device("mps"))  # which the tensors need not be on
    losses.add(torch.tensor(1.5))
    assert losses.arrived() == ([1.5] if seconds == 0 else [])
    losses.add(torch.tensor(2.5))
    assert losses.all() == ([2.5] if seconds == 0 else [1.5, 2.5])
