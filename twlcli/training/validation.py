"""Validation while training: every image once, whatever the number of ranks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from twlcli.annotations.annotations import Annotations
from twlcli.errors import AnnotationError
from twlcli.inference.scored import ScoredImages, score_images
from twlcli.model.spec import ModelSpec
from twlcli.model.torch import TorchPredictor
from twlcli.parallel import usable_cores
from twlcli.training.devices import Ranks

_BATCH = 64
# For each image and label, at the peak of fitting thresholds; `benchmarks/scale.py` measures it.
_BYTES_AN_ENTRY = 12


class _Stop(Exception):  # noqa: N818
    """A rank was asked to stop."""


def note_of_memory(images: int, labels: int, memory: float) -> str:
    """What to say where scores, calibration and thresholds may not fit in memory; else empty.

    Args:
        images: for validation.
        labels: of the model.
        memory: of the machine, in bytes.

    Example:
        >>> note_of_memory(500_000, 10_000, 32 << 30)[:60]
        'validation on 500,000 images takes about 60 GB of memory for'
    """
    needed = images * labels * _BYTES_AN_ENTRY
    if needed <= memory / 2:
        return ""
    return (
        f"validation on {images:,} images takes about {needed / 1e9:,.0f} GB of memory for "
        f"{labels:,} labels, and this machine has {memory / 1e9:,.0f} GB"
    )


def validate(
    network: nn.Module,
    spec: ModelSpec,
    data: Annotations,
    ranks: Ranks,
    done: Callable[[int], None],
    should_stop: Callable[[], bool] = lambda: False,
    *,
    precision: torch.dtype | None = None,
) -> ScoredImages | None:
    """Score all validation images; each rank does its share and all get the whole.

    Args:
        network: the network to score with, on the ranks' device.
        spec: its preprocessing and labels.
        data: the validation images.
        ranks: of the run.
        done: told how many more images of the whole are done.
        should_stop: asked now and then.
        precision: the type of autocast; None is float32.

    Returns:
        The scores; None on every rank where one of them was asked to stop.

    Raises:
        AnnotationError: none of the images can be read.
    """

    def went_on(count: int) -> None:
        done(count * ranks.world)
        if should_stop():
            raise _Stop

    rows = np.arange(ranks.rank, len(data), ranks.world)
    try:
        own = score_images(
            TorchPredictor(network, spec, ranks.device, precision=precision),
            data.select(rows),
            batch_size=_BATCH,
            workers=max(2, usable_cores() // ranks.neighbours),
            progress=went_on,
            none_will_do=True,
        )
        parts = ranks.gather(own)
    except _Stop:
        parts = ranks.gather(None)
    if any(part is None for part in parts):
        return None
    whole = _joined(parts, data)
    if not whole.images:
        unreadable = [failure for part in parts for failure in part.unreadable]
        first = f"{unreadable[0].image}: {unreadable[0].reason}"
        raise AnnotationError(
            f"{data.source}: none of the {len(data):,} validation images can be read "
            f"(the first: {first})"
        )
    return whole


def _joined(parts: list[ScoredImages], data: Annotations) -> ScoredImages:
    """The shares of all ranks, in the order of the data."""
    if len(parts) == 1:
        return parts[0]
    names = [name for part in parts for name in part.images]
    place = {name: number for number, name in enumerate(data.images)}
    order = np.argsort([place[name] for name in names])
    return ScoredImages(
        tuple(names[index] for index in order),
        np.concatenate([part.logits for part in parts])[order],
        np.concatenate([part.targets for part in parts])[order],
        tuple(failure for part in parts for failure in part.unreadable),
    )
