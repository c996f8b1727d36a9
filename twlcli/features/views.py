"""Views of an image: its centre as the model sees it, and crops and mirror images beside it."""

from __future__ import annotations

import math
import zlib

import numpy as np

from twlcli.images.random_crop import RandomCrop
from twlcli.images.sandbox import Cut
from twlcli.model.preprocessing import Preprocessing

# Of an image's area, at least; what a head is to know is most of the image, not its details.
_MIN_SCALE, _MAX_STRETCH = 0.35, 4 / 3
_ATTEMPTS = 10  # as torchvision's RandomResizedCrop


def view(number: int, path: bytes, preprocessing: Preprocessing) -> Cut:
    """One view of an image, the same whenever it is asked for.

    Args:
        number: 0 is the centre, as the model sees every image later; others are random crops, and
            the odd ones mirrored.
        path: of the image, which decides with the number what is drawn.
        preprocessing: the model's.
    """
    if number == 0:
        return preprocessing
    generator = np.random.default_rng([number, zlib.crc32(path)])
    limit = math.log(_MAX_STRETCH)
    across, down = generator.uniform(size=2).tolist()
    return RandomCrop(
        size=preprocessing.crop,
        interpolation=preprocessing.interpolation,
        scales=tuple(generator.uniform(_MIN_SCALE, 1, _ATTEMPTS).tolist()),
        ratios=tuple(np.exp(generator.uniform(-limit, limit, _ATTEMPTS)).tolist()),
        place=(across, down),
        max_stretch=_MAX_STRETCH,
        is_mirrored=number % 2 == 1,
    )
