"""The two-way loss, value and gradient: twl against the authors' formulation.

Both run in this process, in turn, forward and backward on the same float32 logits with 3.6 %
positives (2.9 of 80 labels per image, as in MS-COCO); the medians are compared. The memory is the
peak beyond the logits and targets, counted in matrices of the logits' size.

    python benchmarks/loss.py [--device cpu] [--threads 1] [--rounds 15] [--shapes 128x80,512x1000]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's own documentation uses)
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from twlcli.losses import two_way_loss

Loss = Callable[[Tensor, Tensor], Tensor]
RATE = 0.036
SPREAD = 3.0  # of the logits
TEMPERATURE = 4.0  # of positives; that of negatives is 1


def authors_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Their arithmetic: -100 added to what is left out, both sides scaled again per direction."""
    present = targets > 0
    for_positives = torch.zeros_like(logits).masked_fill(~present, -100.0)
    for_negatives = torch.zeros_like(logits).masked_fill(targets != 0, -100.0)
    total = logits.new_zeros(())
    for along in (0, 1):
        positives = torch.logsumexp(-logits / TEMPERATURE + for_positives, along) * TEMPERATURE
        negatives = torch.logsumexp(logits / 1.0 + for_negatives, along)
        total = total + F.softplus((negatives + positives)[present.any(along)]).mean()
    return total


LOSSES: dict[str, Loss] = {"authors": authors_loss, "twl": two_way_loss}


def draw(images: int, labels: int, device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(images, labels, generator=generator) < RATE).to(torch.int8)
    logits = SPREAD * torch.randn(images, labels, generator=generator)
    return logits.to(device).requires_grad_(), targets.to(device)


def step(loss: Loss, logits: Tensor, targets: Tensor) -> None:
    loss(logits, targets).backward()
    logits.grad = None
    if logits.is_cuda:
        torch.cuda.synchronize()


def median_seconds(logits: Tensor, targets: Tensor, rounds: int) -> dict[str, float]:
    """The losses in turn, so that a noisy machine disturbs them alike."""
    times: dict[str, list[float]] = {name: [] for name in LOSSES}
    for warm in range(-2, rounds):
        for name, loss in LOSSES.items():
            start = time.perf_counter()
            step(loss, logits, targets)
            if warm >= 0:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_matrices(loss: Loss, logits: Tensor, targets: Tensor) -> float:
    """All that the allocator hands out, temporaries inside operators too."""
    if logits.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(loss, logits, targets)
        peak = torch.cuda.max_memory_allocated() - before
    else:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            step(loss, logits, targets)
        live = peak = 0
        for event in record.profiler.kineto_results.events():
            if event.name() == "[memory]":
                live += event.nbytes()
                peak = max(peak, live)
        if live != 0:
            raise RuntimeError(f"expected all memory to be given back, {live} bytes were not")
    return peak / (logits.numel() * logits.element_size())


def shapes_of(text: str) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in (shape.split("x") for shape in text.split(","))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--shapes", type=shapes_of, default=shapes_of("128x80,256x1000,512x1000,512x10000")
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.device}, {options.threads} threads, torch {torch.__version__}")
    print(
        f"{'images x labels':>15} {'authors':>11} {'twl':>11} {'ratio':>7}   memory: authors  twl"
    )
    for images, labels in options.shapes:
        logits, targets = draw(images, labels, options.device)
        seconds = median_seconds(logits, targets, options.rounds)
        peaks = {name: peak_matrices(loss, logits, targets) for name, loss in LOSSES.items()}
        print(
            f"{f'{images} x {labels}':>15} {1e3 * seconds['authors']:8.2f} ms "
            f"{1e3 * seconds['twl']:8.2f} ms {seconds['twl'] / seconds['authors']:7.3f}"
            f"{peaks['authors']:18.2f} {peaks['twl']:4.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
