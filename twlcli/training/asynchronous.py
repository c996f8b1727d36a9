"""Work that goes on beside a GPU's: batches that are copied to it, losses that are read from it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from twlcli.training.loader import Batch

_SECONDS_BETWEEN_READS = 1.0  # often enough for a progress bar


def on_device(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Batches on a device; to a GPU they are copied while it is at work on the step before.

    A step queues its work and returns. So when the next batch is asked for, its step before has
    hardly begun, and a stream of its own for copies does not come after it.

    Args:
        batches: in pinned memory, if the device is a GPU; in other memory copies are waited for.
        device: of the steps.
    """
    if device.type != "cuda":
        for batch in batches:
            yield batch.to(device)
        return
    copies = torch.cuda.Stream(device)
    for batch in batches:
        with torch.cuda.stream(copies):
            copied = batch.to(device)
        steps = torch.cuda.current_stream(device)
        steps.wait_stream(copies)
        copied.used_by(steps)
        yield copied


@dataclass(frozen=True)
class _Asked:
    """Losses on their way from a GPU."""

    values: Tensor
    arrived: torch.cuda.Event


class Losses:
    """The losses of steps, read when they have arrived instead of waiting for the device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._there: list[Tensor] = []
        self._asked: _Asked | None = None
        self._last_read = time.monotonic()

    def add(self, loss: Tensor) -> None:
        """Keep a scalar on the device for later."""
        self._there.append(loss)

    def arrived(self) -> list[float]:
        """Those of about a second ago, each once; of a CPU, which is never behind, all."""
        if self._device.type == "cpu":
            return self.all()
        if self._device.type != "cuda":
            return self.all() if self._is_time() else []
        values: list[float] = []
        if self._asked is not None and self._asked.arrived.query():
            values = self._taken()
        if self._asked is None and self._there and self._is_time():
            self._ask()
        return values

    def all(self) -> list[float]:
        """All that were not read yet; waits for the device."""
        values = self._taken()
        if self._there:
            values += torch.stack(self._there).tolist()
            self._there.clear()
        self._last_read = time.monotonic()
        return values

    def _is_time(self) -> bool:
        return time.monotonic() - self._last_read >= _SECONDS_BETWEEN_READS

    def _ask(self) -> None:
        """Queue a copy to pinned memory, without which a copy is waited for."""
        values = torch.empty(len(self._there), dtype=self._there[0].dtype, pin_memory=True)
        values.copy_(torch.stack(self._there), non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record(torch.cuda.current_stream(self._device))
        self._asked = _Asked(values, arrived)
        self._there.clear()
        self._last_read = time.monotonic()

    def _taken(self) -> list[float]:
        """What was asked for."""
        asked, self._asked = self._asked, None
        if asked is None:
            return []
        asked.arrived.synchronize()
        values: list[float] = asked.values.tolist()
        return values
