"""A small network and a drawn batch for tests of training steps."""

import torch
from torch import nn

from twlcli.training.augment import Colour
from twlcli.training.loader import Batch

CPU = torch.device("cpu")
EVERYTHING = slice(None)


def network() -> nn.Module:
    """Without batch norm, whose statistics are each rank's and micro-batch's own."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5))


def batch(rows: slice = EVERYTHING) -> Batch:
    """Ten 8 x 8 images with targets of five labels, or some of them."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (10, 8, 8, 3), dtype=torch.uint8, generator=generator)
    targets = torch.randint(-1, 2, (10, 5), generator=generator).to(torch.int8)
    colour = torch.ones(10, 9)
    colour[:, :3] = torch.arange(3)
    colour[:, 6:] = 0
    return Batch(images[rows], Colour(*colour[rows].split(3, dim=1)), targets[rows])
