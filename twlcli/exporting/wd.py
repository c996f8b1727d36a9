"""A model in the layout of the WD taggers: `model.onnx` and `selected_tags.csv`."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from twlcli.exporting.plain_onnx import noise, write_plain
from twlcli.model.decisions import calibration_of, thresholds_of
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.model.torch import normalise

FILES = ("model.onnx", "selected_tags.csv")
NOTE = (
    "WD programs pad an image to a white square instead of cutting it, so images that are not "
    "square can get other tags than from twl"
)
THRESHOLD = 0.35  # of general tags, which programs for these models have as their default
_GENERAL = 0  # category
_BELOW = 0.3  # what the scores of labels that are never given end at
_ABOVE = 0.4  # what those of labels that are always given begin at
_LARGEST = 1 - 2**-24  # the float32 before 1; the logit of 1 is infinite


class _Scores(nn.Module):
    """The graph: float images (N, resize, resize, 3), BGR in 0..255, to scores (N, C) in 0..1.

    The score of a label with the threshold t is sigmoid(logit(p) - logit(t) + logit(0.35)), so that
    score >= 0.35 where p >= t.
    """

    slope: Tensor
    offset: Tensor
    lowest: Tensor
    range: Tensor

    def __init__(self, network: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.network = network
        self.preprocessing: Preprocessing = spec.preprocessing
        calibration, thresholds = calibration_of(spec), thresholds_of(spec, None)
        offset = np.array(calibration.offset) + warps(thresholds.astype(np.float64))
        never, always = thresholds > 1, thresholds <= 0
        lowest, highest = np.where(always, _ABOVE, 0.0), np.where(never, _BELOW, 1.0)
        for name, values in {
            "slope": np.array(calibration.slope),
            "offset": offset,
            "lowest": lowest,
            "range": highest - lowest,
        }.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))

    def forward(self, images: Tensor) -> Tensor:
        """The whole square is resized by others; here the model's crop is cut from its centre."""
        side = self.preprocessing.crop
        edge = round((self.preprocessing.resize - side) / 2)
        cut = images[:, edge : edge + side, edge : edge + side].flip(3).permute(0, 3, 1, 2)
        logits = self.network(normalise(cut / 255, self.preprocessing))
        return self.lowest + self.range * torch.sigmoid(self.slope * logits + self.offset)


def warps(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is added to logits, (C,): logit(0.35) - logit(t); 0 where t is not within 0..1.

    Example:
        >>> [round(float(warp), 3) for warp in warps(np.array([0.35, 0.5, 1.5, 0.0]))]
        [0.0, -0.619, 0.0, 0.0]
    """
    inside = (thresholds > 0) & (thresholds <= 1)
    within = np.where(inside, np.minimum(thresholds, _LARGEST), THRESHOLD)
    logits: NDArray[np.float64] = np.log(within) - np.log1p(-within)
    return math.log(THRESHOLD / (1 - THRESHOLD)) - logits


def write_wd(source: Path, network: nn.Module, spec: ModelSpec, folder: Path) -> None:
    """Write the files of the bundle into a folder.

    Args:
        source: of the network, for errors.
        network: in evaluation mode.
        spec: its, with calibration and thresholds.
        folder: where they go; it is there, and empty.

    Raises:
        ModelError: torch and ONNX Runtime do not agree.
    """
    labels, side = spec.vocabulary.names, spec.preprocessing.resize
    write_plain(
        source,
        _Scores(network, spec).eval(),
        folder / FILES[0],
        images=lambda count: noise(count, side).float(),
        names=("input", "output"),
        labels=labels,
    )
    with (folder / FILES[1]).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("tag_id", "name", "category", "count"))
        # A model does not know of how many images it learned a label.
        table.writerows((number, name, _GENERAL, 0) for number, name in enumerate(labels))
