"""What the images that `twl review` chooses are worth, against random ones.

    python benchmarks/review.py VOCdevkit/VOC2007 --weights mobilenet_v2.pth

Begins with the labels of a few training images, drawn at random. A head is found for the features
of a frozen backbone, as `twl train --frozen` does, more images are chosen and their labels added,
and so on: 200 more, 400, 800. Chosen by `twl review`, by the least certain of each label alone, as
the most probable of each label alone, or at random. Shown is mAP@class on the validation split,
with the standard error over the draws of the first images. Figures depend on nothing but the
images, so that they are the same on a busy machine.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.detect import read_labels
from twlcli.annotations.split import stratified_folds
from twlcli.features import network as networks
from twlcli.features.cache import FeatureCache
from twlcli.features.extract import extract
from twlcli.heads.cross_validation import HeadProblem, try_penalties
from twlcli.heads.standard import Standard
from twlcli.losses import LOSSES
from twlcli.model.backbones import build_backbone
from twlcli.model.decisions import probabilities
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.weights import load_weights
from twlcli.scoring.average_precision import average_precision_per_label
from twlcli.scoring.calibration import fit_calibration
from twlcli.tagging.outputs.review.candidates import Candidates

SIZES = (200, 400, 800)  # images chosen, in all
Certain = NDArray[np.float32]
Rows = NDArray[np.int64]


def by_review(certain: Certain, free: Rows, count: int, rng: np.random.Generator) -> Rows:
    candidates = Candidates(certain.shape[1], count)
    for row in free:
        candidates.add(certain[row])
    return free[[each.row for each in candidates.chosen()]]


def in_turns(scores: Certain, free: Rows, count: int) -> Rows:
    """Each label in turn takes the image with its highest score."""
    best = np.argsort(-scores[free], axis=0, kind="stable").T.tolist()
    found: dict[int, None] = {}
    while len(found) < count:
        for column in best:
            found[next(row for row in column if row not in found)] = None
    return free[[*found][:count]]


def least_certain(certain: Certain, free: Rows, count: int, rng: np.random.Generator) -> Rows:
    return in_turns(-np.abs(certain - 0.5), free, count)


def most_probable(certain: Certain, free: Rows, count: int, rng: np.random.Generator) -> Rows:
    return in_turns(certain, free, count)


def at_random(certain: Certain, free: Rows, count: int, rng: np.random.Generator) -> Rows:
    return rng.choice(free, count, replace=False)


Choose = Callable[[Certain, Rows, int, np.random.Generator], Rows]
CHOICES: dict[str, Choose] = {
    "random": at_random,
    "least certain": least_certain,
    "most probable": most_probable,
    "twl review": by_review,
}


def features_of(data: Annotations, weights: str, folder: Path) -> torch.Tensor:
    network = build_backbone("mobilenet_v2", len(data.vocabulary), image_size=224)
    load_weights(network, "mobilenet_v2", weights, data.vocabulary.names, image_size=224)
    device = torch.device("cpu")
    about = networks.about(network, "mobilenet_v2", Preprocessing(), device)
    with FeatureCache(folder, about) as cache:
        predictor: Callable[[], Any] = lambda: networks.predictor(  # noqa: E731
            network, about, cache.network, device
        )
        found = extract(predictor, cache, data)
    assert not found.unreadable, found.unreadable
    return torch.from_numpy(found.features)


@dataclass(frozen=True)
class Learned:
    """What was learned of some images.

    Attributes:
        head: (D + 1, C).
        certain: (N, C), the probabilities of all training images.
    """

    head: torch.Tensor
    certain: Certain

    def logits(self, features: torch.Tensor) -> Certain:
        return (features @ self.head[:-1] + self.head[-1]).numpy()


def learned(train: Annotations, features: torch.Tensor, rows: Rows, loss: str) -> Learned:
    """The model of some of the training images, as `twl train --frozen` finds it."""
    known = train.select(rows)
    targets = known.labels.dense()
    standard = Standard.of(features[rows])
    problem = HeadProblem(
        standard.apply_(features[rows].clone()), torch.from_numpy(targets), LOSSES[loss]
    )
    best = try_penalties(
        problem,
        stratified_folds(known, 5, seed=0),
        lambda logits: float(np.nanmean(average_precision_per_label(logits, targets))),
    )
    head = standard.folded(problem.solved(best.penalty, best.heads.mean(0), lambda: False).head)
    calibration = fit_calibration(best.logits, targets)
    logits = (features @ head[:-1] + head[-1]).numpy()
    return Learned(head, probabilities(logits, calibration))


def scores_of_loop(
    train: Annotations,
    features: torch.Tensor,
    choose: Choose,
    score: Callable[[Learned], float],
    *,
    start: int,
    loss: str,
    seed: int,
) -> list[float]:
    """The score with the first images, and after each size."""
    rng = np.random.default_rng(seed)
    known = rng.choice(len(train), start, replace=False)
    model = learned(train, features, known, loss)
    scores = [score(model)]
    for size in SIZES:
        free = np.setdiff1d(np.arange(len(train)), known)
        more = choose(model.certain, free, start + size - len(known), rng)
        known = np.concatenate((known, more))
        model = learned(train, features, known, loss)
        scores.append(score(model))
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="default", help="of MobileNetV2")
    parser.add_argument("--loss", default="two-way")
    parser.add_argument("--start", type=int, default=200, help="images labelled at first")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--features", type=Path, help="folder to keep features in")
    given = parser.parse_args()
    data = read_labels(given.data)
    train, validation = data.split("train"), data.split("val")
    with tempfile.TemporaryDirectory() as folder:
        features, scored = (
            features_of(each, given.weights, given.features or Path(folder))
            for each in (train, validation)
        )
    torch.set_num_threads(1)  # the heads are too small to share out
    truth = validation.labels.dense()

    def score(model: Learned) -> float:
        by_label = average_precision_per_label(model.logits(scored), truth)
        return 100 * float(np.nanmean(by_label))

    print(f"{given.loss}, {given.start} images at first, mAP@class after")
    print(f"{'':15}{'0':>12}" + "".join(f"{size:>14}" for size in SIZES), flush=True)
    for name, choose in CHOICES.items():
        scores = np.array(
            [
                scores_of_loop(
                    train,
                    features,
                    choose,
                    score,
                    start=given.start,
                    loss=given.loss,
                    seed=seed,
                )
                for seed in range(given.seeds)
            ]
        )
        errors = scores.std(axis=0, ddof=1) / np.sqrt(given.seeds)
        cells = (f"{m:.2f} ± {e:.2f}" for m, e in zip(scores.mean(axis=0), errors, strict=True))
        print(f"{name:15}" + "  ".join(f"{cell:>12}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
