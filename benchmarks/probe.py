"""Peak memory of linear evaluation at the size of Food-101 with ResNet-50, on drawn features.

    python benchmarks/probe.py
    python benchmarks/probe.py --images 20000 --features 1280 --classes 40 --iterations 30

Heads of the strongest penalties, as many as `twl probe` finds at once, over features that stand in
memory as they do there. The peak is that of the process, torch and the features included, and it
comes with the first iterations: more of them take time, not memory. The last line says what 45
penalties would take if all were found at once.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import torch

from twlcli.probing.penalties import penalties
from twlcli.probing.sweep import Settings, block_size, softmax_of_classes, sweep


def peak() -> float:
    """Of this process so far, GB."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 1e9 * (1 if sys.platform == "darwin" else 1024)


def drawn(images: int, features: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    of_images = torch.arange(images) % classes
    means = torch.randn(classes, features, generator=generator)
    matrix = torch.empty(images, features)
    for part, of_part in zip(matrix.split(8192), of_images.split(8192), strict=True):
        part.normal_(generator=generator).mul_(4).add_(means[of_part])
    return matrix, of_images


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, default=75_750)
    parser.add_argument("--features", type=int, default=2_048)
    parser.add_argument("--classes", type=int, default=101)
    parser.add_argument("--iterations", type=int, default=12)
    given = parser.parse_args()
    matrix, classes = drawn(given.images, given.features, given.classes)
    before = peak()
    size = block_size(given.images, given.features, given.classes)
    block = penalties()[:size]
    began = time.perf_counter()
    found = list(
        sweep(
            matrix,
            softmax_of_classes(classes),
            block,
            images=given.images,
            labels=given.classes,
            settings=Settings(most=given.iterations),
        )
    )
    took = time.perf_counter() - began
    most = max(solution.iterations for _, solution in found)
    print(f"{given.images:,} images, {given.features:,} features, {given.classes} classes")
    print(f"a block of {size} of {len(penalties())} penalties: {most} iterations in {took:.0f} s")
    print(f"peak {peak():.2f} GB; {before:.2f} GB before the heads")
    each = (peak() - before) / size
    print(f"{before + len(penalties()) * each:.1f} GB with all penalties at once, by proportion")


if __name__ == "__main__":
    main()
