"""What `data.missing_positives` gains where labels do not list everything.

    python benchmarks/missing_positives.py VOCdevkit
    python benchmarks/missing_positives.py VOCdevkit --weights mobilenet_v2.pth

Present labels of the training split are removed at random, and a linear head is trained on the
features of a pretrained MobileNetV2: with the two-way loss, with shares of the absent labels left
out, with BCE, and with the two losses that are made for missing labels in Zhang et al., *Simple and
Robust Loss Design for Multi-Label Learning with Missing Labels*, arXiv 2112.07368: Hill, and SPLC
after 5 epochs. Heads of BCE, Hill and SPLC begin at logits of -3, that of the two-way loss as torch
draws it. Every loss is trained with each of three learning rates, and shown with that of the best
mAP@class on the validation split, whose labels are whole, after the last epoch.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from twlcli import metrics
from twlcli.annotations.detect import read_labels
from twlcli.images.preprocess import load_crop
from twlcli.losses import bce_loss, two_way_loss
from twlcli.model.backbones import build_backbone
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.torch import normalise, to_unit
from twlcli.model.weights import load_weights
from twlcli.training.missing_positives import without_likely_present

REMOVED = (0.0, 0.1, 0.3, 0.6)
RATES = (3e-4, 1e-3, 3e-3)
EPOCHS, BATCH, SEEDS = 20, 128, 2
PATIENCE = 5  # epochs before SPLC corrects labels
FORM = Preprocessing(resize=224, crop=224)
Loss = Callable[[Tensor, Tensor, int], Tensor]  # of logits, targets and the epoch


def margin_focal(logits: Tensor) -> Tensor:
    """The loss of present labels in Hill and SPLC: focal, with a margin of 1."""
    shifted = logits - 1
    return -((1 - torch.sigmoid(shifted)) ** 2) * F.logsigmoid(shifted)


def hill(logits: Tensor, targets: Tensor, epoch: int) -> Tensor:
    p = torch.sigmoid(logits)
    values = torch.where(targets == 1, margin_focal(logits), (1.5 - p) * p * p)
    return values[targets >= 0].sum() / len(logits)


def splc(logits: Tensor, targets: Tensor, epoch: int) -> Tensor:
    p = torch.sigmoid(logits)
    present = (targets == 1) | ((p > 0.6) & (epoch >= PATIENCE))
    values = torch.where(present, margin_focal(logits), -(p**2) * F.logsigmoid(-logits))
    return values[targets >= 0].sum() / len(logits)


def rejecting(share: float, logits: Tensor, targets: Tensor, epoch: int) -> Tensor:
    if share:
        progress = epoch / EPOCHS
        targets = without_likely_present(logits, targets, share * progress)
    return two_way_loss(logits, targets)


def bce(logits: Tensor, targets: Tensor, epoch: int) -> Tensor:
    return bce_loss(logits, targets)


LOSSES: dict[str, Loss] = {
    "two-way": partial(rejecting, 0.0),
    "two-way, 0.04": partial(rejecting, 0.04),
    "two-way, 0.08": partial(rejecting, 0.08),
    "bce": bce,
    "hill": hill,
    "splc": splc,
}
BEGIN_LOW = ("bce", "hill", "splc")


def features_of(paths: list[Path], weights: str) -> Tensor:
    """The pooled features of MobileNetV2 (N, 1280), standardised."""
    network = build_backbone("mobilenet_v2", 1, image_size=224)
    load_weights(network, "mobilenet_v2", weights)
    network.eval().classifier = nn.Identity()
    found = []
    with torch.inference_mode():
        for start in range(0, len(paths), 64):
            crops = [np.asarray(load_crop(path, None, FORM)) for path in paths[start : start + 64]]
            found.append(network(normalise(to_unit(torch.from_numpy(np.stack(crops))), FORM)))
    features = torch.cat(found)
    return (features - features.mean(0)) / (features.std(0) + 1e-6)


def trained(
    name: str, features: Tensor, targets: Tensor, rate: float, seed: int, scored: Tensor
) -> Tensor:
    """The logits of the scored images after the last epoch."""
    torch.manual_seed(seed)
    head = nn.Linear(features.shape[1], targets.shape[1])
    if name in BEGIN_LOW:
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, -3.0)
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=1e-2)
    batches = len(features) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=EPOCHS * batches)
    for epoch in range(EPOCHS):
        for rows in torch.randperm(len(features))[: batches * BATCH].split(BATCH):
            optimizer.zero_grad()
            LOSSES[name](head(features[rows]), targets[rows], epoch).backward()
            optimizer.step()
            schedule.step()
    with torch.inference_mode():
        logits: Tensor = head(scored)
    return logits


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="default")
    given = parser.parse_args()
    data = read_labels(given.data)
    train, validation = data.split("train"), data.split("val")
    features = features_of(
        [each.path(row) for each in (train, validation) for row in range(len(each))], given.weights
    )
    features, scored = features[: len(train)], features[len(train) :]
    whole = torch.from_numpy(train.labels.dense())
    truth = validation.labels.dense()
    torch.set_num_threads(1)  # the heads are too small to share out
    print("removed  " + "".join(f"{name:>15}" for name in LOSSES), flush=True)
    for removed in REMOVED:
        row = f"{removed:7.0%}  "
        for name in LOSSES:
            best = 0.0
            for rate in RATES:
                scores = []
                for seed in range(SEEDS):
                    generator = torch.Generator().manual_seed(seed)
                    gone = (whole == 1) & (torch.rand(whole.shape, generator=generator) < removed)
                    targets = whole.masked_fill(gone, 0)
                    logits = trained(name, features, targets, rate, seed, scored)
                    each = metrics.average_precision_per_label(logits.numpy(), truth)
                    scores.append(np.nanmean(each))
                best = max(best, float(np.mean(scores)))
            row += f"{100 * best:15.1f}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
