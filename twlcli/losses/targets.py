"""Targets that a loss can use, and a clear error for those that it cannot.

A target is 1 present, 0 absent or -1 unknown. Losses that treat every entry by itself also take a
share from 0 to 1, the probability that the label is present.

Anything else is a ValueError that names the first such target. A CUDA device would have to be
waited for, so there, and in compiled graphs, the device itself asserts what is expected: the error
is a RuntimeError, and on CUDA it comes some operations later, as that of `F.cross_entropy` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_NOT_WAITED_FOR = ("cuda",)  # devices


def check_marks(targets: Tensor) -> None:
    """Refuse targets other than 1, 0 and -1.

    Raises:
        ValueError: names the first such target and its place.
    """
    _check(targets, _MARKS)


def shares_and_known(targets: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The share from 0 to 1 that each label is present, 0 where unknown, and which are known.

    Raises:
        ValueError: a target is neither in 0..1 nor -1; names the first and its place.
    """
    known = targets != -1
    shares = targets.to(dtype).where(known, 0)
    if targets.dtype.is_floating_point:
        _check(shares, _SHARES)
    else:
        _check(targets, _MARKS)  # and not the shares, because a uint8 of 255 is equal to -1
    return shares, known


@dataclass(frozen=True)
class _Expected:
    """What values are expected: in words, for each value, and for all at once, fast on CPUs."""

    words: str
    fit: Callable[[Tensor], Tensor]
    all_fit: Callable[[Tensor], bool]


def _check(values: Tensor, expected: _Expected) -> None:
    values = _plain(values)
    device = values.device.type
    if values.dtype == torch.bool or values.numel() == 0 or device == "meta":
        return
    message = f"expected targets of {expected.words}"
    if torch.compiler.is_compiling() or device in _NOT_WAITED_FOR:
        if _can_assert(device):
            torch._assert_async(expected.fit(values).all(), message)
    elif not expected.all_fit(values):
        place = tuple(expected.fit(values).logical_not().nonzero()[0].tolist())
        raise ValueError(f"{message}, got {_text(values[place])} at {place}")


def _text(value: Tensor) -> str:
    """The number that somebody wrote: 0.9 of a float32, not 0.8999999761581421."""
    number = value.item()
    is_wide = value.dtype == torch.float64 or not value.dtype.is_floating_point
    return str(number if is_wide else np.float32(number))


def _can_assert(device: str) -> bool:
    """Whether torch has an assertion: not for Apple's devices, nor in compiled graphs with vmap."""
    under_vmap = torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()
    return device in ("cpu", "cuda") and not under_vmap


def _plain(values: Tensor) -> Tensor:
    """The tensor beneath `torch.func` transforms, with all its batches."""
    if not torch.compiler.is_compiling():
        while torch._C._functorch.is_functorch_wrapped_tensor(values):
            values = torch._C._functorch.get_unwrapped(values)
    return values


def _all_in(values: Tensor, low: int, high: int) -> bool:
    """Whether all are in low..high; false where one is NaN."""
    smallest, largest = torch.aminmax(values)
    return low <= smallest.item() and largest.item() <= high


def _all_marks(values: Tensor) -> bool:
    if not values.dtype.is_floating_point:
        return _all_in(values, -1, 1)
    # 0 for 1, 0 and -1 alone: beside 0 it is about 1, and beside 1 large enough to be squared. CPUs
    # vectorise these passes: measured eight times faster than comparisons.
    distance: Tensor = torch.linalg.vector_norm(values.sign().sub_(values))
    return distance.item() == 0


_MARKS = _Expected(
    "1 present, 0 absent or -1 unknown (bce, focal and asl also take 0 to 1)",
    lambda values: values.sign() == values,
    _all_marks,
)
_SHARES = _Expected(
    "0 to 1, or -1 where unknown",
    lambda values: (values >= 0) & (values <= 1),
    lambda values: _all_in(values, 0, 1),
)
