"""How long it takes to find images that look the same among many, given their hashes.

    python benchmarks/near.py

Two kinds of hashes: even ones, and such whose bits are as lopsided as those of photographs (each
bit is 1 in 20 to 80 % of them). One in 50 is a copy of another with three bits flipped.
"""

from __future__ import annotations

import resource
import statistics
import time

import numpy as np
from numpy.typing import NDArray

from twlcli.checking.near import near_groups

SIZES = (10_000, 100_000)
DISTANCES = (4, 6, 8)
REPEATS = 3


def hashes_of(count: int, *, lopsided: bool) -> NDArray[np.uint64]:
    """So many hashes, with one in 50 near another."""
    rng = np.random.default_rng(0)
    shares = rng.uniform(0.2, 0.8, 64) if lopsided else np.full(64, 0.5)
    bits = rng.random((count, 64), dtype=np.float32) < shares
    hashes = np.packbits(bits, axis=1).view(np.uint64)[:, 0]
    hashes[1::50] = hashes[::50] ^ np.uint64(0x8000000100000010)
    return hashes


def main() -> None:
    """Print seconds for each size, kind and distance."""
    for count in SIZES:
        for lopsided in (False, True):
            hashes = hashes_of(count, lopsided=lopsided)
            for distance in DISTANCES:
                seconds = []
                for _ in range(REPEATS):
                    start = time.perf_counter()
                    groups = near_groups(hashes, distance=distance)
                    seconds.append(time.perf_counter() - start)
                kind = "lopsided" if lopsided else "even"
                print(
                    f"{count:>9,} {kind:9} at most {distance} bits: "
                    f"{statistics.median(seconds):7.2f} s, {count - groups.max() - 1:,} joined"
                )
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB")


if __name__ == "__main__":
    main()
