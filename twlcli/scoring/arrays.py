"""What metrics take: arrays of scores and targets, of NumPy or of anything like it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def as_array(values: ArrayLike) -> NDArray[Any]:
    """The array of an array, nested lists, or a torch tensor on any device and with any gradient.

    Copies nothing that it need not. bfloat16, which NumPy does not have, becomes float32.
    """
    if not hasattr(values, "detach"):
        return np.asarray(values)
    tensor: Any = values.detach().cpu()  # and torch itself is not imported
    if str(tensor.dtype) == "torch.bfloat16":
        tensor = tensor.float()
    array: NDArray[Any] = tensor.numpy()
    return array


def as_targets(targets: ArrayLike) -> NDArray[np.int8]:
    """Targets as int8.

    Raises:
        ValueError: one is not 1 present, 0 absent or -1 unknown; names the first and its place.
    """
    array = as_array(targets)
    if array.dtype != np.bool_ and array.size and not _are_marks(array):
        place = tuple(int(axis[0]) for axis in np.nonzero(~np.isin(array, (1, 0, -1))))
        raise ValueError(
            "expected targets of 1 present, 0 absent or -1 unknown, "
            f"got {array[place]!s} at {place}"
        )
    return array.astype(np.int8, copy=False)


def _are_marks(array: NDArray[Any]) -> bool:
    if array.dtype.kind in "iu":
        return bool(array.min() >= -1 and array.max() <= 1)
    return bool(np.isin(array, (1, 0, -1)).all())


def as_probabilities(values: ArrayLike) -> NDArray[np.floating]:
    """Probabilities as they are.

    Raises:
        ValueError: one is outside 0..1 or NaN; names the first and its place.
    """
    array = as_array(values)
    # min and max carry NaN and need no memory.
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        place = tuple(int(axis[0]) for axis in np.nonzero(~((array >= 0) & (array <= 1))))
        raise ValueError(f"expected probabilities in 0..1, got {array[place]!s} at {place}")
    return array
