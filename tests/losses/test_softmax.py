import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.losses import reference_baselines as reference
from tests.losses.reference_baselines import drawn_batch
from twlcli.losses import softmax_loss


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**20),
    images=st.integers(1, 7),
    labels=st.integers(1, 7),
    scale=st.sampled_from([0.1, 3.0, 100.0]),
)
def test_loss_equals_plain_loops(seed, images, labels, scale):
    logits, targets = drawn_batch(seed, images, labels, scale)
    expected = reference.softmax(logits.tolist(), targets.tolist())
    assert softmax_loss(logits, targets).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_known_value_of_two_positives():
    # log(e^0 + e^0 + e^log 2) = log 4; the positives 0 and log 2 lose log 4 and log 2.
    logits = torch.tensor([[0.0, math.log(2), 0.0]])
    value = softmax_loss(logits, torch.tensor([[1, 1, 0]]))
    assert value.item() == pytest.approx(1.5 * math.log(2))


def test_softmax_runs_over_known_labels_alone():
    logits = torch.zeros(1, 3)
    assert softmax_loss(logits, torch.tensor([[1, 0, -1]])).item() == pytest.approx(math.log(2))


def test_mean_runs_over_images_with_a_positive():
    logits = torch.zeros(3, 2)
    targets = torch.tensor([[1, 0], [0, 0], [-1, -1]])
    assert softmax_loss(logits, targets).item() == pytest.approx(math.log(2))


def test_one_positive_per_image_is_cross_entropy():
    logits, _ = drawn_batch(1, 6, 5)
    labels = torch.tensor([0, 3, 2, 2, 4, 1])
    expected = F.cross_entropy(logits, labels)
    torch.testing.assert_close(softmax_loss(logits, F.one_hot(labels, 5)), expected)


def test_gradcheck():
    logits, targets = drawn_batch(2, 5, 4)
    assert torch.autograd.gradcheck(lambda x: softmax_loss(x, targets), logits.requires_grad_())
