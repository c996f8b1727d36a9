"""The most memory that some work takes beyond what it found."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

# Without it, lines of the profiler stand between the rows of a table.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """What the allocator hands out at most, temporaries inside operators too."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    live = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak
