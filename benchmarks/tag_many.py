"""Memory of `twl tag` at 1,000 and at 100,000 small files, in one folder and in a tree.

Each run is a process of its own with the default model and a journal.

    python benchmarks/tag_many.py [--files 1000 100000]
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from processes import cost_of

PER_FOLDER = 500  # of the tree


def make(folder: Path, count: int, *, tree: bool) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    for number in range(count):
        place = folder / f"{number // PER_FOLDER:04}" if tree else folder
        place.mkdir(parents=True, exist_ok=True)
        (place / f"photograph-{number:07}.jpg").write_bytes(buffer.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--files", type=int, nargs="+", default=[1000, 100_000])
    options = parser.parse_args()
    for tree in (False, True):
        first = 0.0
        for count in options.files:
            with tempfile.TemporaryDirectory() as folder:
                make(Path(folder, "photographs"), count, tree=tree)
                out = ["--out", str(Path(folder, "tags.csv"))]
                photographs = str(Path(folder, "photographs"))
                cost = cost_of([sys.executable, "-m", "twlcli", "tag", photographs, *out])
            first = first or cost.megabytes
            place = "a tree" if tree else "one folder"
            print(
                f"{count:9,} files in {place:10}: {cost.seconds:7.1f} s, peak "
                f"{cost.megabytes:6.1f} MB, {cost.megabytes / first:.2f} of the first"
            )


if __name__ == "__main__":
    main()
