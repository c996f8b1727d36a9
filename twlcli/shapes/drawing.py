"""The objects and cluttered grounds of the sample set, drawn with Pillow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SUPERSAMPLE = 2  # canvas pixels per image pixel; averaging them smooths the edges

# RGB in the middle of each name's range; `_shade` varies it without leaving the name.
PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (205, 40, 45),
    "blue": (45, 85, 210),
    "green": (50, 160, 70),
    "yellow": (232, 205, 50),
    "white": (238, 238, 238),
    "black": (28, 28, 30),
    "purple": (160, 75, 185),
}

Colour = tuple[int, int, int]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Object:
    """One drawn object; lengths are in canvas pixels, the angle in radians.

    `radius` is that of the circle around the outline; `inner` is the radius of a star's notches
    as a share of it; `texture` is `plain`, `striped` or `dotted`.
    """

    shape: str
    colour: str
    texture: str
    centre: tuple[float, float]
    radius: float
    angle: float
    inner: float = 0.45

    def outline(self, *, margin: float = 0.0) -> list[tuple[float, float]]:
        """The corners of the object, its radius enlarged by `margin`."""
        corners = {"circle": 48, "square": 4, "triangle": 3, "star": 10}[self.shape]
        turns = self.angle + np.arange(corners) * (2 * math.pi / corners)
        radii = np.full(corners, self.radius + margin)
        if self.shape == "star":
            radii[1::2] *= self.inner
        across = self.centre[0] + radii * np.cos(turns)
        down = self.centre[1] + radii * np.sin(turns)
        return list(zip(across.tolist(), down.tolist(), strict=True))

    def mask(self, side: int, *, margin: float = 0.0) -> Mask:
        """Where the object lies on a canvas of `side` x `side` pixels."""
        return np.asarray(self._stencil(side, margin=margin), dtype=np.bool_)

    def _stencil(self, side: int, *, margin: float = 0.0) -> Image.Image:
        stencil = Image.new("L", (side, side))
        ImageDraw.Draw(stencil).polygon(self.outline(margin=margin), fill=255)
        return stencil

    def paint(self, canvas: Image.Image, rng: np.random.Generator) -> None:
        """Draw the object on top of what the canvas shows."""
        colour = _shade(PALETTE[self.colour], rng, spread=16)
        if self.texture == "plain":
            fill = Image.new("RGB", canvas.size, colour)
        else:
            fill = self._textured(canvas.width, colour, rng)
        canvas.paste(fill, mask=self._stencil(canvas.width))
        if rng.random() < 0.35:
            edge = _toward(colour, 0 if sum(colour) > 380 else 255, share=0.45)
            corners = self.outline()
            ImageDraw.Draw(canvas).line([*corners, corners[0]], fill=edge, width=SUPERSAMPLE)

    def _textured(self, side: int, colour: Colour, rng: np.random.Generator) -> Image.Image:
        """A whole canvas of stripes or dots in the object's colour and a second tone of it."""
        second = _toward(colour, 20 if sum(colour) > 380 else 250, share=rng.uniform(0.55, 0.8))
        fill = Image.new("RGB", (side, side), colour)
        draw = ImageDraw.Draw(fill)
        period = max(4.0 * SUPERSAMPLE, self.radius * rng.uniform(0.3, 0.45))
        turn = rng.uniform(0, math.pi)
        along = np.array([math.cos(turn), math.sin(turn)])
        across = np.array([-along[1], along[0]])
        steps = np.arange(-self.radius, self.radius + period, period)
        if self.texture == "striped":
            width = round(period * rng.uniform(0.4, 0.5))
            for step in steps:
                start = self.centre + step * across - self.radius * along
                draw.line([*start, *(start + 2 * self.radius * along)], fill=second, width=width)
        else:
            size = period * rng.uniform(0.25, 0.32)
            for step in steps:
                for stride in steps:
                    left, top = self.centre + step * across + stride * along - size
                    draw.ellipse((left, top, left + 2 * size, top + 2 * size), fill=second)
        return fill


def ground(side: int, rng: np.random.Generator) -> Image.Image:
    """A blotchy ground of muted colours with curved strokes and specks on it."""
    cells = int(rng.integers(2, 7))
    grey = rng.uniform(60, 190)
    tint = rng.normal(0, 10, 3)
    blotches = grey + tint + rng.normal(0, rng.uniform(4, 24), (cells, cells, 3))
    tile = Image.fromarray(blotches.clip(20, 235).astype(np.uint8))
    canvas = tile.resize((side, side), Image.Resampling.BICUBIC)
    strokes(canvas, int(rng.integers(0, 7)), rng)
    specks(canvas, int(rng.integers(0, 16)), rng)
    return canvas


def strokes(canvas: Image.Image, count: int, rng: np.random.Generator) -> None:
    """Draw open curves of any colour: clutter that carries no label."""
    draw = ImageDraw.Draw(canvas)
    for _ in range(count):
        bends = rng.normal(0, 0.35, 8).cumsum() + rng.uniform(0, 2 * math.pi)
        step = canvas.width * rng.uniform(0.02, 0.09)
        start = rng.uniform(0, canvas.width, 2)
        points = start + step * np.stack((np.cos(bends), np.sin(bends)), axis=1).cumsum(axis=0)
        width = round(SUPERSAMPLE * rng.uniform(0.7, 2.0))
        draw.line([tuple(point) for point in points.tolist()], fill=_any_colour(rng), width=width)


def specks(canvas: Image.Image, count: int, rng: np.random.Generator) -> None:
    """Draw dots of one or two pixels in any colour: clutter that carries no label."""
    draw = ImageDraw.Draw(canvas)
    for left, top in rng.uniform(0, canvas.width, (count, 2)):
        size = SUPERSAMPLE * rng.uniform(0.7, 2.2)
        draw.ellipse((left, top, left + size, top + size), fill=_any_colour(rng))


def develop(canvas: Image.Image, side: int, rng: np.random.Generator) -> Image.Image:
    """Shrink the canvas to the image, vary brightness, contrast and tint, and add noise."""
    pixels = np.asarray(canvas.reduce(canvas.width // side), dtype=np.float32)
    gain = rng.uniform(0.65, 1.12) * rng.uniform(0.94, 1.06, 3).astype(np.float32)
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(2, 12))
    return Image.fromarray((pixels * gain.astype(np.float32) + noise).clip(0, 255).astype(np.uint8))


def brightness(colour: str) -> float:
    """Luma of a palette colour, 0 to 255 (ITU-R BT.601)."""
    red, green, blue = PALETTE[colour]
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _any_colour(rng: np.random.Generator) -> Colour:
    names = list(PALETTE)
    return _shade(PALETTE[names[int(rng.integers(len(names)))]], rng, spread=40)


def _shade(colour: Colour, rng: np.random.Generator, *, spread: float) -> Colour:
    red, green, blue = (np.array(colour) + rng.uniform(-spread, spread, 3)).clip(0, 255).tolist()
    return round(red), round(green), round(blue)


def _toward(colour: Colour, target: int, *, share: float) -> Colour:
    red, green, blue = (round(c + (target - c) * share) for c in colour)
    return red, green, blue
