import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.losses import reference_baselines as reference
from tests.losses.reference_baselines import drawn_batch
from twlcli.losses import rml_loss, warp_loss

CASES = [
    (warp_loss, reference.warp, {}),
    (rml_loss, reference.rml, {}),
    (rml_loss, reference.rml, {"ramp": 0.5, "kappa": 0.0}),
    (rml_loss, reference.rml, {"ramp": -3.0, "kappa": 5.0}),
]


@pytest.mark.parametrize(("loss", "expected", "options"), CASES)
@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**20),
    images=st.integers(1, 6),
    labels=st.integers(1, 8),
    scale=st.sampled_from([0.1, 1.0, 3.0, 100.0]),
)
def test_loss_equals_plain_loops(loss, expected, options, seed, images, labels, scale):
    logits, targets = drawn_batch(seed, images, labels, scale)
    value = loss(logits, targets, **options).item()
    plain = expected(logits.tolist(), targets.tolist(), **options)
    assert value == pytest.approx(plain, rel=1e-12, abs=1e-12)


def test_rank_weight_is_the_harmonic_sum():
    """L(1..4) = 1, 3/2, 11/6, 25/12; a much copied class adds 1/i + 1 where 1/(i + 1) belongs."""
    for rank, weight in enumerate([1.0, 3 / 2, 11 / 6, 25 / 12], start=1):
        logits, targets = torch.zeros(1, rank + 1), torch.zeros(1, rank + 1)
        targets[0, 0] = 1
        assert warp_loss(logits, targets).item() == pytest.approx(rank * weight)


def test_known_value_of_warp():
    # Hinges of x_j = 1 against 0.5, 0, -1, 2: 0.5, 0, 0, 2; two violate, so L = 3/2.
    logits = torch.tensor([[1.0, 0.5, 0.0, -1.0, 2.0]])
    targets = torch.tensor([[1, 0, 0, 0, 0]])
    assert warp_loss(logits, targets).item() == pytest.approx(1.5 * 2.5)


def test_mean_of_warp_runs_over_images_with_a_positive():
    logits = torch.zeros(4, 2)
    targets = torch.tensor([[1, 0], [1, 1], [0, 0], [-1, -1]])
    assert warp_loss(logits, targets).item() == pytest.approx(1 / 2)


def test_known_value_of_rml():
    # x_j - x_k = 0 - 0.5 and 0 + 2: ramps 1.5 and 0, rank 1. Labels: 1, 1.5 and 0.
    logits, targets = torch.tensor([[0.0, 0.5, -2.0]]), torch.tensor([[1, 0, 0]])
    assert rml_loss(logits, targets).item() == pytest.approx(1.5 + 2 * 2.5)
    assert rml_loss(logits, targets, ramp=-0.25).item() == pytest.approx(1.25 + 2 * 2.25)


def test_ramp_is_flat_far_on_the_wrong_side():
    logits = torch.tensor([[-5.0, 5.0]], requires_grad=True)
    value = rml_loss(logits, torch.tensor([[1, 0]]))
    value.backward()
    assert value.item() == pytest.approx(1.8 + 2 * 3.6)
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.0, 0.0]]


def test_image_without_positives_teaches_rml():
    logits = torch.zeros(2, 2, requires_grad=True)
    value = rml_loss(logits, torch.tensor([[0, -1], [-1, -1]]))
    value.backward()
    assert value.item() == pytest.approx(2)
    assert logits.grad is not None
    assert logits.grad.tolist() == [[2.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("loss", [warp_loss, rml_loss])
def test_gradcheck(loss):
    logits, targets = drawn_batch(7, 5, 6, scale=1.0)
    distances = (1 + logits[:, None] - logits[:, :, None]).abs()
    assert distances.min() > 1e-4  # the kinks are out of gradcheck's reach

    def of(x: Tensor) -> Tensor:
        value: Tensor = loss(x, targets)
        return value

    assert torch.autograd.gradcheck(of, logits.requires_grad_())


@pytest.mark.parametrize("loss", [warp_loss, rml_loss])
def test_memory_is_that_of_the_pairs(loss):
    images, labels = 6, 50
    targets = torch.zeros(images, labels)
    targets[:, 0] = 1
    largest = 0

    def saved(tensor: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor):
        loss(torch.zeros(images, labels, requires_grad=True), targets)
    assert largest == images * labels


def test_first_draw_violates_where_all_do():
    # s = 1, so r = |N| = 3 of the four known labels; every hinge is 1.
    logits, targets = torch.zeros(1, 5), torch.tensor([[1, 0, 0, 0, -1]])
    assert warp_loss(logits, targets, sampled=True).item() == pytest.approx(11 / 6)


def test_drawn_losses_have_the_mean_over_all_orders():
    line, marks = [0.0, 0.5, -3.0, -0.5, -2.0, -4.0, 9.0, 1.0], [1, 0, 0, 0, 0, 0, -1, 1]
    negatives = [x for x, mark in zip(line, marks, strict=True) if mark == 0]
    expected = sum(reference.expected_drawn_term(x, negatives) for x in (0.0, 1.0))
    images = 20_000
    logits = torch.tensor([line], dtype=torch.float64).repeat(images, 1)
    torch.manual_seed(0)
    value = warp_loss(logits, torch.tensor([marks]).repeat(images, 1), sampled=True)
    # A term is below L(5) * 1.5 = 3.4, so the mean's standard deviation is below 0.02.
    assert value.item() == pytest.approx(expected, abs=0.06)


def test_draws_repeat_with_the_seed():
    logits, targets = drawn_batch(8, 8, 12)
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(warp_loss(logits, targets, sampled=True).item())
    assert values[0] == values[1] != values[2]


def test_drawn_pair_alone_gets_a_gradient():
    logits = torch.zeros(1, 6, requires_grad=True)
    warp_loss(logits, torch.tensor([[1, 0, 0, 0, 0, 0]]), sampled=True).backward()
    assert logits.grad is not None
    weight = sum(1 / t for t in range(1, 6))
    assert logits.grad[0].sort().values.tolist() == pytest.approx([-weight, 0, 0, 0, 0, weight])


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 3)])
def test_nothing_to_draw_is_zero(shape):
    logits = torch.zeros(shape, requires_grad=True)
    for targets in (torch.zeros(shape), torch.ones(shape)):
        value = warp_loss(logits, targets, sampled=True)
        (gradient,) = torch.autograd.grad(value, logits)
        assert value.item() == 0
        assert (gradient == 0).all()


def test_no_violation_is_zero():
    logits, targets = torch.tensor([[3.0, 1.0, -1.0]]), torch.tensor([[1, 0, 0]])
    assert warp_loss(logits, targets).item() == 0
    assert warp_loss(logits, targets, sampled=True).item() == 0


@pytest.mark.parametrize("options", [{"ramp": 1.0}, {"kappa": -1.0}])
def test_options_are_checked(options):
    with pytest.raises(ValueError, match="ramp below 1 and kappa >= 0"):
        rml_loss(torch.zeros(2, 3), torch.zeros(2, 3), **options)
