"""Small labelled sets of images, drawn for the tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from twlcli.annotations.annotations import Annotations
from twlcli.labels import LabelMatrix, Vocabulary


def drawn(seed: int, width: int = 96, height: int = 72) -> Image.Image:
    """An image of soft spots, which no other seed's looks like."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def saved(path: Path, seed: int, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn(seed).save(path, **options)


def annotated(targets, *, splits=None, images=None, root=Path()) -> Annotations:
    """Annotations of dense targets; labels are a, b, c and so on."""
    targets = np.asarray(targets, dtype=np.int8)
    count, label_count = targets.shape
    return Annotations(
        source=Path("labels.csv"),
        format="csv",
        root=root,
        images=tuple(images or (f"{row}.jpg" for row in range(count))),
        labels=LabelMatrix.from_dense(targets),
        vocabulary=Vocabulary(tuple("abcdefghijklmnopqrstuvwxyz"[:label_count])),
        splits=tuple(splits or [""] * count),
    )
