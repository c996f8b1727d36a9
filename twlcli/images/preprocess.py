"""Image files to the uint8 crops that a model takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from twlcli.images.crop import cropped, load_crop
from twlcli.images.sandbox_protocol import Geometry
from twlcli.model.spec import Preprocessing


def load(
    path: Path | str, preprocessing: Preprocessing, *, exact: bool = False
) -> NDArray[np.uint8]:
    """Read, decode and preprocess one image file.

    Args:
        path: the image file.
        preprocessing: the model's, from its spec.
        exact: decode JPEG at full size; see `Geometry`.

    Returns:
        uint8 RGB, (crop, crop, 3).

    Raises:
        ImageError: the file cannot be read or decoded; the message is the reason alone.
        ModelError: the interpolation is not known.
    """
    return np.array(load_crop(Path(path), None, Geometry.of(preprocessing, exact=exact)))


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Resize and crop an upright RGB image as `cropped` does, to uint8 (crop, crop, 3).

    Raises:
        ModelError: the interpolation is not known.
    """
    return np.array(cropped(image, Geometry.of(preprocessing)))
