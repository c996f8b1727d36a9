"""A multi-label set drawn by code, to try twl on without downloading anything."""

from __future__ import annotations

import math
import tempfile
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from twlcli.annotations.builder import AnnotationBuilder
from twlcli.annotations.write import write_table
from twlcli.errors import AnnotationError
from twlcli.shapes.drawing import (
    SUPERSAMPLE,
    Mask,
    Object,
    brightness,
    develop,
    ground,
    specks,
    strokes,
)

Key = TypeVar("Key")

SHAPES = ("circle", "square", "triangle", "star")
COLOURS = ("red", "blue", "green", "yellow")
TEXTURES = ("striped", "dotted")
RELATIONS = ("overlapping", "nested")
LABELS = SHAPES + COLOURS + TEXTURES + RELATIONS

VISIBLE = 0.5  # an object counts where at least this share of it is visible
SLIVER = 0.12  # ... and is not drawn at all where its share would lie between the two
OVERLAP = (0.1, 0.8)  # share of the smaller object that two overlapping ones have in common
GAP = 2.0  # pixels between objects that stand apart
OBJECT_COUNTS = {0: 2, 1: 33, 2: 34, 3: 20, 4: 8, 5: 3}  # percent of the images
ATTEMPTS = 12  # tries to place an object before the image goes without it
MIN_COUNT, MIN_SIZE, MAX_SIZE = 5, 32, 1024


@dataclass(frozen=True)
class Theme:
    """What tends to stand in one image together; each mapping holds relative weights."""

    shapes: Mapping[str, float]
    colours: Mapping[str, float]
    textures: Mapping[str, float]
    placing: Mapping[str, float]


THEMES = {
    "sea": Theme(
        shapes={"circle": 5, "triangle": 0.7, "square": 0.7},
        colours={"blue": 5, "white": 2, "black": 1, "purple": 1, "red": 0.5},
        textures={"plain": 12, "striped": 0.7, "dotted": 0.3},
        placing={"apart": 6, "overlapping": 2, "nested": 0.3},
    ),
    "town": Theme(
        shapes={"square": 5, "triangle": 1.3, "circle": 1},
        colours={"red": 4, "black": 2, "white": 2, "purple": 2, "blue": 1.2},
        textures={"plain": 8, "striped": 2},
        placing={"apart": 6, "overlapping": 1.5, "nested": 1.2},
    ),
    "night": Theme(
        shapes={"star": 4, "circle": 2, "triangle": 0.5},
        colours={"yellow": 6, "white": 2, "blue": 1, "black": 1},
        textures={"plain": 8, "dotted": 1},
        placing={"apart": 8, "overlapping": 1, "nested": 0.3},
    ),
    "garden": Theme(
        shapes={"circle": 2, "triangle": 3, "square": 1, "star": 1},
        colours={"green": 6, "yellow": 2, "purple": 1, "white": 1},
        textures={"plain": 4, "dotted": 4},
        placing={"apart": 5, "overlapping": 2, "nested": 1},
    ),
}
THEME_WEIGHTS = {"sea": 44, "town": 39, "night": 12, "garden": 5}


@dataclass(frozen=True)
class DrawnImage:
    """One drawn image and the labels that are true of it, in the order of `LABELS`."""

    image: Image.Image
    labels: tuple[str, ...]


def draw(folder: Path, *, count: int = 2000, seed: int = 0, size: int = 96) -> None:
    """Draw the sample set: `images/00000.jpg` onward and `labels.csv` (`image,labels,split`).

    Each image shows up to five objects on a cluttered ground. The twelve labels say which
    shapes, colours and textures the objects have, and whether two of them overlap or one lies
    nested in another. An object counts only where at least half of it is visible; strokes and
    specks carry no label. Labels range from half of the images to a few in a hundred, and
    some go together (stars are mostly yellow, squares red). A few images have no label.
    Every fifth image is in the split `val`, the others in `train`.

    The same seed gives the same labels and pixels, and image `i` does not depend on `count`.

    Args:
        folder: where to draw; must not exist or be empty.
        count: number of images.
        seed: 0 or greater.
        size: side of each image, pixels.

    Raises:
        AnnotationError: the folder is not empty or cannot be written; an argument is out of range.
    """
    _check_arguments(count=count, seed=seed, size=size)
    folder = folder.resolve()
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            kind = "is not empty" if folder.is_dir() else "is a file"
            raise AnnotationError(f"{folder}: {kind}; the sample set needs a new or empty folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".twl-", dir=folder.parent) as name:
            _draw_into(Path(name), count=count, seed=seed, size=size)
            folder.mkdir(exist_ok=True)
            for part in ("images", "labels.csv"):  # the label file last: with it the set is whole
                (Path(name) / part).replace(folder / part)
    except OSError as error:
        raise AnnotationError(f"{folder}: cannot be written ({error.strerror})") from error


def _check_arguments(*, count: int, seed: int, size: int) -> None:
    if count < MIN_COUNT:
        raise AnnotationError(f"sample set: count is {count}; expected {MIN_COUNT} or more")
    if seed < 0:
        raise AnnotationError(f"sample set: seed is {seed}; expected 0 or greater")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise AnnotationError(f"sample set: size is {size}; expected {MIN_SIZE} to {MAX_SIZE}")


def _draw_into(folder: Path, *, count: int, seed: int, size: int) -> None:
    (folder / "images").mkdir()
    table = AnnotationBuilder(folder / "labels.csv", format_name="csv", root=folder)
    for index in range(count):
        drawn = draw_image(seed=seed, index=index, size=size)
        name = f"images/{index:05d}.jpg"
        drawn.image.save(folder / name, quality=90, subsampling=0)
        split = "val" if index % 5 == 4 else "train"
        table.add(name, table.columns(drawn.labels), split=split)
    write_table(table.finish(), table.source)


def draw_image(*, seed: int, index: int, size: int = 96) -> DrawnImage:
    """Draw image `index` of the set with this seed."""
    rng = np.random.default_rng((seed, index))
    canvas = ground(size * SUPERSAMPLE, rng)
    objects, masks = compose(canvas, rng)
    for item in objects:
        item.paint(canvas, rng)
    strokes(canvas, int(rng.integers(0, 2)), rng)
    specks(canvas, int(rng.integers(0, 6)), rng)
    return DrawnImage(develop(canvas, size, rng), true_labels(objects, masks))


def true_labels(objects: Sequence[Object], masks: Sequence[Mask]) -> tuple[str, ...]:
    """The labels of a scene, from the areas of its objects in the order they are painted.

    Args:
        objects: bottom first.
        masks: where each object lies, hidden parts included.
    """
    counted = [at for at, share in enumerate(visible_shares(masks)) if share >= VISIBLE]
    found: set[str | None] = set()
    for at in counted:
        found |= {objects[at].shape, objects[at].colour, objects[at].texture}
    for below, above in combinations(counted, 2):
        found.add(relation(masks[below], masks[above]))
    return tuple(label for label in LABELS if label in found)


def visible_shares(masks: Sequence[Mask]) -> list[float]:
    """The share of each object that no later one hides, 0 to 1."""
    shares: list[float] = []
    for at, mask in enumerate(masks):
        hidden = np.zeros_like(mask)
        for above in masks[at + 1 :]:
            hidden |= above
        shares.append(1 - np.count_nonzero(mask & hidden) / np.count_nonzero(mask))
    return shares


def relation(below: Mask, above: Mask) -> str | None:
    """How two objects lie to each other, `apart`, `overlapping` or `nested`; None where unclear.

    With s the share of the smaller one's area that both cover: apart is s = 0, overlapping
    s within `OVERLAP`, nested s = 1 with the upper one the smaller.
    """
    shared = np.count_nonzero(below & above)
    if shared == 0:
        return "apart"
    upper = np.count_nonzero(above)
    share = shared / min(np.count_nonzero(below), upper)
    if shared == upper:
        return "nested"
    return "overlapping" if OVERLAP[0] <= share <= OVERLAP[1] else None


def compose(canvas: Image.Image, rng: np.random.Generator) -> tuple[list[Object], list[Mask]]:
    """Choose the objects of one image and place them so that every label is plain to see."""
    side = canvas.width
    theme = THEMES[_pick(THEME_WEIGHTS, rng)]
    luma = float(np.asarray(canvas.convert("L")).mean())
    objects: list[Object] = []
    masks: list[Mask] = []
    for _ in range(_pick(OBJECT_COUNTS, rng)):
        placing = _pick(theme.placing, rng) if objects else "apart"
        for _ in range(ATTEMPTS):
            item = _propose(theme, placing, objects, side, rng)
            if item.colour in ("white", "black") and abs(brightness(item.colour) - luma) < 60:
                continue
            mask = item.mask(side)
            if _fits(item, mask, objects, masks):
                objects.append(item)
                masks.append(mask)
                break
    return objects, masks


def _propose(
    theme: Theme, placing: str, objects: Sequence[Object], side: int, rng: np.random.Generator
) -> Object:
    """An object of the theme somewhere on the canvas, or on one of those that stand there."""
    texture = _pick(theme.textures, rng)
    smallest = 0.07 if texture == "plain" else 0.12  # a texture cannot be seen on less
    radius = side * math.exp(rng.uniform(math.log(smallest), math.log(0.26)))
    centre = rng.uniform(radius, side - radius, 2)
    if placing != "apart":
        host = objects[int(rng.integers(len(objects)))]
        if placing == "nested":
            radius = max(side * 0.05, host.radius * rng.uniform(0.3, 0.6))
            distance, texture = rng.uniform(0, 0.35) * host.radius, "plain"
        else:
            distance = rng.uniform(0.5, 0.95) * (host.radius + radius)
        turn = rng.uniform(0, 2 * math.pi)
        centre = host.centre + distance * np.array([math.cos(turn), math.sin(turn)])
    return Object(
        shape=_pick(theme.shapes, rng),
        colour=_pick(theme.colours, rng),
        texture=texture,
        centre=(float(centre[0]), float(centre[1])),
        radius=float(radius),
        angle=rng.uniform(0, 2 * math.pi),
        inner=rng.uniform(0.38, 0.5),
    )


def _fits(item: Object, mask: Mask, objects: Sequence[Object], masks: Sequence[Mask]) -> bool:
    """Whether the scene stays unambiguous with this object on top."""
    side = mask.shape[0]
    if not all(item.radius <= c <= side - item.radius for c in item.centre):
        return False
    surroundings = item.mask(side, margin=GAP * SUPERSAMPLE)
    for other, below in zip(objects, masks, strict=True):
        related = relation(below, mask)
        if related is None or (related != "apart" and item.colour == other.colour):
            return False
        if related == "apart" and (surroundings & below).any():
            return False
    shares = visible_shares([*masks, mask])
    return all(share >= VISIBLE or share <= SLIVER for share in shares)


def _pick(weights: Mapping[Key, float], rng: np.random.Generator) -> Key:
    reached = list(accumulate(weights.values()))
    return list(weights)[bisect(reached, rng.random() * reached[-1])]
