"""Targets that mean nothing to a loss are refused; they were once left out in silence."""

import subprocess
import sys

import pytest
import torch

from tests.losses.reference_baselines import drawn_batch
from twlcli.losses import LOSSES, bce_loss, two_way_loss

SOFT = ["bce", "focal", "asl"]
MARKS = [name for name in LOSSES if name not in SOFT]
every_loss = pytest.mark.parametrize("name", LOSSES)


def with_one(value: float, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of otherwise good targets, with one at (3, 1)."""
    logits, targets = drawn_batch(1, 5, 4)
    if dtype == torch.uint8:
        targets = targets.clamp(min=0)
    targets = targets.to(dtype)
    targets[3, 1] = value
    return logits, targets


@pytest.mark.parametrize("name", MARKS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", ["0.5", "-0.5", "2.0", "-3.0", "nan", "inf", "-inf"])
def test_number_that_is_no_mark_is_refused(name, dtype, value):
    logits, targets = with_one(float(value), dtype)
    message = rf"expected targets of 1 present, 0 absent or -1 unknown .*, got {value} at \(3, 1\)$"
    with pytest.raises(ValueError, match=message):
        LOSSES[name](logits, targets)


@pytest.mark.parametrize("name", MARKS)
@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (0.9, torch.float32),
        (1e-30, torch.float32),
        (5e-324, torch.float64),
        (1 - 2**-53, torch.float64),
        (1 + 2**-52, torch.float64),
    ],
)
def test_nearest_neighbours_of_marks_are_refused(name, value, dtype):
    with pytest.raises(ValueError, match=rf"got {value} at \(3, 1\)$"):
        LOSSES[name](*with_one(value, dtype))


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", ["1.5", "-0.5", "-2.0", "nan", "inf", "-inf"])
def test_number_that_is_no_share_is_refused(name, dtype, value):
    message = rf"expected targets of 0 to 1, or -1 where unknown, got {value} at \(3, 1\)$"
    with pytest.raises(ValueError, match=message):
        LOSSES[name](*with_one(float(value), dtype))


@every_loss
@pytest.mark.parametrize(
    ("value", "dtype"),
    [(2, torch.int8), (-128, torch.int8), (-2, torch.int64), (255, torch.uint8), (2, torch.uint8)],
)
def test_integer_that_is_no_mark_is_refused(name, value, dtype):
    """A uint8 of 255, the -1 of a careless cast, is one of them."""
    with pytest.raises(ValueError, match=rf"-1 unknown .*, got {value} at \(3, 1\)$"):
        LOSSES[name](*with_one(value, dtype))


@every_loss
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_targets_are_checked_without_gradients_too(name, mode):
    with mode(), pytest.raises(ValueError, match="got 7"):
        LOSSES[name](*with_one(7, torch.int32))


@every_loss
def test_first_of_many_is_named(name):
    with pytest.raises(ValueError, match=r"got 5.0 at \(1, 2\)$"):
        LOSSES[name](torch.zeros(2, 3), torch.tensor([[0.0, 1.0, -1.0], [1.0, 0.0, 5.0]]))


@every_loss
def test_targets_that_vary_with_torch_func_are_checked_too(name):
    logits, targets = with_one(7, torch.float64)
    with pytest.raises(ValueError, match=r"got 7.0 at \(3, 1\)$"):
        torch.func.grad(LOSSES[name])(logits, targets)
    stacked = torch.stack((targets.clamp(max=1), targets))
    if name not in ("warp", "rml"):  # whose pairs are of no fixed number
        with pytest.raises(ValueError, match=r"got 7.0 at \(1, 3, 1\)$"):
            torch.vmap(LOSSES[name], in_dims=(None, 0))(logits, stacked)


@pytest.mark.parametrize("loss", [two_way_loss, bce_loss])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_graph_asserts(loss, backend):
    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend=backend, dynamic=False)
    logits, targets = with_one(0, torch.float32)
    torch.testing.assert_close(compiled(logits, targets), loss(logits, targets))
    with pytest.raises(RuntimeError, match="expected targets of"):
        compiled(*with_one(7, torch.float32))
    torch.compiler.reset()


def test_nothing_is_read_of_tensors_without_values():
    logits = torch.zeros(3, 4, device="meta")
    assert two_way_loss(logits, logits).is_meta
    assert bce_loss(logits, logits).is_meta


@pytest.mark.gpu
@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("warp", "rml")])
def test_check_does_not_wait_for_the_gpu(name):
    logits, targets = (each.cuda() for each in with_one(0, torch.float32))
    logits.requires_grad_()
    torch.cuda.set_sync_debug_mode("error")
    try:
        LOSSES[name](logits, targets).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_gpu_asserts():
    """In a process of its own, which cannot use the device any more."""
    code = (
        "import torch; from twlcli.losses import two_way_loss\n"
        "two_way_loss(torch.zeros(1, 2).cuda(), torch.tensor([[0.9, 0.0]]).cuda())\n"
        "torch.cuda.synchronize()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0
    assert "assert" in done.stderr
