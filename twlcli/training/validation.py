"""Validation while training: every image once, whatever the number of ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from twlcli.annotations.annotations import Annotations
from twlcli.images.stream import usable_cores
from twlcli.scoring.evaluate import predict
from twlcli.spec import ModelSpec
from twlcli.training.devices import Ranks
from twlcli.training.predictor import TorchPredictor

_BATCH = 64


@dataclass(frozen=True)
class Validation:
    """Scores of the validation images that could be read, in any order.

    Attributes:
        logits: (n, C) float32.
        targets: (n, C) int8 of 1, 0 and -1.
    """

    logits: NDArray[np.float32]
    targets: NDArray[np.int8]


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
    own = predict(
        TorchPredictor(network, spec, ranks.device),
        data.select(np.arange(ranks.rank, len(data), ranks.world)),
        batch_size=_BATCH,
        workers=max(2, usable_cores() // ranks.neighbours),
        progress=lambda count: done(count * ranks.world),
    )
    logits, targets = zip(*ranks.gather((own.logits, own.targets)), strict=True)
    return Validation(np.concatenate(logits), np.concatenate(targets))
