"""The splits that the YAML of a data set for YOLO names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from twlcli.annotations.builder import normal_image
from twlcli.annotations.data_yaml import yaml_values
from twlcli.annotations.encoding import read_text
from twlcli.annotations.folders import walk
from twlcli.errors import AnnotationError
from twlcli.images.image_file import is_image

_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Splits:
    """The images of each split.

    Attributes:
        of: their paths relative to the YAML's folder, by split.
        notes: what was decided that the user may want to know.
    """

    of: dict[str, list[str]]
    notes: tuple[str, ...] = ()

    def images(self) -> Iterator[tuple[str, str]]:
        """Each image and its split."""
        for split, images in self.of.items():
            for image in images:
                yield image, split


def splits_of(yaml: Path) -> Splits | None:
    """The splits that a YAML file names; None where it names none.

    Each is a folder, a text file that lists images, or a list of these. They are relative to `path`
    or to the file's folder, whichever is there; `../` before them, as Roboflow writes, may be too
    much.

    Raises:
        AnnotationError: none of what a split names is there, or two splits share some images.
    """
    values = yaml_values(yaml, read_text(yaml), ("path", *_SPLITS))
    named = {split: values[split] for split in _SPLITS if split in values}
    if not named:
        return None
    base = values.get("path", "")
    roots = [yaml.parent / base, yaml.parent] if isinstance(base, str) else [yaml.parent]
    notes, of = [], dict[str, list[str]]()
    for split, value in named.items():
        entries = [value] if isinstance(value, str) else list(value)
        places = [_place(roots, str(entry)) for entry in entries]
        there = [place for place in places if place is not None]
        if lost := [str(e) for e, place in zip(entries, places, strict=True) if place is None]:
            message = f"'{split}' names {lost[0]}, which is not there"
            if split != "test" or there:
                raise AnnotationError(f"{yaml}: {message} (looked for {roots[0] / lost[0]})")
            notes.append(f"{message}; it was left out")
            continue
        found = [image for place in there for image in _images_of(place, roots)]
        of[split] = [_relative(image, yaml.parent) for image in dict.fromkeys(found)]
    _without_copies(yaml, of, notes)
    notes += _note_of_others(yaml.parent, of)
    return Splits(of, tuple(notes))


def _place(roots: Sequence[Path], entry: str) -> Path | None:
    """The folder or list of images that an entry means."""
    tried = [entry]
    while tried[-1].startswith("../"):
        tried.append(tried[-1].removeprefix("../"))
    places = (root / each for each in tried for root in roots)
    return next((place for place in places if os.path.exists(place)), None)  # noqa: PTH110


def _images_of(place: Path, roots: Sequence[Path]) -> list[Path]:
    if place.is_dir():
        return [
            place / f"{folder}{name}"
            for folder, names in walk(place)
            for name in names
            if is_image(name)
        ]
    lines = (line.strip().replace("\\", "/") for line in read_text(place).splitlines())
    return [_listed(line, [place.parent, *roots]) for line in lines if line]


def _listed(line: str, roots: Sequence[Path]) -> Path:
    """Where an image of a list lies: beside the list, or in one of the data set's folders."""
    places = [root / line for root in roots]
    return next((each for each in places if each.exists()), places[0])


def _relative(image: Path, folder: Path) -> str:
    if image.is_absolute() and not image.is_relative_to(folder.absolute()):
        return image.as_posix()
    return normal_image(Path(os.path.relpath(image, folder)).as_posix())


def _without_copies(yaml: Path, of: dict[str, list[str]], notes: list[str]) -> None:
    """Leave out a split that is all of another, as in samples; refuse one that shares a part."""
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        shared = set(of.get(first, ())) & set(of.get(second, ()))
        if not shared:
            continue
        if len(shared) < len(of[second]):
            message = f"image '{min(shared)}' is in '{first}' and in '{second}'"
            raise AnnotationError(f"{yaml}: {message}; splits share no image")
        notes.append(f"'{second}' of {yaml.name} is left out: its images are those of '{first}'")
        del of[second]


def _note_of_others(folder: Path, of: dict[str, list[str]]) -> list[str]:
    """A note of images below folders `images` that are in no split."""
    named = {image for images in of.values() for image in images}
    others = [
        f"{relative}{name}"
        for relative, names in walk(folder)
        if "images" in relative.split("/")
        for name in names
        if is_image(name) and f"{relative}{name}" not in named
    ]
    if not others:
        return []
    return [f"images left out because they are in no split: {len(others):,}, such as {others[0]}"]
