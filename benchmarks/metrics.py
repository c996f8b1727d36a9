"""mAP@class and mAP@sample of 40,000 images by 80 labels: twl against scikit-learn.

Both run in this process on one core, in turn, on the same float32 scores with 3.6 % positives
(2.9 of 80 labels per image, as in MS-COCO); the medians are compared. Needs scikit-learn.

    python benchmarks/metrics.py [--rounds 5] [--images 40000] [--labels 80]
    python benchmarks/metrics.py --labels 9000 --share 0.05 --rounds 3

With --share scikit-learn, which takes minutes for many labels, is given that share of the labels,
or of the images for mAP@sample, and its time is multiplied.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import tracemalloc
import warnings
from collections.abc import Callable
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported

import numpy as np
from sklearn.metrics import average_precision_score

from twlcli.scoring.average_precision import (
    average_precision_per_image,
    average_precision_per_label,
    mean_over_lines,
)

RATE = 0.036


def draw(images: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    targets = (generator.random((images, labels)) < RATE).astype(np.int8)
    scores = generator.normal(size=(images, labels)) + 2 * targets
    return scores.astype(np.float32), targets


def class_with_twl(scores: np.ndarray, targets: np.ndarray) -> float:
    return mean_over_lines(average_precision_per_label(scores, targets)).value


def class_with_scikit_learn(scores: np.ndarray, targets: np.ndarray) -> float:
    return float(average_precision_score(targets, scores, average="macro"))


def sample_with_twl(scores: np.ndarray, targets: np.ndarray) -> float:
    return mean_over_lines(average_precision_per_image(scores, targets)).value


def sample_with_scikit_learn(scores: np.ndarray, targets: np.ndarray) -> float:
    has_positive = targets.any(axis=1)
    return float(
        average_precision_score(targets[has_positive], scores[has_positive], average="samples")
    )


def shared(name: str, array: np.ndarray, share: float) -> np.ndarray:
    """The first labels, or images, of what scikit-learn is given."""
    if name == "mAP@class":
        return array[:, : max(1, round(share * array.shape[1]))]
    return array[: max(1, round(share * len(array)))]


METRICS = {
    "mAP@class": (class_with_twl, class_with_scikit_learn),
    "mAP@sample": (sample_with_twl, sample_with_scikit_learn),
}


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def peak_megabytes(function: Callable[[], object]) -> float:
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=40_000)
    parser.add_argument("--labels", type=int, default=80)
    parser.add_argument("--share", type=float, default=1.0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # scikit-learn's on labels without positives, in small runs
    scores, targets = draw(options.images, options.labels)
    print(f"{options.images:,} images x {options.labels} labels, {options.rounds} rounds in turn")
    for name, (with_twl, with_scikit_learn) in METRICS.items():
        part = [shared(name, each, options.share) for each in (scores, targets)]
        difference = abs(with_twl(*part) - with_scikit_learn(*part))
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(seconds(partial(with_twl, scores, targets)))
            taken = seconds(partial(with_scikit_learn, *part))
            theirs.append(taken * targets.size / part[1].size)
        ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
        megabytes = peak_megabytes(partial(with_twl, scores, targets))
        print(
            f"{name:10}  twl {statistics.median(ours):.3f} s, "
            f"scikit-learn {statistics.median(theirs):.3f} s (medians); "
            f"ratio {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}); "
            f"values differ by {difference:.0e}; twl's extra memory {megabytes:.0f} MB at most"
        )


if __name__ == "__main__":
    main()
