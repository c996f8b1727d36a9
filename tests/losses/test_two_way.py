import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's own documentation uses)
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
    {"anchor": True},
    {"positive_temperature": 2.5, "negative_temperature": 0.5, "margin": -1.0, "anchor": True},
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


def masked_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    positive_temperature: float = 4.0,
    negative_temperature: float = 1.0,
    margin: float = 0.0,
    anchor: bool = False,
) -> Tensor:
    """The two-way loss with -inf for what is left out, for autograd to derive."""
    total = logits.new_zeros(())
    for lines, marks in ((logits, targets), (logits.T, targets.T)):
        known = (marks >= 0).any(1) if anchor else (marks == 1).any(1)
        lines, marks = lines[known], marks[known]
        sides = []
        for mark, temperature in ((1, -positive_temperature), (0, negative_temperature)):
            side = torch.where(marks == mark, lines / temperature, -torch.inf)
            side = F.pad(side, (0, 1), value=0.0 if anchor else -torch.inf)
            sides.append(abs(temperature) * torch.logsumexp(side, 1))
        one_sided = (sides[0] == -torch.inf) | (sides[1] == -torch.inf)
        arguments = (sides[0] + sides[1] + margin)[~one_sided]
        losses = torch.logaddexp(arguments, torch.zeros_like(arguments))
        total = total + losses.sum() / max(len(lines), 1)
    return total


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


def test_softplus_is_exact_in_float64():
    # Not yet linear at an argument of 23, where it still differs from it by exp(-23).
    logits, targets = torch.tensor([[2.0, 1.0]], dtype=torch.float64), torch.tensor([[1, 0]])
    expected = math.log1p(math.exp(23))
    assert two_way_loss(logits, targets, margin=24.0).item() == pytest.approx(expected, rel=1e-13)


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


@pytest.mark.parametrize("options", OPTIONS)
@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**20),
    images=st.integers(1, 7),
    labels=st.integers(1, 7),
    scale=st.sampled_from([0.1, 3.0, 100.0, 1e4]),
)
def test_one_pass_equals_autograd(options, seed, images, labels, scale):
    logits, targets = batch(seed, images, labels, scale)
    logits.requires_grad_()
    expected = masked_loss(logits, targets, **options)
    expected.backward()
    torch.testing.assert_close(two_way_loss(logits, targets, **options), expected)
    torch.testing.assert_close(
        gradient_of(two_way_loss, logits.detach(), targets, **options),
        logits.grad,
        atol=1e-10,
        rtol=1e-7,
    )


@pytest.mark.parametrize("anchor", [False, True])
@pytest.mark.parametrize(("loss", "_"), PAIRS)
def test_gradcheck(loss, _, anchor):
    logits, targets = batch(3, 5, 4)
    targets[0] = -1
    targets[1] = 0
    assert torch.autograd.gradcheck(
        lambda x: 2 * loss(x, targets, anchor=anchor), logits.requires_grad_()
    )


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("loss", "_"), PAIRS)
def test_second_derivative_is_that_of_differences(loss, _, options):
    logits, targets = batch(3, 5, 4)
    targets[0] = -1
    targets[1] = 0
    targets[:, 2] = 1
    assert torch.autograd.gradgradcheck(
        lambda x: 2 * loss(x, targets, **options), logits.requires_grad_()
    )


@pytest.mark.parametrize("options", OPTIONS)
@settings(deadline=None, max_examples=10)
@given(
    seed=st.integers(0, 2**20),
    images=st.integers(1, 4),
    labels=st.integers(1, 4),
    scale=st.sampled_from([0.1, 3.0, 100.0]),
)
def test_hessian_is_that_of_the_masked_loss(options, seed, images, labels, scale):
    logits, targets = batch(seed, images, labels, scale)

    def hessian(loss) -> Tensor:
        found = torch.autograd.functional.hessian(
            lambda flat: loss(flat.view_as(logits), targets, **options), logits.flatten()
        )
        assert isinstance(found, Tensor)
        return found

    torch.testing.assert_close(hessian(two_way_loss), hessian(masked_loss), atol=1e-10, rtol=1e-7)


def test_third_derivative_and_narrow_logits():
    logits, targets = batch(3, 5, 4)

    def penalised(x: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(two_way_loss(x, targets), x, create_graph=True)
        return two_way_loss(x, targets) + gradient.square().sum()

    assert torch.autograd.gradgradcheck(penalised, logits.clone().requires_grad_())
    narrow = logits.to(torch.bfloat16).requires_grad_()
    (gradient,) = torch.autograd.grad(penalised(narrow), narrow)
    (wide,) = torch.autograd.grad(penalised(narrow.double()), narrow)
    assert gradient.dtype == torch.bfloat16
    torch.testing.assert_close(gradient, wide, rtol=0.05, atol=0.01)


def test_nothing_is_kept_without_gradients():
    logits, targets = batch(3, 5, 4)
    value = two_way_loss(logits.clone().requires_grad_(), targets)
    assert two_way_loss(logits, targets).grad_fn is None
    with torch.no_grad():
        without = two_way_loss(logits.clone().requires_grad_(), targets)
    assert without.grad_fn is None
    assert without == value.detach()


@pytest.mark.parametrize("anchor", [False, True])
def test_compiles_to_one_graph(anchor):
    torch.compiler.reset()
    compiled = torch.compile(two_way_loss, fullgraph=True, backend="aot_eager", dynamic=False)
    logits, targets = batch(3, 5, 4)
    torch.testing.assert_close(
        gradient_of(compiled, logits, targets, anchor=anchor),
        gradient_of(two_way_loss, logits, targets, anchor=anchor),
    )
    torch.compiler.reset()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(dtype):
    logits, targets = batch(3, 5, 4)
    for wide in (logits.float(), logits):
        with torch.autocast("cpu", dtype=dtype):
            value = two_way_loss(wide, targets)
            gradient = gradient_of(two_way_loss, wide, targets)
        assert value.dtype == wide.dtype
        assert value == two_way_loss(wide, targets)
        assert torch.equal(gradient, gradient_of(two_way_loss, wide, targets))


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


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_apart_lines_do_not_touch(dtype):
    logits, targets = batch(8, 4, 6)
    logits, targets = logits.to(dtype), targets.clamp(min=0)
    targets[:, 0], targets[:, 1] = 1, 0  # both sides in every row
    far = torch.tensor([[-1e4], [1e4], [0.0], [-3e3]], dtype=dtype)
    # Adding 1e4 to a float32 rounds it; what is compared is rounded alike.
    logits = (logits + far) - far
    torch.testing.assert_close(
        gradient_of(sample_wise_loss, logits + far, targets),
        gradient_of(sample_wise_loss, logits, targets),
        rtol=1e-5,
        atol=1e-6,
    )
    torch.testing.assert_close(
        gradient_of(class_wise_loss, (logits + far).T, targets.T),
        gradient_of(sample_wise_loss, logits + far, targets).T,
    )


def test_far_apart_sides_of_a_line_do_not_touch():
    # The sums of the present and of the absent labels differ by a factor of exp(20,000).
    logits = torch.tensor([[1e4, 1e4 + 1, -1e4, -1e4]])
    targets = torch.tensor([[0, 0, 1, 1]])
    spread = torch.tensor([1.0, 1.0]).softmax(0)
    expected = torch.cat((torch.tensor([0.0, 1.0]).softmax(0), -spread))
    torch.testing.assert_close(gradient_of(sample_wise_loss, logits, targets)[0], expected)


@pytest.mark.parametrize("loss", [two_way_loss, sample_wise_loss, class_wise_loss])
def test_anchored_line_of_one_side_teaches(loss):
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    # Eq. (14) of one negative of logit x beside two anchors: log(1 + 1 (1 + exp(x)))
    assert loss(logits[:1, :1], torch.tensor([[0]]), anchor=True).item() == pytest.approx(
        (2 if loss is two_way_loss else 1) * math.log(2 + math.exp(2))
    )
    assert (gradient_of(loss, logits, torch.zeros(2, 2), anchor=True) > 0).all()
    assert (gradient_of(loss, logits, torch.ones(2, 2), anchor=True) < 0).all()


def test_anchored_lines_of_unknowns_do_not_count():
    logits, targets = batch(9, 3, 4)
    unknown = F.pad(targets, (0, 2, 0, 2), value=-1)
    more = F.pad(logits, (0, 2, 0, 2), value=5.0)
    value = two_way_loss(more, unknown, anchor=True)
    torch.testing.assert_close(value, two_way_loss(logits, targets, anchor=True))
    nothing = torch.full((3, 4), -1)
    assert two_way_loss(logits, nothing, anchor=True) == 0
    assert (gradient_of(two_way_loss, logits, nothing, anchor=True) == 0).all()


def test_anchored_row_is_softplus_of_zlpr():
    logits, targets = batch(10, 1, 6)
    anchored = partial(
        sample_wise_loss, positive_temperature=1.0, negative_temperature=1.0, anchor=True
    )

    def zlpr(logits: Tensor, targets: Tensor) -> Tensor:
        negatives = torch.log1p(logits[targets == 0].exp().sum())
        return negatives + torch.log1p((-logits[targets == 1]).exp().sum())

    value = zlpr(logits, targets)
    torch.testing.assert_close(anchored(logits, targets), F.softplus(value))
    torch.testing.assert_close(
        gradient_of(anchored, logits, targets),
        value.sigmoid() * gradient_of(zlpr, logits, targets),
    )


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
@given(
    seed=st.integers(0, 2**20),
    rows=st.permutations(range(5)),
    columns=st.permutations(range(6)),
    anchor=st.booleans(),
)
def test_order_of_images_and_labels_changes_nothing(seed, rows, columns, anchor):
    logits, targets = batch(seed, 5, 6)
    shuffled = logits[rows][:, columns], targets[rows][:, columns]
    value = two_way_loss(*shuffled, anchor=anchor)
    torch.testing.assert_close(value, two_way_loss(logits, targets, anchor=anchor))
    gradient = gradient_of(two_way_loss, logits, targets, anchor=anchor)
    actual = gradient_of(two_way_loss, *shuffled, anchor=anchor)
    torch.testing.assert_close(actual, gradient[rows][:, columns])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**20))
def test_gradients_of_a_line_cancel(seed):
    logits, targets = batch(seed, 5, 6)
    rows = gradient_of(sample_wise_loss, logits, targets).sum(1)
    torch.testing.assert_close(rows, torch.zeros_like(rows))
    columns = gradient_of(class_wise_loss, logits, targets).sum(0)
    torch.testing.assert_close(columns, torch.zeros_like(columns))


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
