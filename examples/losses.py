"""The two-way loss in a plain PyTorch loop, against binary cross-entropy.

Run it as a script, or cell by cell in an editor that knows `# %%`. It needs the `train` extra. Five
epochs of a tiny network show how the pieces fit together, not which loss is better: `twl compare`
does that.
"""

# %% A sample set, in memory
import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import pil_to_tensor

import twlcli
from twlcli.losses import BCELoss, TwoWayLoss
from twlcli.metrics import MeanAveragePrecision

if not Path("shapes").exists():
    sample = "data sample shapes --images 400"
    subprocess.run([sys.executable, "-m", "twlcli", *sample.split()], check=True)

data = twlcli.read_labels("shapes")


def tensors(split: str) -> tuple[Tensor, Tensor]:
    """All images of a split in 0..1, (N, 3, H, W), and their targets (N, C) of 1, 0 and -1."""
    part = data.split(split)
    images = [pil_to_tensor(Image.open(part.path(row))) for row in range(len(part.images))]
    return torch.stack(images) / 255, torch.from_numpy(part.labels.dense())


train_images, train_targets = tensors("train")
val_images, val_targets = tensors("val")

# %% What the loss says of three images
logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.5, -2.0], [0.1, 0.2, 0.3]])
targets = torch.tensor([[1, 0, -1], [0, 1, 0], [0, 0, 0]])  # one unknown, one image without labels
print(TwoWayLoss()(logits, targets))


# %% One loop for every loss
def train(loss: nn.Module, *, epochs: int = 5, seed: int = 0) -> float:
    """The mAP@class on the validation images after training with a loss."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(32 * 16, len(data.vocabulary)),
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(train_images)).split(64):
            optimizer.zero_grad()
            loss(network(train_images[rows]), train_targets[rows]).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 20.0)
            optimizer.step()
    metric = MeanAveragePrecision("class")
    with torch.inference_mode():
        metric.update(network(val_images), val_targets)
    return metric.compute()


# %% Image-wise reduction keeps BCE on the scale of the two-way loss
for loss in (TwoWayLoss(), BCELoss(reduction="image")):
    print(f"{loss}: mAP@class {100 * train(loss):.2f}")
