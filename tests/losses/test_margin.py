import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.losses import reference
from tests.losses.reference_baselines import drawn_batch
from twlcli.losses import margin_loss


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**20), images=st.integers(1, 7), margin=st.floats(-3, 3))
def test_loss_equals_plain_loops(seed, images, margin):
    logits, targets = drawn_batch(seed, images, 5)
    expected = reference.sample_wise(
        logits.tolist(),
        targets.tolist(),
        positive_temperature=1.0,
        negative_temperature=1.0,
        margin=margin,
    )
    value = margin_loss(logits, targets, margin=margin)
    assert value.item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_known_values():
    # log(e^-log 2 + e^0) of the positives, log 3 of the negative: the argument is log 4.5 + margin.
    logits, targets = torch.tensor([[math.log(2), 0.0, math.log(3)]]), torch.tensor([[1, 1, 0]])
    assert margin_loss(logits, targets, margin=0.0).item() == pytest.approx(math.log(5.5))
    assert margin_loss(logits, targets).item() == pytest.approx(math.log1p(4.5 * math.e))


def test_gradcheck():
    logits, targets = drawn_batch(2, 5, 4)
    assert torch.autograd.gradcheck(lambda x: margin_loss(x, targets), logits.requires_grad_())
