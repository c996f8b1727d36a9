import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.losses import reference_baselines as reference
from tests.losses.reference_baselines import drawn_batch
from twlcli.losses import zlpr_loss


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**20),
    images=st.integers(1, 7),
    labels=st.integers(1, 7),
    scale=st.sampled_from([0.1, 3.0, 100.0]),
)
def test_loss_equals_plain_loops(seed, images, labels, scale):
    logits, targets = drawn_batch(seed, images, labels, scale)
    expected = reference.zlpr(logits.tolist(), targets.tolist())
    assert zlpr_loss(logits, targets).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_known_value():
    # log(1 + 2 + 1) of the negatives and log(1 + 1/3) of the positive
    logits = torch.tensor([[math.log(2), 0.0, math.log(3)]])
    value = zlpr_loss(logits, torch.tensor([[0, 0, 1]]))
    assert value.item() == pytest.approx(math.log(4) + math.log(4 / 3))


def test_float64_sees_the_bend_of_softplus_at_21():
    logits = torch.tensor([[21.0]], dtype=torch.float64)
    value = zlpr_loss(logits, torch.zeros(1, 1))
    assert value.item() == pytest.approx(21 + math.exp(-21), rel=1e-14)


def test_image_without_positives_teaches():
    logits = torch.zeros(2, 1, requires_grad=True)
    value = zlpr_loss(logits, torch.tensor([[0], [-1]]))
    value.backward()
    assert value.item() == pytest.approx(math.log(2))
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.5], [0.0]]


def test_gradcheck():
    logits, targets = drawn_batch(2, 5, 4)
    assert torch.autograd.gradcheck(lambda x: zlpr_loss(x, targets), logits.requires_grad_())
