"""The whole of an image, for people to look at; without NumPy, for the processes that decode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # whoever asks other processes needs it not
    from PIL import Image


@dataclass(frozen=True, slots=True)
class Whole:
    """The whole of an image, at most `side` pixels wide and high, and never enlarged.

    It stands in the upper left of `side` x (`side` + 1) pixels. The first two pixels of the last
    row are its width and its height, three bytes each.

    Attributes:
        side: pixels, at least 2.
    """

    side: int

    def drawn(self, image: Image.Image) -> Image.Image:
        """An RGB image as it is handed on."""
        from PIL import Image

        scale = min(1.0, self.side / max(image.size))
        width, height = (max(1, round(scale * length)) for length in image.size)
        sheet = Image.new("RGB", (self.side, self.side + 1))
        sheet.paste(image.resize((width, height), Image.Resampling.BILINEAR))
        size = width.to_bytes(3, "big") + height.to_bytes(3, "big")
        sheet.paste(Image.frombytes("RGB", (2, 1), size), (0, self.side))
        return sheet

    def taken_from(self, sheet: Image.Image) -> Image.Image:
        """The image on what `drawn` has made."""
        size = sheet.crop((0, self.side, 2, self.side + 1)).tobytes()
        width, height = (int.from_bytes(size[at : at + 3], "big") for at in (0, 3))
        return sheet.crop((0, 0, width, height))
