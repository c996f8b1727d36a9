"""What a network keeps besides its parameters, such as the running statistics of batch norm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def kept_buffers(network: nn.Module) -> Iterator[None]:
    """Forward passes inside the block leave no trace in the buffers.

    For images that go through a network twice and count once.
    """
    before = [buffer.clone() for buffer in network.buffers()]
    try:
        yield
    finally:
        for buffer, value in zip(network.buffers(), before, strict=True):
            buffer.copy_(value)
