import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.losses import reference_baselines as reference
from tests.losses.reference_baselines import drawn_batch, drawn_soft_batch
from twlcli.losses import asymmetric_loss, bce_loss, focal_loss

CASES = [
    (bce_loss, reference.bce, {}),
    (bce_loss, reference.bce, {"positive_weight": 2.5, "reduction": "sum"}),
    (focal_loss, reference.focal, {}),
    (focal_loss, reference.focal, {"gamma": 0.5, "alpha": 0.25, "reduction": "image"}),
    (asymmetric_loss, reference.asymmetric, {}),
    (asymmetric_loss, reference.asymmetric, {"gamma_positive": 1.0, "reduction": "mean"}),
    (
        asymmetric_loss,
        reference.asymmetric,
        {"gamma_negative": 0.5, "clip": 0.0, "reduction": "image", "focus_gradient": True},
    ),
]


@pytest.mark.parametrize(("loss", "expected", "options"), CASES)
@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**20),
    images=st.integers(1, 6),
    labels=st.integers(1, 6),
    scale=st.sampled_from([0.1, 3.0, 100.0]),
)
def test_loss_equals_plain_loops(loss, expected, options, seed, images, labels, scale):
    logits, targets = drawn_batch(seed, images, labels, scale)
    value = loss(logits, targets, **options).item()
    plain = expected(logits.tolist(), targets.tolist(), **options)
    assert value == pytest.approx(plain, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("loss", "expected", "options"), CASES)
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**20), scale=st.sampled_from([0.1, 3.0, 100.0]))
def test_loss_of_soft_targets_equals_plain_loops(loss, expected, options, seed, scale):
    logits, targets = drawn_soft_batch(seed, 4, 5, scale)
    value = loss(logits, targets, **options).item()
    plain = expected(logits.tolist(), targets.tolist(), **options)
    assert value == pytest.approx(plain, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("loss", "_", "options"), CASES)
@settings(deadline=None, max_examples=10)
@given(
    x=st.floats(-20, 20),
    present=st.integers(0, 8),
    absent=st.integers(0, 8).filter(lambda count: count > 0),
)
def test_share_is_that_of_the_entries_marked_present(loss, _, options, x, present, absent):
    """One image with the target k / n has the mean loss of n images of which k have the label."""
    count = present + absent
    options = {**options, "reduction": "mean"}
    marks = torch.tensor([[1.0]] * present + [[0.0]] * absent)
    copies = torch.full((count, 1), x, dtype=torch.float64, requires_grad=True)
    expected = loss(copies, marks, **options)
    one = torch.tensor([[x]], dtype=torch.float64, requires_grad=True)
    value = loss(one, torch.tensor([[present / count]], dtype=torch.float64), **options)
    torch.testing.assert_close(value, expected)
    (gradient,) = torch.autograd.grad(value, one)
    torch.testing.assert_close(gradient.sum(), torch.autograd.grad(expected, copies)[0].sum())


@pytest.mark.parametrize(("loss", "expected", "options"), CASES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_share_of_0_or_1_is_exactly_a_mark(loss, expected, options, dtype):
    """Neither side's part is left over, at logits where it would be huge; nor is any in float16."""
    ends = torch.tensor([[1e4, 50.0, 1.0, 0.0, -1.0, -50.0, -1e4]], dtype=torch.float64)
    for mark in (0, 1):
        results = []
        for targets in (torch.full((1, 7), mark), torch.full((1, 7), mark, dtype=dtype)):
            logits = ends.clone().requires_grad_()
            value = loss(logits, targets, **options)
            results.append((value.detach(), torch.autograd.grad(value, logits)[0]))
        assert results[0][0] == results[1][0]
        assert torch.equal(results[0][1], results[1][1])
        by_loops = expected(ends.tolist(), [[mark] * 7], **options)
        assert results[0][0].item() == pytest.approx(by_loops, rel=1e-14)


def test_smoothed_labels_have_the_entropy_as_least_loss():
    """Of p = 0.9 for a target of 0.9; to ignore the target would give a loss of 0."""
    logits = torch.logit(torch.tensor([[0.9, 0.1]], dtype=torch.float64)).requires_grad_()
    value = bce_loss(logits, torch.tensor([[0.9, 0.1]], dtype=torch.float64))
    assert value.item() == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    (gradient,) = torch.autograd.grad(value, logits)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_teacher_that_gives_the_targets_can_learn():
    logits = torch.tensor([[2.0, -1.0]])
    targets = torch.tensor([[0.25, -1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(bce_loss(logits, targets), targets)
    torch.testing.assert_close(gradient, torch.tensor([[-2.0, 0.0]]))  # log(1 - p) - log p = -x


@pytest.mark.parametrize("loss", [bce_loss, focal_loss, asymmetric_loss])
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**20))
def test_reductions_differ_by_their_counts(loss, seed):
    logits, targets = drawn_batch(seed, 5, 4)
    targets[2] = -1  # an image of which nothing is known
    known = targets >= 0
    total = loss(logits, targets, reduction="sum")
    mean, image = (loss(logits, targets, reduction=how) for how in ("mean", "image"))
    torch.testing.assert_close(mean * known.sum(), total)
    torch.testing.assert_close(image * known.any(1).sum(), total)


def test_weight_of_each_label():
    logits, targets = drawn_batch(3, 6, 3)
    weights = [0.0, 1.0, 4.0]
    expected = reference.bce(logits.tolist(), targets.tolist(), positive_weight=weights)
    for given_weight in (torch.tensor(weights), torch.tensor(weights, dtype=torch.float64)):
        value = bce_loss(logits, targets, positive_weight=given_weight)
        assert value.item() == pytest.approx(expected, rel=1e-12)
    assert bce_loss(logits.float(), targets, positive_weight=given_weight).dtype == torch.float32


def test_bce_equals_torchs():
    logits, targets = drawn_soft_batch(4, 6, 5)
    targets = targets.clamp(min=0)
    weight = torch.rand(5, dtype=torch.float64)
    expected = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight)
    torch.testing.assert_close(bce_loss(logits, targets, positive_weight=weight), expected)


def test_known_values():
    # sigmoid(log 3) = 3/4, a present and an absent label
    logits, targets = torch.tensor([[math.log(3), math.log(3)]]), torch.tensor([[1, 0]])
    present, absent = -math.log(3 / 4), -math.log(1 / 4)
    assert bce_loss(logits, targets).item() == pytest.approx((present + absent) / 2)
    weighted = bce_loss(logits, targets, positive_weight=3.0)
    assert weighted.item() == pytest.approx((3 * present + absent) / 2)
    focal = focal_loss(logits, targets)
    assert focal.item() == pytest.approx((present / 16 + absent * 9 / 16) / 2)
    balanced = focal_loss(logits, targets, alpha=0.25, reduction="sum")
    assert balanced.item() == pytest.approx(0.25 * present / 16 + 0.75 * absent * 9 / 16)
    asymmetric = asymmetric_loss(logits, targets)
    assert asymmetric.item() == pytest.approx(present - 0.7**4 * math.log(0.3))
    with_both = asymmetric_loss(logits, targets, gamma_positive=1.0)
    assert with_both.item() == pytest.approx(present / 4 - 0.7**4 * math.log(0.3))


def test_special_cases_are_cross_entropy():
    logits, targets = drawn_batch(5, 6, 5)
    expected = bce_loss(logits, targets, reduction="sum")
    focal = focal_loss(logits, targets, gamma=0.0, reduction="sum")
    asymmetric = asymmetric_loss(logits, targets, gamma_negative=0.0, clip=0.0)
    torch.testing.assert_close(focal, expected)
    torch.testing.assert_close(asymmetric, expected)


def test_clipped_absent_labels_add_nothing():
    logits = torch.tensor([[-3.0, -2.0]], requires_grad=True)  # p = 0.047 and 0.119
    value = asymmetric_loss(logits, torch.zeros(1, 2), gamma_negative=0.5, focus_gradient=True)
    value.backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] == 0
    assert logits.grad[0, 1] > 0


def test_present_label_far_below_still_teaches():
    """The authors' copy holds p above 1e-8, beyond which the gradient is 0."""
    logits = torch.tensor([[-50.0]], requires_grad=True)
    value = asymmetric_loss(logits, torch.ones(1, 1))
    value.backward()
    assert value.item() == pytest.approx(50)
    assert logits.grad is not None
    assert logits.grad.item() == pytest.approx(-1)


def test_weight_has_a_gradient_only_where_asked():
    x = torch.tensor([[0.5]], dtype=torch.float64, requires_grad=True)
    absent = torch.zeros(1, 1)
    p = torch.sigmoid(x.detach()) - 0.05
    steepness = torch.sigmoid(x.detach()) * torch.sigmoid(-x.detach())  # dp / dx
    held = p**4 / (1 - p) * steepness
    (gradient,) = torch.autograd.grad(asymmetric_loss(x, absent), x)
    torch.testing.assert_close(gradient, held)
    (gradient,) = torch.autograd.grad(asymmetric_loss(x, absent, focus_gradient=True), x)
    torch.testing.assert_close(gradient, held - 4 * p**3 * torch.log(1 - p) * steepness)


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (bce_loss, {"positive_weight": 2.0}),
        (focal_loss, {"gamma": 0.5}),
        (focal_loss, {"gamma": 2.0, "alpha": 0.25}),
        (asymmetric_loss, {"gamma_positive": 1.0, "focus_gradient": True}),
        (asymmetric_loss, {"gamma_negative": 0.5, "clip": 0.0, "focus_gradient": True}),
        (asymmetric_loss, {"gamma_negative": 0.0}),
    ],
)
@pytest.mark.parametrize("reduction", ["mean", "sum", "image"])
@pytest.mark.parametrize("batch", [drawn_batch, drawn_soft_batch])
def test_gradcheck(loss, options, reduction, batch):
    logits, targets = batch(6, 4, 4)

    def of(x: Tensor) -> Tensor:
        value: Tensor = loss(x, targets, reduction=reduction, **options)
        return value

    assert torch.autograd.gradcheck(of, logits.requires_grad_())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("clip", [0.0, 1e-12, 0.05])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_at_every_exponent(gamma, clip, dtype):
    values = [-1e4, -200.0, -100.0, -88.0, math.log(0.05 / 0.95), 0.0, 20.0, 88.0, 1e4]
    options = {"gamma_negative": gamma, "gamma_positive": gamma, "clip": clip}
    for mark in (0, 1):
        logits = torch.tensor([values], dtype=dtype, requires_grad=True)
        targets = torch.full_like(logits, mark)
        value = asymmetric_loss(logits, targets, focus_gradient=True, **options)
        value = value + focal_loss(logits, targets, gamma=gamma)
        value.backward()
        assert torch.isfinite(value)
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (bce_loss, {"reduction": "max"}, "reduction of mean, sum or image, got 'max'"),
        (bce_loss, {"positive_weight": -1.0}, "positive_weight >= 0, got -1.0"),
        (bce_loss, {"positive_weight": torch.ones(2)}, r"one number or \(3,\), got \(2,\)"),
        (focal_loss, {"gamma": -1.0}, "gamma >= 0"),
        (focal_loss, {"alpha": 1.5}, "alpha from 0 to 1"),
        (asymmetric_loss, {"gamma_negative": -1.0}, "gammas >= 0"),
        (asymmetric_loss, {"gamma_positive": -1.0}, "gammas >= 0"),
        (asymmetric_loss, {"clip": 1.0}, "clip from 0 to below 1"),
    ],
)
def test_options_are_checked(loss, options, message):
    with pytest.raises(ValueError, match=message):
        loss(torch.zeros(2, 3), torch.zeros(2, 3), **options)
