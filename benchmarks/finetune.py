"""What the parts of the recipes finetune-224 and finetune-448 bring, one at a time and together.

    python benchmarks/finetune.py VOCdevkit --weights mobilenet_v2.pth --out finetune

A pretrained MobileNetV2 is trained on the split `train` with AdamW, and with one thing more at a
time; every network is scored on `val` after the last epoch. The table has the mean over the seeds
and the score of each. Runs that are finished in the folder are not trained again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import twlcli
from twlcli.runs.run_folder import Run

PARTS: dict[str, dict[str, Any]] = {
    "layer decay": {"optimizer.layer_decay": 0.9},
    "RandAugment": {"augment.rand_augment": 2, "augment.magnitude": 7},
    "erasing": {"augment.erasing": 0.25},
    "average of the weights": {"train.ema": 0.999},
}
# A transformer layer and its logits take a lower rate; that of the backbone stays.
DECODER = {
    "model.head": "ml-decoder",
    "optimizer.learning_rate": 3e-4,
    "optimizer.backbone_rate": 1.0,
}
ALL: dict[str, Any] = {key: value for part in PARTS.values() for key, value in part.items()}
VARIANTS: dict[str, dict[str, Any]] = {
    "AdamW": {},
    **PARTS,
    "ML-Decoder": DECODER,
    "all but ML-Decoder": ALL,
}


def settings_of(given: argparse.Namespace, variant: str, seed: int) -> dict[str, Any]:
    """A recipe's changes for one run."""
    return {
        "model.backbone": "mobilenet_v2",
        "model.weights": given.weights,
        "image.size": given.size,
        "augment.min_scale": 0.4,
        "optimizer.name": "adamw",
        "optimizer.learning_rate": 1e-3,
        "optimizer.backbone_rate": 0.3,
        "optimizer.weight_decay": 0.05,
        "schedule.epochs": given.epochs,
        "schedule.batch_size": 64,
        "schedule.validate_every": given.epochs,
        "train.seed": seed,
        "train.threads": 1,  # two that wait for each other suffer from whatever else runs
        **VARIANTS[variant],
    }


def score(given: argparse.Namespace, variant: str, seed: int) -> tuple[float, float]:
    """The mAP@class and mAP@sample of one run after its last epoch, 0..100."""
    folder = given.out / f"{variant.replace(' ', '-')}-{seed}"
    if folder.exists():
        run = Run.open(folder)
    else:
        began = time.monotonic()
        run = twlcli.train(given.data, out=folder, settings=settings_of(given, variant, seed))
        print(f"{folder.name}: {time.monotonic() - began:.0f} s", flush=True)
    last = run.history()[-1]
    return 100 * last["map_class"], 100 * last["map_sample"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="default")
    parser.add_argument("--out", type=Path, default=Path("runs/finetune"))
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS))
    given = parser.parse_args()
    print("| variant | mAP@class | of each seed | mAP@sample |\n|---|---|---|---|", flush=True)
    for variant in given.variants:
        found = [score(given, variant, seed) for seed in range(given.seeds)]
        by_class, by_sample = zip(*found, strict=True)
        each = ", ".join(f"{value:.2f}" for value in by_class)
        mean = [sum(values) / len(values) for values in (by_class, by_sample)]
        print(f"| {variant} | {mean[0]:.2f} | {each} | {mean[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
