"""Random changes of training images.

Geometry is done to each image where it is decoded; colour is done to the whole batch on the
training device. All draws of one image come from a generator of its own, so an image changes in
the same way however the batch is split over micro-batches, workers or ranks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from twlcli.images.decode import Noted, read_upright, say_nothing
from twlcli.images.preprocess import RESAMPLING
from twlcli.recipe import AugmentRecipe, ImageRecipe

_CROP_ATTEMPTS = 10  # as torchvision's RandomResizedCrop
_GREY = (0.2989, 0.587, 0.114)  # ITU-R 601 luma, as torchvision's rgb_to_grayscale

# Principal components of ImageNet's colours: Krizhevsky, Sutskever and Hinton, NeurIPS 2012,
# section 4.1, with the values of the authors' implementation.
_COLOUR_SPREAD = (0.2175, 0.0188, 0.0045)
_COLOUR_AXES = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


@dataclass(frozen=True)
class Colour:
    """Drawn changes of colour for N images.

    Attributes:
        order: (N, 3), in which order brightness 0, contrast 1 and saturation 2 are changed.
        factors: (N, 3), of brightness, contrast and saturation; 1 changes nothing.
        lighting: (N, 3), added to red, green and blue in 0..1.
    """

    order: Tensor
    factors: Tensor
    lighting: Tensor


def random_crop(
    path: Path,
    augment: AugmentRecipe,
    recipe: ImageRecipe,
    *,
    generator: np.random.Generator,
    noted: Noted = say_nothing,
) -> NDArray[np.uint8]:
    """A random crop of an image file, resized and perhaps mirrored; uint8 RGB (size, size, 3).

    Torchvision's RandomResizedCrop: area uniform in `min_scale`..1 of the image's, aspect ratio
    log-uniform in 1/`max_stretch`..`max_stretch`, and the centre where ten draws do not fit.
    A large JPEG is decoded no larger than the crop needs.

    Args:
        path: the file.
        augment: what is drawn.
        recipe: the size and interpolation.
        generator: of this image's draws.
        noted: told what is odd about an image that was read all the same.

    Raises:
        ImageError: the file cannot be decoded.
    """
    size = recipe.size
    scales = generator.uniform(augment.min_scale, 1, _CROP_ATTEMPTS)
    limit = math.log(augment.max_stretch)
    ratios = np.exp(generator.uniform(-limit, limit, _CROP_ATTEMPTS))
    place = generator.uniform(size=2)
    mirrored = generator.uniform() < augment.flip
    # The crop's shorter side is at least sqrt(scale / max_stretch) of the image's; the decoder
    # keeps at least twice what it is asked for, so the crop has at least `size` pixels.
    needed = math.ceil(size / math.sqrt(scales[0] / augment.max_stretch) / 2)

    def cropped(image: Image.Image) -> Image.Image:
        box = _crop_box(image.size, scales, ratios, place, augment.max_stretch)
        return image.resize((size, size), RESAMPLING[recipe.interpolation], box=box)

    crop = np.array(read_upright(path, shorter_side=needed, resize=cropped, noted=noted))
    return crop[:, ::-1] if mirrored else crop


def _crop_box(
    image_size: tuple[int, int],
    scales: NDArray[np.float64],
    ratios: NDArray[np.float64],
    place: NDArray[np.float64],
    max_stretch: float,
) -> tuple[float, float, float, float]:
    width, height = image_size
    for scale, ratio in zip(scales, ratios, strict=True):
        across = round(math.sqrt(width * height * scale * ratio))
        down = round(math.sqrt(width * height * scale / ratio))
        if 0 < across <= width and 0 < down <= height:
            left = math.floor(place[0] * (width - across + 1))
            top = math.floor(place[1] * (height - down + 1))
            return left, top, left + across, top + down
    across = min(width, round(height * max_stretch))
    down = min(height, round(width * max_stretch))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def draw_colour(augment: AugmentRecipe, *, generator: np.random.Generator) -> NDArray[np.float32]:
    """One image's colour changes as 9 numbers, for `Colour`: order, factors, lighting."""
    order = generator.permutation(3)
    factors = generator.uniform(1 - augment.jitter, 1 + augment.jitter, 3)
    amounts = generator.normal(0, 1, 3) * augment.lighting * _COLOUR_SPREAD
    return np.concatenate((order, factors, np.array(_COLOUR_AXES) @ amounts)).astype(np.float32)


def change_colour(images: Tensor, colour: Colour) -> Tensor:
    """Brightness, contrast, saturation, then lighting.

    Each of the first three blends the image with black, with its mean grey or with its greys:
    factor * image + (1 - factor) * other, cut to 0..1, as torchvision's ColorJitter does.

    Args:
        images: float (N, 3, H, W) in 0..1.
        colour: what was drawn for the N images.

    Returns:
        Images of the same shape; lighting may take them slightly out of 0..1.
    """
    weights = images.new_tensor(_GREY).view(1, 3, 1, 1)
    for turn in range(3):
        kind = colour.order[:, turn].long()
        factor = colour.factors.gather(1, kind[:, None]).view(-1, 1, 1, 1)
        grey = (images * weights).sum(1, keepdim=True)
        mean_grey = grey.mean((2, 3), keepdim=True)
        kind = kind.view(-1, 1, 1, 1)
        other = torch.where(kind == 2, grey, torch.where(kind == 1, mean_grey, 0.0))
        images = torch.lerp(other.expand_as(images), images, factor).clamp(0, 1)
    return images + colour.lighting.view(-1, 3, 1, 1)
