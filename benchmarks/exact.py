"""What decoding JPEG at a reduced size, `twl tag`'s default, does to scores, against `--exact`.

The images of a split are enlarged eight times, so that decoding is reduced as far as it ever is for
a shorter side of 224 pixels: to 2.05 times that of a model that resizes to 219.

    python benchmarks/exact.py MODEL.onnx DATA [--split val] [--times 8]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.detect import read_labels
from twlcli.images.decoding import Decoding
from twlcli.inference.scored import score_images
from twlcli.model.decisions import calibration_of, decide, probabilities, thresholds_of
from twlcli.model.onnx import OnnxPredictor
from twlcli.parallel import usable_cores
from twlcli.scoring.evaluation import score


def enlarge(data: Annotations, folder: Path, times: int) -> Annotations:
    """The same images in other files, so many times as large."""

    def write(row: int) -> str:
        with Image.open(data.path(row)) as image:
            size = image.width * times, image.height * times
            large = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        name = f"{row:06}.jpg"
        large.save(folder / name, quality=90)
        return name

    with ThreadPoolExecutor(usable_cores()) as pool:
        names = tuple(pool.map(write, range(len(data))))
    return replace(data, images=names, root=folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--times", type=int, default=8)
    options = parser.parse_args()
    predictor = OnnxPredictor(options.model, provider="cpu")
    spec = predictor.spec
    data = read_labels(options.data, vocabulary=spec.vocabulary).split(options.split)
    certain, seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        large = enlarge(data, Path(folder), options.times)
        for exact in (False, True):
            start = time.perf_counter()
            scored = score_images(predictor, large, decoding=Decoding(exact))
            seconds.append(time.perf_counter() - start)
            scores = score(scored, spec)
            certain.append(probabilities(scored.logits, calibration_of(spec)))
            maps = 100 * scores.map_class.value, 100 * scores.map_sample.value
            print(f"{'exact' if exact else 'default':8} {maps[0]:.3f} mAP@class", end="  ")
            print(f"{maps[1]:.3f} mAP@sample  {seconds[-1]:.0f} s")
    first, second = (decide(each, thresholds_of(spec, None)) for each in certain)
    difference = float(np.abs(certain[0] - certain[1]).mean())
    print(f"{len(data)} images: probabilities differ by {difference:.5f} on average", end=", ")
    print(f"{(first != second).sum()} of {first.size} decisions differ")


if __name__ == "__main__":
    main()
