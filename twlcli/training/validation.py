"""Validation while training: every image once, whatever the number of ranks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import nn

from twlcli.annotations.annotations import Annotations
from twlcli.inference.scored import ScoredImages, score_images
from twlcli.inference.stream import usable_cores
from twlcli.model.spec import ModelSpec
from twlcli.model.torch import TorchPredictor
from twlcli.training.devices import Ranks

_BATCH = 64


def validate(
    network: nn.Module,
    spec: ModelSpec,
    data: Annotations,
    ranks: Ranks,
    done: Callable[[int], None],
) -> ScoredImages:
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
    own = score_images(
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
    return ScoredImages(
        tuple(names[index] for index in order),
        np.concatenate(logits)[order],
        np.concatenate(targets)[order],
    )
