"""How an image becomes a model's input; without NumPy, for the processes that decode."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

INTERPOLATIONS = ("bilinear", "bicubic")
Fit = Literal["crop", "pad", "stretch"]
FITS = get_args(Fit)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image becomes the model's input; normalisation is inside the exported graph.

    Attributes:
        resize: length of the shorter side after resizing, pixels.
        crop: side of the square cut from the centre, pixels; at most `resize`.
        fit: how the image becomes a square: `crop` cuts it out; of models of other programs also
            `pad`, the whole image in the middle of a white one, and `stretch`, the whole image,
            whatever its shape. Of these `resize` is the side that is made, and `crop` is cut from
            it.
        interpolation: one of `INTERPOLATIONS`, with antialiasing (Pillow's).
        mean: per-channel mean of RGB in 0..1.
        std: per-channel standard deviation of RGB in 0..1.
    """

    resize: int = 256
    crop: int = 224
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    fit: Fit = "crop"

    def fields(self) -> dict[str, Any]:
        """Its values by name, as files hold them: without `fit` where that is `crop`, as before."""
        found = asdict(self)
        if self.fit == "crop":
            del found["fit"]
        return found
