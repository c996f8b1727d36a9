"""A network and a loss of one's own, trained with twl.

    twl train shapes --backbone own_code:small --loss own_code:soft_f1 --set loss.smooth=2

run in the folder of this file does what the script below does. Where a file names the code, as the
run's recipe and its checkpoint do from then on, twl imports it with `--allow-code` alone. The
exported model needs none of it.
"""

import itertools
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import twlcli


def small(*, pretrained: bool) -> nn.Module:
    """Images (N, 3, H, W) to a feature map (N, 64, H/16, W/16), on which twl puts the head."""
    if pretrained:
        raise ValueError("there are no weights; use --weights none")
    widths = (3, 16, 32, 48, 64)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after)]
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def soft_f1(logits: Tensor, targets: Tensor, *, smooth: float = 1.0) -> Tensor:
    """1 less the mean over labels of the F1 score, with probabilities in the place of decisions.

    Args:
        logits: (N, C), of the whole batch.
        targets: (N, C) of 1 present, 0 absent and -1 unknown.
        smooth: added above and below, so that labels without a positive count little.
    """
    probabilities = torch.sigmoid(logits) * (targets >= 0)
    present = (targets == 1).to(logits.dtype)
    both = (probabilities * present).sum(0)
    f1 = (2 * both + smooth) / (probabilities.sum(0) + present.sum(0) + smooth)
    return 1 - f1.mean()


def main() -> None:
    """Train, evaluate and export."""
    if not Path("shapes").exists():
        sample = "data sample shapes --images 400"
        subprocess.run([sys.executable, "-m", "twlcli", *sample.split()], check=True)
    run = twlcli.train(
        "shapes",
        out="runs/own",
        settings={
            "model.backbone": "own_code:small",
            "model.weights": "none",
            "loss.name": "own_code:soft_f1",
            "loss.smooth": 2.0,
            "image.size": 64,
            "optimizer.name": "adamw",
            "optimizer.learning_rate": 0.003,
            "optimizer.backbone_rate": 1.0,
            "schedule.epochs": 3,
            "schedule.batch_size": 32,
        },
    )
    print(f"mAP@class {100 * run.history()[-1]['map_class']:.2f}")
    # From here on the names come from the run, a file.
    evaluation = twlcli.evaluate(run.folder, allow_code=True)
    print(f"evaluated {evaluation.images} images")
    twlcli.export(run.folder, "own.onnx", allow_code=True)
    first = sorted(Path("shapes/images").iterdir())[0]
    print(twlcli.load_model("own.onnx").tag(first)[0].labels)


if __name__ == "__main__":
    main()
