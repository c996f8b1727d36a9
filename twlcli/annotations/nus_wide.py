"""Reading NUS-WIDE as its authors lay it out: zeros and ones in a file per concept and split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.encoding import read_bytes, read_text
from twlcli.errors import AnnotationError
from twlcli.labels import PRESENT, LabelMatrix, Vocabulary

SPLITS = {"Train": "train", "Test": "test"}  # as in the files' names -> as in twl
IMAGE_FOLDERS = ("Flickr", "images", "Images")

_CONCEPTS = Path("ConceptsList", "Concepts81.txt")
_LABEL_FOLDERS = (Path("TrainTestLabels"), Path("Groundtruth", "TrainTestLabels"))


def is_nus_wide(path: Path) -> bool:
    """Whether a folder holds the list of NUS-WIDE's 81 concepts and its lists of images."""
    return (path / _CONCEPTS).is_file() and (path / "ImageList").is_dir()


def read(path: Path) -> Annotations:
    r"""Read NUS-WIDE's official splits `train` and `test`; the paper evaluates on `test`.

    Images without any label are left out, as in the paper (125,448 training and 83,898 test
    images stay). The vocabulary is `ConceptsList/Concepts81.txt`, in its order. Images are
    looked for in `Flickr/` or `images/`, else in the folder itself; the lists name them as
    `actor\0001_2124494179.jpg`.

    Args:
        path: the folder with `ConceptsList/Concepts81.txt`, `ImageList/TrainImagelist.txt`,
            `ImageList/TestImagelist.txt` and `TrainTestLabels/Labels_CONCEPT_{Train,Test}.txt`
            (also below `Groundtruth/`).

    Raises:
        AnnotationError: a file is missing or does not have one line for each image, a label is
            neither 0 nor 1, or an image is listed twice.
    """
    concepts = read_text(path / _CONCEPTS).split()
    if not concepts:
        raise AnnotationError(f"{path / _CONCEPTS}: names no concept")
    try:
        vocabulary = Vocabulary(tuple(concepts))
    except AnnotationError as error:
        raise AnnotationError(f"{path / _CONCEPTS}: {error}") from None
    folder = next((path / f for f in _LABEL_FOLDERS if (path / f).is_dir()), None)
    if folder is None:
        raise AnnotationError(f"{path}: holds no folder TrainTestLabels")
    lists = [path / "ImageList" / f"{name}Imagelist.txt" for name in SPLITS]
    images = [_read_list(file) for file in lists]
    sizes = [len(part) for part in images]
    _check_unique(lists, images)
    labels = _read_labels(folder, vocabulary, lists, sizes)
    everything = Annotations(
        source=path,
        format="nus-wide",
        root=next((path / f for f in IMAGE_FOLDERS if (path / f).is_dir()), path),
        images=tuple(image for part in images for image in part),
        labels=labels,
        vocabulary=vocabulary,
        splits=tuple(np.repeat(list(SPLITS.values()), sizes).tolist()),
        lines=np.concatenate([np.arange(1, size + 1) for size in sizes]),
        files=tuple(lists),
        file_rows=np.repeat(np.arange(len(lists), dtype=np.int32), sizes),
        notes=_notes(labels),
    )
    labelled = np.flatnonzero(labels.present_per_image())
    if not len(labelled):
        raise AnnotationError(f"{folder}: no image has any label")
    return everything.select(labelled)


def _notes(labels: LabelMatrix) -> tuple[str, ...]:
    label_free = int((labels.present_per_image() == 0).sum())
    return (f"{label_free:,} images without any label are left out",) if label_free else ()


def _read_list(file: Path) -> list[str]:
    images = [line.strip().replace("\\", "/") for line in read_text(file).splitlines()]
    while images and not images[-1]:
        images.pop()
    if "" in images:
        raise AnnotationError.at(file, images.index("") + 1, "the line is empty; expected an image")
    if not images:
        raise AnnotationError(f"{file}: names no image")
    return images


def _check_unique(lists: Sequence[Path], images: Sequence[Sequence[str]]) -> None:
    seen: set[str] = set()
    for file, part in zip(lists, images, strict=True):
        for line, image in enumerate(part, 1):
            if image in seen:
                raise AnnotationError.at(file, line, f"image '{image}' was listed before")
            seen.add(image)


def _read_labels(
    folder: Path, vocabulary: Vocabulary, lists: Sequence[Path], sizes: Sequence[int]
) -> LabelMatrix:
    rows = []
    for concept in vocabulary:
        first = 0
        found = []
        for name, file, size in zip(SPLITS, lists, sizes, strict=True):
            flags = _read_flags(folder / f"Labels_{concept}_{name}.txt", file, size)
            found.append(first + np.flatnonzero(flags))
            first += size
        rows.append(np.concatenate(found))
    row = np.concatenate(rows)
    column = np.repeat(np.arange(len(rows), dtype=np.int32), [len(part) for part in rows])
    starts = np.concatenate(([0], np.cumsum(np.bincount(row, minlength=sum(sizes)))))
    by_row = np.argsort(row, kind="stable")  # columns stay ascending within a row
    values = np.full(len(row), PRESENT, dtype=np.int8)
    return LabelMatrix(starts.astype(np.int64), column[by_row], values, len(vocabulary))


def _read_flags(path: Path, image_list: Path, size: int) -> NDArray[np.bool_]:
    """Which of the `size` images of `image_list` have the label whose file this is."""
    content = read_bytes(path)
    content = content.replace(b"\r", b"").replace(b" ", b"").rstrip(b"\n") + b"\n"
    characters = np.frombuffer(content, dtype=np.uint8)
    if len(characters) == 2 * size:
        flags, ends = characters[0::2] - ord("0"), characters[1::2]
        if (flags <= 1).all() and (ends == ord("\n")).all():
            return flags.astype(np.bool_)
    raise _flags_error(path, content, image_list, size)


def _flags_error(path: Path, content: bytes, image_list: Path, size: int) -> AnnotationError:
    lines = content.splitlines()
    for number, line in enumerate(lines, 1):
        if line not in (b"0", b"1"):
            shown = line[:20].decode("ascii", "backslashreplace")
            return AnnotationError.at(path, number, f"'{shown}' is a label; expected 0 or 1")
    message = f"the file has {len(lines):,} lines; {image_list} names {size:,} images"
    return AnnotationError.at(path, min(len(lines), size) + 1, message)
