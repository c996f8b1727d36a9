"""What every loss promises, whatever its equation."""

import inspect
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from tests.losses.reference_baselines import drawn_batch
from twlcli.losses import LOSSES

RELATIVE = ["two-way", "sample-wise", "class-wise", "margin", "softmax", "warp"]
ABSOLUTE = ["bce", "focal", "asl", "rml", "zlpr"]
LARGEST = torch.finfo(torch.float64).max
every_loss = pytest.mark.parametrize("name", LOSSES)


def value_and_gradient(name: str, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.detach().clone().requires_grad_()
    value = LOSSES[name](logits, targets)
    value.backward()
    assert logits.grad is not None
    return value.detach(), logits.grad


def test_names():
    assert sorted(LOSSES) == sorted(RELATIVE + ABSOLUTE)


@every_loss
def test_options_are_keywords_with_defaults(name):
    logits, targets, *options = inspect.signature(LOSSES[name]).parameters.values()
    assert (logits.name, targets.name) == ("logits", "targets")
    assert all(option.kind is option.KEYWORD_ONLY for option in options)
    assert all(option.default is not option.empty for option in options)
    assert options[-1].name == "group"
    scoped = [option.name for option in options].count("class_scope")
    assert scoped == (name in ("two-way", "class-wise"))


@every_loss
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**20))
def test_order_of_images_and_labels_changes_nothing(name, seed):
    logits, targets = drawn_batch(seed, 5, 6)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(5, generator=generator)
    columns = torch.randperm(6, generator=generator)
    value, gradient = value_and_gradient(name, logits, targets)
    shuffled = value_and_gradient(name, logits[rows][:, columns], targets[rows][:, columns])
    torch.testing.assert_close(shuffled[0], value)
    torch.testing.assert_close(shuffled[1], gradient[rows][:, columns])


@pytest.mark.parametrize("name", RELATIVE)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**20), shift=st.floats(-100, 100))
def test_shift_of_all_logits_changes_no_relative_loss(name, seed, shift):
    logits, targets = drawn_batch(seed, 5, 6)
    value, gradient = value_and_gradient(name, logits, targets)
    shifted = value_and_gradient(name, logits + shift, targets)
    torch.testing.assert_close(shifted[0], value)
    torch.testing.assert_close(shifted[1], gradient)
    assert gradient.sum().item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", ABSOLUTE)
def test_shift_of_all_logits_changes_an_absolute_loss(name):
    logits, targets = drawn_batch(1, 5, 6)
    value, shifted = LOSSES[name](logits, targets), LOSSES[name](logits + 0.5, targets)
    assert (value - shifted).abs() > 1e-3


@every_loss
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**20), scale=st.sampled_from([1.0, 1e2, 1e4]))
def test_value_and_gradient_are_finite(name, dtype, seed, scale):
    logits, targets = drawn_batch(seed, 5, 6)
    logits = (scale * logits).clamp(-1e4, 1e4).to(dtype)
    value, gradient = value_and_gradient(name, logits, targets)
    assert torch.isfinite(value)
    assert value >= 0
    assert torch.isfinite(gradient).all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_extremes_on_either_side_are_finite(name, dtype):
    """Every pair of logits of 1e4, -1e4 and 0 under every pair of targets."""
    ends = torch.tensor([1e4, -1e4, 0.0], dtype=dtype)
    marks = torch.tensor([1, 0, -1])
    for logits in torch.cartesian_prod(ends, ends):
        for targets in torch.cartesian_prod(marks, marks):
            value, gradient = value_and_gradient(name, logits[None], targets[None])
            assert torch.isfinite(value)
            assert value >= 0
            assert torch.isfinite(gradient).all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_logits_are_computed_in_float32(name, dtype):
    logits, targets = drawn_batch(5, 6, 5)
    narrow = logits.to(dtype)
    value, gradient = value_and_gradient(name, narrow, targets)
    wide_value, wide_gradient = value_and_gradient(name, narrow.float(), targets)
    assert value.dtype == torch.float32
    assert value == wide_value
    assert gradient.dtype == dtype
    assert torch.equal(gradient, wide_gradient.to(dtype))


@every_loss
def test_float64_stays_float64(name):
    logits, targets = drawn_batch(5, 6, 5)
    assert LOSSES[name](logits, targets).dtype == torch.float64


@every_loss
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32, torch.bfloat16])
def test_targets_of_any_dtype_agree(name, dtype):
    logits, targets = drawn_batch(4, 6, 5)
    targets = targets.clamp(min=0)
    assert LOSSES[name](logits, targets.to(dtype)) == LOSSES[name](logits, targets)


@every_loss
@pytest.mark.parametrize("other", [1e4, -1e4, LARGEST, -LARGEST])
def test_unknown_entries_change_nothing_and_learn_nothing(name, other):
    logits, targets = drawn_batch(6, 6, 5)
    targets[2] = -1
    targets[:, 3] = -1
    value, gradient = value_and_gradient(name, logits, targets)
    changed = value_and_gradient(name, logits.masked_fill(targets == -1, other), targets)
    assert changed[0] == value
    assert torch.equal(changed[1], gradient)
    assert (gradient[targets == -1] == 0).all()
    assert (gradient[targets != -1] != 0).any()


@pytest.mark.parametrize("name", ["softmax", "warp", *ABSOLUTE])
@pytest.mark.parametrize("other", [torch.inf, -torch.inf, torch.nan])
def test_unknown_entries_need_not_be_finite(name, other):
    logits, targets = drawn_batch(6, 6, 5)
    value, gradient = value_and_gradient(name, logits, targets)
    changed = value_and_gradient(name, logits.masked_fill(targets == -1, other), targets)
    assert changed[0] == value
    assert torch.equal(changed[1], gradient)


@every_loss
def test_nothing_known_is_zero_with_zero_gradient(name):
    value, gradient = value_and_gradient(name, torch.randn(3, 4), torch.full((3, 4), -1))
    assert value == 0
    assert (gradient == 0).all()


@every_loss
def test_batch_without_positives(name):
    """The relative losses have nothing to compare; the others push the logits down."""
    logits = torch.linspace(-0.7, 0.7, 12).reshape(3, 4)
    value, gradient = value_and_gradient(name, logits, torch.zeros(3, 4))
    if name in RELATIVE:
        assert value == 0
        assert (gradient == 0).all()
    else:
        assert value > 0
        assert (gradient > 0).all()


@every_loss
def test_batch_without_negatives_is_finite(name):
    value, gradient = value_and_gradient(name, torch.randn(3, 4), torch.ones(3, 4))
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()


@every_loss
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_batch_is_zero(name, shape):
    value, gradient = value_and_gradient(name, torch.zeros(shape), torch.zeros(shape))
    assert value == 0
    assert gradient.shape == shape


@every_loss
def test_result_is_a_scalar_and_the_inputs_stay(name):
    logits, targets = drawn_batch(7, 6, 5)
    before = logits.clone(), targets.clone()
    value, _ = value_and_gradient(name, logits, targets)
    with torch.no_grad():
        assert LOSSES[name](logits, targets) == value
    assert value.shape == ()
    assert torch.equal(logits, before[0])
    assert torch.equal(targets, before[1])


@every_loss
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_callers_grad_mode_stays(name, mode):
    logits, targets = drawn_batch(7, 6, 5)
    logits.requires_grad_()
    with mode():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        value = LOSSES[name](logits, targets)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    assert value.requires_grad == before[0]
    assert torch.is_grad_enabled()


@every_loss
def test_shapes_are_checked(name):
    logits = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"one shape \(N, C\), got \(2, 3\) and \(3, 2\)"):
        LOSSES[name](logits, torch.zeros(3, 2))
    with pytest.raises(ValueError, match="one shape"):
        LOSSES[name](logits[0], torch.zeros(3))


REDUCTIONS = [
    (name, {"reduction": reduction})
    for name in ("bce", "focal", "asl")
    for reduction in ("mean", "sum", "image")
]
OVER_RANKS: list[tuple[str, dict[str, str]]] = [
    *((name, {}) for name in ("margin", "softmax", "warp", "rml", "zlpr")),
    *REDUCTIONS,
]


def whole_batch() -> tuple[Tensor, Tensor]:
    """Of the first four rows, which one rank holds, two have no positive and one is unknown."""
    logits, targets = drawn_batch(9, 11, 4, scale=1.0)
    targets[:2] = targets[:2].clamp(max=0)
    targets[2] = -1
    return logits, targets


def on_a_rank(rank: int, world: int, folder: str) -> None:
    store = f"file://{folder}/store"
    dist.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=world, timeout=timedelta(seconds=60)
    )
    logits, targets = whole_batch()
    own = slice(0, 4) if rank == 0 else slice(4, 11)
    results = []
    for name, options in OVER_RANKS:
        logits = logits.detach().requires_grad_()
        value = LOSSES[name](logits[own], targets[own], group=dist.group.WORLD, **options)
        value.backward()
        gradient = logits.grad
        assert gradient is not None
        dist.all_reduce(gradient)  # what data-parallel training does: the mean over ranks
        results.append((value.detach(), gradient / world))
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_averaged_gradient_over_ranks_equals_one_process(tmp_path: Path):
    world = 2
    spawn(on_a_rank, args=(world, str(tmp_path)), nprocs=world)
    logits, targets = whole_batch()
    of_ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]
    for number, (name, options) in enumerate(OVER_RANKS):
        logits = logits.detach().requires_grad_()
        value = LOSSES[name](logits, targets, **options)
        value.backward()
        for results in of_ranks:
            torch.testing.assert_close(results[number][0], value.detach())
            torch.testing.assert_close(results[number][1], logits.grad)
