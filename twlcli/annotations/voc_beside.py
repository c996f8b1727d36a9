"""XML files as of PASCAL VOC beside images, or in `annotations/` beside a folder of images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import SPLIT_NAMES, AnnotationBuilder
from twlcli.annotations.folders import walk
from twlcli.annotations.voc import objects_in
from twlcli.errors import AnnotationError
from twlcli.images.image_file import is_image

_FOLDERS = ("annotations", "xmls", "xml", "labels")  # whose files belong to images elsewhere


def is_voc_beside(path: Path) -> bool:
    """Whether a folder has XML files that belong to images."""
    return any(images for _, images in _pairs(path))


def read_voc_beside(path: Path) -> Annotations:
    """Read XML files with objects: the labels of an image are the classes of its objects.

    `a.xml` belongs to the only image `a.jpg` (or of another ending) in its own folder, or, where
    that is called `annotations`, below the folder around it. A folder named after a split gives the
    split. As in VOC, a class is unknown where all of its objects are marked `difficult`. Images
    without an XML file are left out.

    Raises:
        AnnotationError: an XML file is broken or belongs to no image, or to several.
    """
    builder = AnnotationBuilder(path, format_name="voc", root=path)
    for xml, images in _pairs(path):
        if len(images) != 1:
            found = f"belongs to {len(images)} images" if images else "belongs to no image"
            raise AnnotationError(f"{path / xml}: {found} called {Path(xml).stem}")
        builder.begin_file(path / xml)
        present, difficult = objects_in(path / xml)
        split = next((each for each in xml.split("/")[:-1] if each.casefold() in SPLIT_NAMES), "")
        builder.add(
            images[0],
            builder.columns(sorted(present)),
            builder.columns(sorted(difficult - present)),
            split=split,
        )
    if not builder.label_count:
        raise AnnotationError(f"{path}: the XML files name no object")
    if left_out := _count_images(path) - len(builder):
        builder.note(f"images left out because they have no XML file: {left_out:,}")
    return builder.finish()


def _pairs(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Each XML file, and the images that it may belong to."""
    texts = [f"{folder}{name}" for folder, names in walk(path) for name in names if _is_xml(name)]
    images: dict[str, list[str]] = {}
    for folder, names in walk(path) if texts else ():
        for name in filter(is_image, names):
            images.setdefault(Path(name).stem, []).append(f"{folder}{name}")
    for text in texts:
        folder, _, name = text.rpartition("/")
        around, _, last = folder.rpartition("/")
        is_apart = last.casefold() in _FOLDERS
        start = around if is_apart else folder
        start = f"{start}/" if start else ""
        alike = (each for each in images.get(Path(name).stem, ()) if each.startswith(start))
        yield text, [each for each in alike if is_apart or "/" not in each.removeprefix(start)]


def _is_xml(name: str) -> bool:
    return name.lower().endswith(".xml") and name[0] != "."


def _count_images(path: Path) -> int:
    return sum(is_image(name) for _, names in walk(path) for name in names)
