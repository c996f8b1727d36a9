import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.losses import reference
from twlcli.losses import LOSSES, class_wise_loss, sample_wise_loss, two_way_loss

PAIRS = [
    (two_way_loss, reference.two_way),
    (sample_wise_loss, reference.sample_wise),
    (class_wise_loss, reference.class_wise),
]
OPTIONS = [
    {},
    {"positive_temperature": 1.0, "negative_temperature": 1.0, "margin": 1.0},
    {"positive_temperature": 2.5, "negative_temperature": 0.5},
]


def batch(seed: int, images: int, labels: int, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    """Logits and targets with about 30 % present and 10 % unknown, float64."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(images, labels, generator=generator, dtype=torch.float64)
    draw = torch.rand(images, labels, generator=generator)
    targets = torch.zeros(images, labels, dtype=torch.int8)
    targets[draw < 0.3] = 1
    targets[draw > 0.9] = -1
    return logits, targets


def gradient_of(loss, logits: Tensor, targets: Tensor, **options: float) -> Tensor:
    logits = logits.clone().requires_grad_()
    loss(logits, targets, **options).backward()
    assert logits.grad is not None
    return logits.grad


@pytest.mark.parametrize(("loss", "expected"), PAIRS)
@pytest.mark.parametrize("options", OPTIONS)
@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**20),
    images=st.integers(1, 7),
    labels=st.integers(1, 7),
    scale=st.sampled_from([0.1, 3.0, 100.0]),
)
def test_loss_equals_plain_loops(loss, expected, options, seed, images, labels, scale):
    logits, targets = batch(seed, images, labels, scale)
    value = loss(logits, targets, **options)
    assert value.item() == pytest.approx(
        expected(logits.tolist(), targets.tolist(), **options), rel=1e-12, abs=1e-12
    )


def test_known_value_of_one_pair():
    # softplus(4 * -(2 / 4) + 1) for the row; each column is one-sided and adds 0.
    logits, targets = torch.tensor([[2.0, 1.0]]), torch.tensor([[1, 0]])
    assert two_way_loss(logits, targets).item() == pytest.approx(math.log1p(math.exp(-1)))


def test_temperature_spreads_over_positives():
    # T_P log(exp(-0/T_P) + exp(-0/T_P)) = T_P log 2
    logits, targets = torch.zeros(1, 3), torch.tensor([[1, 1, 0]])
    expected = math.log1p(math.exp(4 * math.log(2)))
    assert sample_wise_loss(logits, targets).item() == pytest.approx(expected)


def test_gradient_equals_the_papers():
    logits, targets = batch(1, 6, 5)
    temperatures = {"positive_temperature": 4.0, "negative_temperature": 1.5}
    rows = reference.sample_wise_gradient(logits.tolist(), targets.tolist(), **temperatures)
    actual = gradient_of(sample_wise_loss, logits, targets, **temperatures)
    torch.testing.assert_close(actual, torch.tensor(rows, dtype=torch.float64))
    columns = reference.sample_wise_gradient(logits.T.tolist(), targets.T.tolist(), **temperatures)
    actual = gradient_of(class_wise_loss, logits, targets, **temperatures)
    torch.testing.assert_close(actual.T, torch.tensor(columns, dtype=torch.float64))


@pytest.mark.parametrize(("loss", "_"), PAIRS)
def test_gradcheck(loss, _):
    logits, targets = batch(3, 5, 4)
    assert torch.autograd.gradcheck(lambda x: loss(x, targets), logits.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.int8, torch.float32])
def test_targets_of_any_dtype_agree(dtype):
    logits, targets = batch(4, 6, 5)
    targets = targets.clamp(min=0)
    assert two_way_loss(logits, targets.to(dtype)) == two_way_loss(logits, targets)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_logits_are_computed_in_float32(dtype):
    logits, targets = batch(5, 6, 5)
    narrow = logits.to(dtype)
    value = two_way_loss(narrow, targets)
    assert value.dtype == torch.float32
    assert value == two_way_loss(narrow.float(), targets)
    assert gradient_of(two_way_loss, narrow, targets).dtype == dtype


def test_unknown_entries_get_no_gradient_and_change_nothing():
    logits, targets = batch(6, 6, 5)
    gradient = gradient_of(two_way_loss, logits, targets)
    assert (gradient[targets == -1] == 0).all()
    changed = torch.where(targets == -1, 1e4, logits)
    assert two_way_loss(changed, targets) == two_way_loss(logits, targets)


@pytest.mark.parametrize("mark", [0, -1])
def test_batch_without_positives_is_zero_with_zero_gradient(mark):
    targets = torch.full((3, 4), mark)
    logits = torch.randn(3, 4, requires_grad=True)
    value = two_way_loss(logits, targets)
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_line_without_negatives_counts_and_adds_nothing():
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    both = sample_wise_loss(logits, torch.tensor([[1, 1], [1, 0]]))
    alone = sample_wise_loss(logits[1:], torch.tensor([[1, 0]]))
    assert both.item() == pytest.approx(alone.item() / 2)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_empty_batch_is_zero(shape):
    logits = torch.zeros(shape, requires_grad=True)
    value = two_way_loss(logits, torch.zeros(shape))
    value.backward()
    assert value.item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_logits_are_exact(dtype):
    logits = torch.tensor([[1e4, -1e4, 5.0]], dtype=dtype)
    right, wrong = torch.tensor([[1, 0, -1]]), torch.tensor([[0, 1, -1]])
    assert two_way_loss(logits, right).item() == 0
    assert two_way_loss(logits, wrong).item() == 20_000
    assert gradient_of(two_way_loss, logits, wrong).tolist() == [[1, -1, 0]]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**20), scale=st.sampled_from([1.0, 1e2, 1e4]))
def test_loss_and_gradient_are_finite(seed, scale):
    logits, targets = batch(seed, 5, 6, scale)
    for dtype in (torch.float32, torch.bfloat16):
        narrow = logits.to(dtype)
        assert torch.isfinite(two_way_loss(narrow, targets))
        assert torch.isfinite(gradient_of(two_way_loss, narrow, targets)).all()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**20), shift=st.floats(-100, 100))
def test_shift_of_all_logits_changes_nothing(seed, shift):
    logits, targets = batch(seed, 5, 6)
    torch.testing.assert_close(two_way_loss(logits + shift, targets), two_way_loss(logits, targets))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**20))
def test_order_of_images_and_labels_changes_nothing(seed):
    logits, targets = batch(seed, 5, 6)
    rows, columns = torch.randperm(5), torch.randperm(6)
    shuffled = two_way_loss(logits[rows][:, columns], targets[rows][:, columns])
    torch.testing.assert_close(shuffled, two_way_loss(logits, targets))


def test_shapes_and_temperatures_are_checked():
    logits = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"one shape \(N, C\), got \(2, 3\) and \(3, 2\)"):
        two_way_loss(logits, torch.zeros(3, 2))
    with pytest.raises(ValueError, match="one shape"):
        two_way_loss(logits[0], torch.zeros(3))
    with pytest.raises(ValueError, match="temperatures above 0"):
        two_way_loss(logits, logits, positive_temperature=0.0)


def test_losses_by_name():
    assert LOSSES["two-way"] is two_way_loss
    assert LOSSES["sample-wise"] is sample_wise_loss
    assert LOSSES["class-wise"] is class_wise_loss
