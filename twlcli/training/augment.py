"""Random changes of training images.

Geometry, RandAugment and erasing are done to each image where it is decoded; colour is done to the
whole batch on the training device. All draws of one image come from a generator of its own, so an
image changes in the same way however the batch is split over micro-batches, workers or ranks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode

from twlcli.images.random_crop import RandomCrop
from twlcli.model.preprocessing import Preprocessing
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


def draw_crop(
    augment: AugmentRecipe, image: ImageRecipe, *, generator: np.random.Generator
) -> RandomCrop:
    """Draw which part of an image is shown, and whether it is mirrored.

    As torchvision's RandomResizedCrop: area uniform in `min_scale`..1 of the image's, aspect ratio
    log-uniform in 1/`max_stretch`..`max_stretch`.
    """
    scales = generator.uniform(augment.min_scale, 1, _CROP_ATTEMPTS)
    limit = math.log(augment.max_stretch)
    ratios = np.exp(generator.uniform(-limit, limit, _CROP_ATTEMPTS))
    across, down = generator.uniform(size=2).tolist()
    return RandomCrop(
        size=image.size,
        interpolation=image.interpolation,
        scales=tuple(scales.tolist()),
        ratios=tuple(ratios.tolist()),
        place=(across, down),
        max_stretch=augment.max_stretch,
        is_mirrored=bool(generator.uniform() < augment.flip),
    )


def draw_colour(augment: AugmentRecipe, *, generator: np.random.Generator) -> NDArray[np.float32]:
    """One image's colour changes as 9 numbers, for `Colour`: order, factors, lighting."""
    order = generator.permutation(3)
    factors = generator.uniform(1 - augment.jitter, 1 + augment.jitter, 3)
    amounts = generator.normal(0, 1, 3) * augment.lighting * _COLOUR_SPREAD
    return np.concatenate((order, factors, np.array(_COLOUR_AXES) @ amounts)).astype(np.float32)


class Operations:
    """RandAugment and random erasing, as torchvision has them, on one image after its crop.

    RandAugment is that of Cubuk et al., 2019, erasing that of Zhong et al., 2017. What they uncover
    has the mean colour of the recipe's images, which is the network's 0.
    """

    def __init__(self, augment: AugmentRecipe, image: ImageRecipe) -> None:
        grey = [round(255 * value) for value in image.mean]
        self._changes: list[v2.Transform] = []
        if augment.rand_augment:
            self._changes.append(
                v2.RandAugment(
                    augment.rand_augment,
                    augment.magnitude,
                    interpolation=InterpolationMode.BILINEAR,
                    fill=grey,
                )
            )
        if augment.erasing:
            self._changes.append(v2.RandomErasing(augment.erasing, value=grey))

    def __call__(
        self, image: NDArray[np.uint8], *, generator: np.random.Generator
    ) -> NDArray[np.uint8]:
        """An image (H, W, 3) changed as the generator says; torch's own is left as it was."""
        if not self._changes:
            return image
        changed = torch.from_numpy(image).permute(2, 0, 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(generator.integers(2**63)))
            for change in self._changes:
                changed = change(changed)
        result: NDArray[np.uint8] = changed.permute(1, 2, 0).numpy()
        return result


def change_colour(images: Tensor, colour: Colour) -> Tensor:
    """Brightness, contrast, saturation, then lighting; changes the images in place.

    Each of the first three blends the image with black, with its mean grey or with its greys:
    factor * image + (1 - factor) * other, cut to 0..1, as torchvision's ColorJitter does.

    Args:
        images: float (N, 3, H, W) in 0..1.
        colour: what was drawn for the N images.

    Returns:
        The same tensor; lighting may take it slightly out of 0..1.
    """
    weights = by_channel(images, _GREY)
    for turn in range(3):
        kind = colour.order[:, turn].long()
        factor = colour.factors.gather(1, kind[:, None]).view(-1, 1, 1, 1)
        grey = (images * weights).sum(1, keepdim=True)
        mean_grey = grey.mean((2, 3), keepdim=True)
        kind = kind.view(-1, 1, 1, 1)
        other = torch.where(kind == 2, grey, torch.where(kind == 1, mean_grey, 0.0))
        torch.lerp(other.expand_as(images), images, factor, out=images).clamp_(0, 1)
    return images.add_(colour.lighting.view(-1, 3, 1, 1))


def network_input(images: Tensor, colour: Colour, preprocessing: Preprocessing) -> Tensor:
    """Training images as the network takes them: colours changed, then normalised.

    Args:
        images: uint8 (N, H, W, 3); left as they are.
        colour: what was drawn for the N images.
        preprocessing: of the network.

    Returns:
        float32 (N, 3, H, W) in channels-last memory.
    """
    # Red, green and blue are planes until the end, as CPUs vectorise these passes over planes
    # only: measured three times as fast, with the same numbers.
    planes = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    planes = change_colour(planes.div_(255), colour)
    planes.sub_(by_channel(planes, preprocessing.mean)).div_(by_channel(planes, preprocessing.std))
    return planes.contiguous(memory_format=torch.channels_last)


def by_channel(like: Tensor, values: tuple[float, float, float]) -> Tensor:
    """A number for each channel, (1, 3, 1, 1); made on the device, which copies would wait for."""
    made = like.new_empty((1, 3, 1, 1))
    for channel, value in enumerate(values):
        made[:, channel].fill_(value)
    return made
