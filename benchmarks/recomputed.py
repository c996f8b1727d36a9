"""What activation checkpointing costs in time, and saves in memory.

A training step with and without, in turn in one process; medians. The memory is the peak of what a
step allocates. On one thread CPU time has no waits in it, which counts where a machine is busy.

    python benchmarks/recomputed.py [--device cpu] [--threads 1] [--rounds 5] [--batch 16]
        [--size 192] [--networks resnet50 convnext_tiny mobilenet_v2]
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from statistics import median

import torch
from memory import peak_bytes
from train import LABELS, STEPS, Setting, drawn_batch, stepper

from twlcli.recipe import Recipe


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument(
        "--networks", nargs="+", default=["resnet50", "convnext_tiny", "mobilenet_v2"]
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    print(f"batch {options.batch}, {options.size} pixels, {device}")
    print(f"{'':16} {'seconds':>8} {'again':>8} {'ratio':>6} {'MB':>8} {'again':>8} {'ratio':>6}")
    for network in options.networks:
        setting = Setting(network, "auto", "eager", "channels_last")
        recipes = [
            Recipe().with_settings(
                [
                    *(f"schedule.batch_size={options.batch}", f"image.size={options.size}"),
                    *("optimizer.learning_rate=0.01", f"train.checkpoint_activations={again}"),
                ]
            )
            for again in ("false", "true")
        ]
        steppers = [stepper(setting, recipe, LABELS, device) for recipe in recipes]
        batch = drawn_batch(recipes[0], LABELS).to(device)
        for one in steppers:
            one(batch, 0, STEPS)  # makes the optimizer's own state
        peaks = [peak_bytes(partial(one, batch, 0, STEPS), device) for one in steppers]
        seconds: list[list[float]] = [[], []]
        for _ in range(options.rounds):
            for one, taken in zip(steppers, seconds, strict=True):
                start = clock()
                one(batch, 0, STEPS).item()
                taken.append(clock() - start)
        plain, again = map(median, seconds)
        before, after = (peak / 2**20 for peak in peaks)
        print(
            f"{network:16} {plain:8.2f} {again:8.2f} {again / plain:6.2f} "
            f"{before:8,.0f} {after:8,.0f} {after / before:6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
