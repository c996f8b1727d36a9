"""What an exact gradient by micro-batches costs in time, and saves in memory.

A training step on a batch of 64, whole and in micro-batches of 32, 16 and 8, in turn in one
process; medians. The memory is the peak of what a step allocates.

    python benchmarks/micro_batch.py [--device cpu] [--threads 1] [--rounds 5] [--size 64]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from memory import peak_bytes

from twlcli.model.backbones import build_backbone
from twlcli.model.preprocessing import Preprocessing
from twlcli.recipe import Recipe
from twlcli.training.augment import Colour
from twlcli.training.devices import Ranks
from twlcli.training.loader import Batch
from twlcli.training.step import Stepper

IMAGES, LABELS = 64, 20
MICRO_BATCHES = (0, 32, 16, 8)  # 0 is the whole batch


def drawn_batch(size: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, size, size, 3), dtype=torch.uint8, generator=generator)
    targets = (torch.rand(IMAGES, LABELS, generator=generator) < 0.1).to(torch.int8)
    order, ones = torch.arange(3.0).repeat(IMAGES, 1), torch.ones(IMAGES, 3)
    return Batch(images, Colour(order, ones, torch.zeros(IMAGES, 3)), targets)


def stepper(micro_batch: int, backbone: str, size: int, device: torch.device) -> Stepper:
    settings = [f"schedule.batch_size={IMAGES}", f"schedule.micro_batch={micro_batch}"]
    recipe = Recipe().with_settings([*settings, "optimizer.learning_rate=0.01"])
    network = build_backbone(backbone, LABELS, image_size=size)
    return Stepper(network, recipe, Preprocessing(size, size), Ranks(device))


def peak_of_a_step(one: Stepper, batch: Batch) -> int:
    one(batch, 0, 1)  # makes the optimizer's own state
    return peak_bytes(lambda: one(batch, 0, 1), one.ranks.device)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--size", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    batch = drawn_batch(options.size)
    steppers = {
        micro: stepper(micro, options.backbone, options.size, device) for micro in MICRO_BATCHES
    }
    peak = {micro: peak_of_a_step(one, batch) for micro, one in steppers.items()}
    seconds: dict[int, list[float]] = {micro: [] for micro in MICRO_BATCHES}
    for _ in range(options.rounds):
        for micro, one in steppers.items():
            start = time.perf_counter()
            one(batch, 0, 1).item()
            seconds[micro].append(time.perf_counter() - start)
    print(f"{options.backbone} at {options.size} pixels, batch {IMAGES}, {device}")
    print("micro-batch   time of a step   peak of memory")
    for micro in MICRO_BATCHES:
        time_ratio = statistics.median(seconds[micro]) / statistics.median(seconds[0])
        print(f"{micro or IMAGES:11}   {time_ratio:14.2f}   {peak[micro] / peak[0]:14.2f}")


if __name__ == "__main__":
    main()
