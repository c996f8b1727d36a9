"""What a training step costs on a CPU, by precision and layout of memory, and in page faults.

First, steps of each network in float32 and bf16, channels last or not, in turn in one process.
Then the same step in processes with other settings of the allocator, in turn: torch asks for the
memory of each large tensor anew, and the kernel gives it in pages of 4 kB at their first touch,
or in huge ones of 2 MB. Medians. On a busy machine look at the CPU time, which on one thread has no
waits in it.

    python benchmarks/train_cpu.py [--networks mobilenet_v2 resnet18 convnext_tiny] [--batch 64]
        [--size 192] [--threads 1] [--rounds 3] [--steps 3]
        [--tables ways memory]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from memory import peak_bytes
from train import LABELS, STEPS, Setting, drawn_batch, stepper

from twlcli.recipe import Recipe
from twlcli.training.devices import has_bf16

CPU = torch.device("cpu")
LAYOUTS = ("channels_last", "contiguous")

KEPT = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184"
HUGE = "glibc.malloc.hugetlb=1"
ALLOCATORS = {  # variables of the environment
    "as it is": {},
    "huge pages, torch": {"THP_MEM_ALLOC_ENABLE": "1"},
    "huge pages, glibc": {"GLIBC_TUNABLES": HUGE},
    "memory is kept": {"GLIBC_TUNABLES": KEPT},
    "huge pages, and kept": {"GLIBC_TUNABLES": f"{HUGE}:{KEPT}"},
}
COLUMNS = ("seconds", "CPU, user", "CPU, system", "page faults", "MB resident")


def cost(work: Callable[[], object]) -> list[float]:
    """`COLUMNS` of some work."""
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    return [
        seconds,
        after.ru_utime - before.ru_utime,
        after.ru_stime - before.ru_stime,
        after.ru_minflt - before.ru_minflt,
        after.ru_maxrss / 1024,
    ]


def step_of(setting: Setting, options: argparse.Namespace) -> Callable[[], object]:
    settings = [f"schedule.batch_size={options.batch}", f"image.size={options.size}"]
    recipe = Recipe().with_settings([*settings, "optimizer.learning_rate=0.01"])
    one = stepper(setting, recipe, LABELS, CPU)
    batch = drawn_batch(recipe, LABELS)
    return lambda: one(batch, 0, STEPS)


def print_ways(options: argparse.Namespace) -> None:
    """Precision and layout of each network."""
    precisions = ["float32", *["bf16"] * has_bf16(CPU)]
    print(f"{'':40} {'CPU seconds':>12} {'seconds':>12} {'MB':>8}")
    for network in options.networks:
        settings = [
            Setting(network, precision, "eager", layout)
            for precision, layout in itertools.product(precisions, LAYOUTS)
        ]
        steps = {setting: step_of(setting, options) for setting in settings}
        peaks = {setting: peak_bytes(step, CPU) / 2**20 for setting, step in steps.items()}
        rows: dict[Setting, list[list[float]]] = {setting: [] for setting in settings}
        for _, (setting, step) in itertools.product(range(options.rounds), steps.items()):
            rows[setting].append(cost(step))
        for setting, found in rows.items():
            seconds, user, system, *_ = (median(column) for column in zip(*found, strict=True))
            name = f"{network} {setting.precision} {setting.layout}"
            print(
                f"{name:40} {user + system:12.2f} {seconds:12.2f} {peaks[setting]:8,.0f}",
                flush=True,
            )


def print_memory(options: argparse.Namespace) -> None:
    """The first network with other settings of the allocator."""
    found: dict[str, list[list[float]]] = {name: [] for name in ALLOCATORS}
    for _, (name, variables) in itertools.product(range(options.rounds), ALLOCATORS.items()):
        command = [sys.executable, *sys.argv, "--measure"]
        environment = {**os.environ, **variables}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        found[name] += json.loads(done.stdout)
    print(f"{options.networks[0]:20} " + " ".join(f"{column:>12}" for column in COLUMNS))
    for name, rows in found.items():
        medians = [median(column) for column in zip(*rows, strict=True)]
        texts = [f"{value:12,.2f}" for value in medians[:3]]
        print(f"{name:20} " + " ".join([*texts, *(f"{value:12,.0f}" for value in medians[3:])]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--networks", nargs="+", default=["mobilenet_v2", "resnet18", "convnext_tiny"]
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument(
        "--tables", nargs="+", default=["ways", "memory"], choices=("ways", "memory")
    )
    parser.add_argument("--measure", action="store_true", help="in this process; prints JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.measure:
        step = step_of(Setting(options.networks[0], "auto", "eager", "channels_last"), options)
        step()
        print(json.dumps([cost(step) for _ in range(options.steps)]))
        return
    print(f"batch {options.batch}, {options.size} pixels, {options.threads} threads")
    for table in options.tables:
        {"memory": print_memory, "ways": print_ways}[table](options)


if __name__ == "__main__":
    main()
