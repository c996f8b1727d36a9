"""The layout with one folder per class."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import SPLIT_NAMES, AnnotationBuilder
from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.errors import AnnotationError, reason_of
from twlcli.images.discover.walk import walk_folders
from twlcli.images.image_file import IMAGE_SUFFIXES, is_image
from twlcli.labels import some_of


def walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder at or below `folder` with its files' names; see `walk_folders`.

    Raises:
        AnnotationError: a folder cannot be read, or links lead to one in too many ways.
    """
    try:
        yield from walk_folders(folder)
    except FileNotFoundError as error:
        raise AnnotationError(f"{error.filename}: no such file or folder") from None
    except OSError as error:
        raise AnnotationError(f"{error.filename}: cannot be read ({reason_of(error)})") from error


def is_folders(path: Path) -> bool:
    """Whether a folder has sub-folders that hold images."""
    return path.is_dir() and any(
        relative and any(map(is_image, names)) for relative, names in walk(path)
    )


# Folders that hold images of every kind: what they are called is no label.
CONTAINERS = frozenset(
    ("images", "image", "imgs", "img", "jpegimages", "photos", "pictures", "data", "dataset")
)

# Words in the names of other folders of a data set.
_NO_CLASSES = frozenset(
    (
        "set",
        "seg",
        "fold",
        "part",
        "split",
        "mask",
        "masks",
        "label",
        "labels",
        "annotations",
        "annotation",
        "segmentation",
        "gt",
    )
) | {suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES}


@dataclass(frozen=True)
class _Image:
    """An image: the folders that it lies in, and its path."""

    folders: tuple[str, ...]
    path: str


def read_folders(path: Path, options: ReadOptions = DEFAULTS) -> Annotations:
    """Read `CLASS/a.jpg`, or `train/CLASS/a.jpg` and `val/CLASS/b.jpg`: one label per image.

    The immediate sub-folder is the label; images may lie deeper inside it. Where sub-folders named
    after splits hold folders, those are the labels, and other sub-folders are left out. All may lie
    in one folder more, such as `images/`.

    Args:
        path: the folder.
        options: `format` lets folders that are all called as `images` and `masks` be classes.

    Raises:
        AnnotationError: no image is in a class folder, one is in a split's folder outside all
            classes, or no folder's name is that of a class, as `images` or `train2017`.
    """
    builder = AnnotationBuilder(path, format_name="folders", root=path)
    found, texts = [], list[str]()
    for relative, names in walk(path):
        images = list(filter(is_image, names))
        folders = tuple(relative.split("/")[:-1])
        found += [_Image(folders, f"{relative}{name}") for name in images]
        there = frozenset(names)
        texts += [f"{relative}{text}" for name in images if (text := text_beside(name, there))]
    inside = [image for image in found if image.folders]
    if not inside:
        raise AnnotationError(f"{path}: no image is in a sub-folder named after its class")
    level = _level(inside)
    splits = _splits(inside, level)
    left_out = Counter[str]()
    inner = set[str]()
    for image in inside:
        below = image.folders[level:]
        if splits and below and below[0] not in splits:
            left_out[below[0]] += 1
            continue
        if len(below) <= bool(splits):
            folder, _, name = image.path.rpartition("/")
            message = f"lies in no class's folder; expected {folder}/CLASS/{name}"
            raise AnnotationError(f"{path / image.path}: {message}{_boxes_beside(path)}")
        label, split = (below[1], below[0]) if splits else (below[0], "")
        builder.add(image.path, builder.columns([label]), split=split)
        if deeper := below[1 + bool(splits) :][:1]:
            inner.add(f"{label}/{deeper[0]}")
    _check_classes(builder, options)
    if outside := len(found) - len(inside):
        builder.note(f"images left out because they are in no class folder: {outside:,}")
    if left_out:
        counts = ", ".join(f"{count:,} in {name}" for name, count in left_out.items())
        builder.note(f"images left out because they lie in no split with class folders: {counts}")
    if texts:
        builder.note(f"text files beside images were not read: {some_of(texts)}")
    if len(inner) > 1:
        named = some_of(sorted(inner))
        builder.note(f"folders in class folders are no labels: {named}; a table may list them")
    return builder.finish()


def _check_classes(builder: AnnotationBuilder, options: ReadOptions) -> None:
    """Raise AnnotationError where the folders are called as no class is; note a class alone."""
    path, labels = builder.source, [builder.label(each) for each in range(builder.label_count)]
    expected = f"; expected a folder for each class{_boxes_beside(path)}"
    if len(labels) == 1:
        message = f"every image has the one label '{labels[0]}'"
        if labels[0].casefold() in CONTAINERS:
            raise AnnotationError(f"{path}: {message}{expected}")
        builder.note(message)
    elif options.format is None and all(map(_is_no_class, labels)):
        message = f"the folders {some_of(labels)} are no classes{expected}"
        hint = "{format} folders reads them as classes"
        raise AnnotationError(f"{path}: {message}", hint=hint)


def _is_no_class(folder: str) -> bool:
    """Whether a folder is called as one of images of any class, such as `train2017`.

    Example:
        >>> [_is_no_class(name) for name in ("images_001", "test-jpg", "train.X1", "dog images")]
        [True, True, True, False]
    """
    words = re.findall(r"[^\W\d_]+", folder.casefold())
    known = SPLIT_NAMES.keys() | CONTAINERS | _NO_CLASSES
    letters = {word for word in words if len(word) == 1}  # alone they may be classes
    return not letters.issuperset(words) and known.issuperset(set(words) - letters)


def _boxes_beside(path: Path) -> str:
    """What to say where a folder `labels` with text files lies there, as detectors have it."""
    labels = path / "labels"
    if not labels.is_dir() or not any(
        name.lower().endswith(".txt") for _, names in walk(labels) for name in names
    ):
        return ""
    return f"; the text files in {labels}, as of a detection data set, are not read"


def has_class_folders(folders: Iterable[str]) -> bool:
    """Whether the folders of images, such as `train/cat/`, are of more than one class."""
    inside = [_Image(tuple(each.split("/")[:-1]), each) for each in folders if each]
    if not inside:
        return False
    level = _level(inside)
    place = level + bool(_splits(inside, level))
    return len({each.folders[place] for each in inside if len(each.folders) > place}) > 1


def text_beside(image: str, names: Container[str]) -> str | None:
    """The name of the text file that belongs to an image, if it is among `names`."""
    stem = image[: image.rindex(".")]
    candidates = (f"{image}.txt", f"{stem}.txt", f"{image}.TXT", f"{stem}.TXT")
    return next((each for each in candidates if each in names), None)


def _level(images: Sequence[_Image]) -> int:
    """How many folders lie around the classes or splits, as `images/` does: 0 or 1."""
    tops = {image.folders[0] for image in images}
    if len(tops) > 1 or any(len(image.folders) < 2 for image in images):
        return 0
    (top,) = tops
    names = {image.folders[1].casefold() for image in images}
    is_around = top.casefold() in CONTAINERS or (
        top.casefold() not in SPLIT_NAMES and names <= SPLIT_NAMES.keys()
    )
    return int(is_around)


def _splits(images: Sequence[_Image], level: int) -> frozenset[str]:
    """The folders named after splits in which classes lie; none where they are classes."""
    tops = {image.folders[level] for image in images}
    named = {top for top in tops if top.casefold() in SPLIT_NAMES}
    classes = {image.folders[level : level + 2] for image in images}
    holding = {pair[0] for pair in classes if len(pair) > 1 and pair[0] in named}
    if named == tops:
        return frozenset(holding or named)
    training = any(SPLIT_NAMES[top.casefold()] == "train" for top in holding)
    in_training = sum(len(pair) > 1 and pair[0] in holding for pair in classes)
    return frozenset(holding if training and in_training > 1 else ())
