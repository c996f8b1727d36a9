"""The image sets that features are usually judged on, as their downloads unpack them.

Of each the classes and images are counted before anything is done with them: a part that is
missing would give other figures than the literature's, and nobody would notice.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import AnnotationBuilder
from twlcli.errors import AnnotationError, reason_of

TRAIN, TEST = "train", "test"
_CALTECH_TRAIN = 30  # images of each class

Entry = tuple[str, str, str]  # an image's path in the set's folder, its class, and its split


@dataclass(frozen=True)
class Counts:
    """How large a set is."""

    classes: int
    train: int
    test: int

    def __str__(self) -> str:
        return f"{self.classes:,} classes, {self.train:,} training and {self.test:,} test images"


@dataclass(frozen=True)
class KnownSet:
    """An image set with one label per image.

    Attributes:
        title: what it is called.
        counts: of its classes and images.
        needs: a file or folder that tells that a folder is the set's.
        folders: where that may lie, below the folder that is named; an empty text is itself.
        entries: reads the set in such a folder.
        gone: what became of its download, where it is no longer where its makers had it.
    """

    title: str
    counts: Counts
    needs: str
    folders: tuple[str, ...]
    entries: Callable[[Path], Iterator[Entry]]
    gone: str = ""


def read_known_set(name: str, folder: Path, *, counts: Counts | None = None) -> Annotations:
    """The images of a known set, with their classes as labels and the splits `train` and `test`.

    Args:
        name: a key of `KNOWN_SETS`.
        folder: what its download unpacks to, or the folder around that.
        counts: what it is to have; None is what the whole set has.

    Raises:
        AnnotationError: the folder does not hold the set, or not all of it; says what was found
            and what was expected.
    """
    known = KNOWN_SETS[name]
    place = _place(known, folder)
    builder = AnnotationBuilder(place, format_name=name, root=place)
    found = {TRAIN: 0, TEST: 0}
    classes = set()
    try:
        for image, label, split in known.entries(place):
            builder.add(image, builder.columns([label]), split=split)
            classes.add(label)
            found[split] += 1
    except OSError as error:
        raise AnnotationError(
            f"{error.filename or place}: cannot be read ({reason_of(error)}); "
            f"expected {known.title} as its download unpacks it"
        ) from error
    except (KeyError, IndexError, ValueError) as error:
        raise AnnotationError(
            f"{place}: its lists are not those of {known.title} ({error!r})"
        ) from error
    expected = counts or known.counts
    there = Counts(len(classes), found[TRAIN], found[TEST])
    if there != expected:
        raise AnnotationError(
            f"{place}: found {there}; expected {expected} of {known.title}{_gone(known)}"
        )
    return builder.finish()


def _place(known: KnownSet, folder: Path) -> Path:
    for each in known.folders:
        if (folder / each / known.needs).exists():
            return folder / each
    raise AnnotationError(
        f"{folder}: has no {known.needs}; expected {known.title} as its download unpacks it"
        + _gone(known)
    )


def _gone(known: KnownSet) -> str:
    return f" ({known.gone})" if known.gone else ""


def _lines(*files: Path) -> Iterator[list[str]]:
    """The words of the lines of some files, at most two: the second one may have spaces."""
    for file in files:
        for line in file.read_text("utf-8").splitlines():
            if line.strip():
                yield line.split(maxsplit=1)


def _cub(folder: Path) -> Iterator[Entry]:
    classes = dict(_lines(folder / "classes.txt"))
    class_of = dict(_lines(folder / "image_class_labels.txt"))
    is_training = dict(_lines(folder / "train_test_split.txt"))
    for number, image in _lines(folder / "images.txt"):
        split = {"1": TRAIN, "0": TEST}[is_training[number].strip()]
        yield f"images/{image.strip()}", classes[class_of[number].strip()], split


def _dtd(folder: Path) -> Iterator[Entry]:
    for split, lists in ((TRAIN, ("train1.txt", "val1.txt")), (TEST, ("test1.txt",))):
        for (image,) in _lines(*(folder / "labels" / each for each in lists)):
            yield f"images/{image}", image.partition("/")[0], split


def _food(folder: Path) -> Iterator[Entry]:
    for split in (TRAIN, TEST):
        for (image,) in _lines(folder / "meta" / f"{split}.txt"):
            yield f"images/{image}.jpg", image.partition("/")[0], split


def _aircraft(folder: Path) -> Iterator[Entry]:
    for split, name in ((TRAIN, "trainval"), (TEST, "test")):
        for image, variant in _lines(folder / "data" / f"images_variant_{name}.txt"):
            yield f"data/images/{image}.jpg", variant.strip(), split


def _pets(folder: Path) -> Iterator[Entry]:
    for split, name in ((TRAIN, "trainval"), (TEST, "test")):
        for image, _ in _lines(folder / "annotations" / f"{name}.txt"):
            yield f"images/{image}.jpg", image.rpartition("_")[0], split


def _sun(folder: Path) -> Iterator[Entry]:
    lists = [folder / "Partitions", folder, folder.parent / "Partitions", folder.parent]
    where = next((each for each in lists if (each / "Training_01.txt").exists()), lists[0])
    for split, name in ((TRAIN, "Training_01.txt"), (TEST, "Testing_01.txt")):
        for (path,) in _lines(where / name):
            image = path.lstrip("/")  # as /a/apartment_building/outdoor/sun_0123.jpg
            yield image, "/".join(image.split("/")[1:-1]), split


def _flowers(folder: Path) -> Iterator[Entry]:
    labels = _mat(folder / "imagelabels.mat")["labels"]
    parts = _mat(folder / "setid.mat")
    for split, names in ((TRAIN, ("trnid", "valid")), (TEST, ("tstid",))):
        for number in np.concatenate([np.atleast_1d(parts[name]) for name in names]).tolist():
            yield f"jpg/image_{number:05d}.jpg", str(labels[number - 1]), split


def _cars(folder: Path) -> Iterator[Entry]:
    names = _mat(folder / "devkit" / "cars_meta.mat")["class_names"].tolist()
    of_test = "cars_test_annos_withlabels.mat"
    test = next((each for each in (folder, folder / "devkit") if (each / of_test).exists()), folder)
    lists = (TRAIN, folder / "devkit" / "cars_train_annos.mat"), (TEST, test / of_test)
    for split, file in lists:
        for each in np.atleast_1d(_mat(file)["annotations"]):
            yield f"cars_{split}/{each['fname']}", str(names[int(each["class"]) - 1]), split


def _caltech(folder: Path) -> Iterator[Entry]:
    """30 images of each class for training, drawn by the class's name, and the others to test.

    BACKGROUND_Google is a class like the others: only so there are 102.
    """
    for of_class in sorted(each for each in folder.iterdir() if each.is_dir()):
        images = sorted(each.name for each in of_class.glob("*.jpg"))
        generator = np.random.default_rng([0, zlib.crc32(of_class.name.encode())])
        training = set(generator.permutation(len(images))[:_CALTECH_TRAIN].tolist())
        for number, image in enumerate(images):
            split = TRAIN if number in training else TEST
            yield f"{of_class.name}/{image}", of_class.name, split


def _mat(file: Path) -> dict[str, Any]:
    """What a MATLAB file holds."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise AnnotationError(f"{file}: reading it needs SciPy: pip install scipy") from error
    file.open("rb").close()  # a missing one is told like any other
    try:
        loaded: dict[str, Any] = loadmat(file, squeeze_me=True)
    except Exception as error:  # damaged ones make its reader raise nearly anything
        raise AnnotationError(f"{file}: is not a MATLAB file ({error})") from error
    return loaded


KNOWN_SETS = {
    "aircraft": KnownSet(
        "FGVC-Aircraft (variants)",
        Counts(100, 6667, 3333),
        "data/images_variant_trainval.txt",
        ("", "fgvc-aircraft-2013b"),
        _aircraft,
    ),
    "caltech101": KnownSet(
        "Caltech-101",
        Counts(102, 3060, 6084),
        "BACKGROUND_Google",
        ("", "101_ObjectCategories", "caltech101/101_ObjectCategories"),
        _caltech,
        gone="the download on Google Drive is gone; it is at data.caltech.edu",
    ),
    "cars": KnownSet(
        "Stanford Cars",
        Counts(196, 8144, 8041),
        "devkit",
        ("", "stanford_cars"),
        _cars,
        gone="its makers' download is gone; copies are on Kaggle",
    ),
    "cub": KnownSet(
        "CUB-200-2011",
        Counts(200, 5994, 5794),
        "train_test_split.txt",
        ("", "CUB_200_2011"),
        _cub,
    ),
    "dtd": KnownSet("DTD", Counts(47, 3760, 1880), "labels/train1.txt", ("", "dtd"), _dtd),
    "flowers": KnownSet(
        "Flowers-102",
        Counts(102, 2040, 6149),
        "setid.mat",
        ("", "flowers-102"),
        _flowers,
    ),
    "food101": KnownSet(
        "Food-101", Counts(101, 75750, 25250), "meta/train.txt", ("", "food-101"), _food
    ),
    "pets": KnownSet(
        "Oxford-IIIT Pet",
        Counts(37, 3680, 3669),
        "annotations/trainval.txt",
        ("", "oxford-iiit-pet"),
        _pets,
    ),
    "sun397": KnownSet(
        "SUN397",
        Counts(397, 19850, 19850),
        "ClassName.txt",
        ("", "SUN397"),
        _sun,
    ),
}
