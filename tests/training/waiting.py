"""Finds, without a GPU, what a GPU would have to be waited for."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten

# Numbers that go to Python, shapes that depend on values, and tensors made of Python's numbers,
# which are copied to the device from memory that is not pinned.
_WAITS = {
    aten._local_scalar_dense,
    aten.equal,
    aten.is_nonzero,
    aten.lift_fresh,
    aten.masked_select,
    aten.nonzero,
    aten.unique_dim,
    aten._unique2,
}


class NothingIsWaitedFor(TorchDispatchMode):
    """Inside the block, an AssertionError for each operation that would wait for a GPU."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        waits = func.overloadpacket in _WAITS
        if func.overloadpacket in (aten.index, aten.index_put, aten.index_put_):
            waits = any(isinstance(each, Tensor) and each.dtype == torch.bool for each in args[1])
        if waits:
            raise AssertionError(f"a GPU would be waited for: {func}")
        return func(*args, **kwargs or {})
