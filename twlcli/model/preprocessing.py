"""How an image becomes a model's input; without NumPy, for the processes that decode."""

from __future__ import annotations

from dataclasses import dataclass

INTERPOLATIONS = ("bilinear", "bicubic")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image becomes the model's input; normalisation is inside the exported graph.

    Attributes:
        resize: length of the shorter side after resizing, pixels.
        crop: side of the square cut from the centre, pixels; at most `resize`.
        interpolation: one of `INTERPOLATIONS`, with antialiasing (Pillow's).
        mean: per-channel mean of RGB in 0..1.
        std: per-channel standard deviation of RGB in 0..1.
    """

    resize: int = 256
    crop: int = 224
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
