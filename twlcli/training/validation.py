"""Validation while training: every image once, whatever the number of ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from twlcli.annotations.annotations import Annotations
from twlcli.inference.stream import usable_cores
from twlcli.model.spec import ModelSpec
from twlcli.model.torch import TorchPredictor
from twlcli.scoring.average_precision import (
    average_precision_per_image,
    average_precision_per_label,
    mean_over_lines,
)
from twlcli.scoring.evaluation import predict
from twlcli.training.devices import Ranks

_BATCH = 64


@dataclass(frozen=True)
class Validation:
    """Scores of the n validation images that could be read, in the order of the data.

    Attributes:
        images: their names.
        logits: (n, C) float32.
        targets: (n, C) int8 of 1, 0 and -1.
    """

    images: tuple[str, ...]
    logits: NDArray[np.float32]
    targets: NDArray[np.int8]

    def scores(self) -> dict[str, float]:
        """mAP@class and mAP@sample, in 0..1; NaN where no image has a label."""
        by_label = average_precision_per_label(self.logits, self.targets)
        by_image = average_precision_per_image(self.logits, self.targets)
        return {
            "map_class": mean_over_lines(by_label).value,
            "map_sample": mean_over_lines(by_image).value,
        }


def validate(
    network: nn.Module,
    spec: ModelSpec,
    data: Annotations,
    ranks: Ranks,
    done: Callable[[int], None],
) -> Validation:
    """Score all validation images; each rank does its share and all get the whole.

    Args:
        network: the network to score with, on the ranks' device.
        spec: its preprocessing and labels.
        data: the validation images.
        ranks: of the run.
        done: told how many more images of the whole are done.

    Raises:
        AnnotationError: none of a rank's images can be read.
    """
    rows = np.arange(ranks.rank, len(data), ranks.world)
    own = predict(
        TorchPredictor(network, spec, ranks.device),
        data.select(rows),
        batch_size=_BATCH,
        workers=max(2, usable_cores() // ranks.neighbours),
        progress=lambda count: done(count * ranks.world),
    )
    images, logits, targets = zip(*ranks.gather((own.images, own.logits, own.targets)), strict=True)
    names = [name for part in images for name in part]
    place = {name: number for number, name in enumerate(data.images)}
    order = np.argsort([place[name] for name in names])
    return Validation(
        tuple(names[index] for index in order),
        np.concatenate(logits)[order],
        np.concatenate(targets)[order],
    )
