"""A part of an image that was drawn at random; without NumPy, for the processes that decode."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RandomCrop:
    """What was drawn of an image before its size is known; `training.augment` draws it.

    Torchvision's RandomResizedCrop: the first pair of a scale and a ratio that fits into the image,
    and the centre where none does.

    Attributes:
        size: side of the square that the part becomes, pixels.
        interpolation: one of `INTERPOLATIONS`, with antialiasing (Pillow's).
        scales: areas of the part in the image's, each to be tried with its ratio.
        ratios: widths of the part in its heights.
        place: where it lies between the left and the right, the top and the bottom, 0..1.
        max_stretch: the largest of the ratios, and 1 / the smallest.
        is_mirrored: whether left and right change places.
    """

    size: int
    interpolation: str
    scales: tuple[float, ...]
    ratios: tuple[float, ...]
    place: tuple[float, float]
    max_stretch: float
    is_mirrored: bool

    @property
    def shorter_side(self) -> int:
        """Pixels of the whole image's shorter side that a decoder has to keep at least.

        The part's shorter side is at least sqrt(scale / max_stretch) of the image's; the decoder
        keeps at least twice what it is asked for, so that the part has at least `size` pixels.
        """
        return math.ceil(self.size / math.sqrt(self.scales[0] / self.max_stretch) / 2)

    def box(self, image_size: tuple[int, int]) -> tuple[float, float, float, float]:
        """The part of an image of that width and height: left, top, right, bottom in pixels."""
        width, height = image_size
        for scale, ratio in zip(self.scales, self.ratios, strict=True):
            across = round(math.sqrt(width * height * scale * ratio))
            down = round(math.sqrt(width * height * scale / ratio))
            if 0 < across <= width and 0 < down <= height:
                left = math.floor(self.place[0] * (width - across + 1))
                top = math.floor(self.place[1] * (height - down + 1))
                return left, top, left + across, top + down
        across = min(width, round(height * self.max_stretch))
        down = min(height, round(width * self.max_stretch))
        left, top = (width - across) // 2, (height - down) // 2
        return left, top, left + across, top + down
