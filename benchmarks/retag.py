"""`twl retag` against `twl tag`: what another threshold costs with scores on disk.

A million rows of 20 labels, drawn, become each kind of table. Beside them, `twl tag` with the
bundled `photos-small` tags drawn photographs of 1600 x 1200: the images that it tags in the time of
the million rows. Memory is the peak of `twl retag` alone, with the process that reads. Needs twl's
`parquet` extra.

    python benchmarks/retag.py [--rows 1000000] [--images 400]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from processes import cost_of

from twlcli.labels import Vocabulary
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import Calibration, ModelSpec, Thresholds
from twlcli.scoring.score_table import score_groups

LABELS, AT_ONCE = 20, 10_000


def write_scores(path: Path, rows: int) -> None:
    spec = ModelSpec(
        Vocabulary(tuple(f"label {number}" for number in range(LABELS))),
        "drawn",
        Preprocessing(),
        Calibration((1.0,) * LABELS, (0.0,) * LABELS),
        Thresholds((0.5,) * LABELS, {}),
    )
    generator = np.random.default_rng(0)
    with path.open("wb") as file, score_groups(file, spec, "drawn") as groups:
        for start in range(0, rows, AT_ONCE):
            logits = generator.normal(-3, 2, (min(AT_ONCE, rows - start), LABELS))
            for number, values in enumerate(logits.astype(np.float32), start):
                groups.add(f"{number // 1000:04}/{number:07}.jpg", values)


def draw_photographs(folder: Path, images: int) -> None:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(images):
        small = generator.integers(0, 256, (60, 80, 3)).astype(np.uint8)
        Image.fromarray(small).resize((1600, 1200)).save(folder / f"{number:04}.jpg", quality=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, default=400)
    options = parser.parse_args()
    twl = [sys.executable, "-m", "twlcli"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scores = folder / "scores.parquet"
        start = time.perf_counter()
        write_scores(scores, options.rows)
        seconds = time.perf_counter() - start
        share = scores.stat().st_size / (4 * LABELS * options.rows)
        print(f"written in {seconds:.1f} s; {share:.2f} of the bytes of the logits")
        costs = {}
        for suffix in ("csv", "jsonl", "parquet"):
            out = folder / f"tags.{suffix}"
            cost = costs[suffix] = cost_of([*twl, "retag", str(scores), "--out", str(out)])
            print(f"retag to {suffix}: {cost.seconds:.1f} s, {cost.megabytes:.0f} MB")
        draw_photographs(folder / "photographs", options.images)
        tagged = cost_of([*twl, "tag", str(folder / "photographs"), "--out", str(folder / "t.csv")])
        rate = options.images / tagged.seconds
        meanwhile = rate * costs["csv"].seconds
        print(f"twl tag: {rate:.0f} images/s, {meanwhile:,.0f} images meanwhile")
        print(f"retag to csv is {options.rows / meanwhile:,.0f} times as fast")


if __name__ == "__main__":
    main()
