"""Images beside a table: Hugging Face's `metadata.jsonl` or `.csv`, Roboflow's `_classes.csv`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import SPLIT_NAMES, AnnotationBuilder
from twlcli.annotations.encoding import readable
from twlcli.annotations.jsonl import add_jsonl
from twlcli.annotations.read_options import DEFAULTS, OF_RECORDS, OF_TABLES, ReadOptions
from twlcli.annotations.table import add_table
from twlcli.errors import AnnotationError

METADATA_NAMES = ("metadata.jsonl", "metadata.csv", "_classes.csv")


def is_imagefolder(path: Path) -> bool:
    """Whether a folder, or a sub-folder named after a split, holds a metadata file."""
    return path.is_dir() and next(_metadata(path), None) is not None


def read_imagefolder(path: Path, options: ReadOptions = DEFAULTS) -> Annotations:
    """Read a folder with `metadata.*`, or with `train/metadata.*`, `val/metadata.*` and such.

    A metadata file is a table or JSON Lines file whose image column is `file_name`, relative to
    the metadata's own folder; Roboflow calls it `_classes.csv`. The sub-folder is the split
    where the file names none, also that of images in a single file's `train/a.jpg`.

    Raises:
        AnnotationError: there is no metadata file, or one is wrong; names its line.
    """
    files = list(_metadata(path))
    if not files:
        names = " or ".join(METADATA_NAMES)
        raise AnnotationError(f"{path}: holds no {names}, nor do sub-folders named after splits")
    builder = AnnotationBuilder(path, format_name="imagefolder", root=path)
    for file in files:
        builder.begin_file(file)
        split = "" if file.parent == path else file.parent.name
        folder = f"{split}/" if split else ""
        is_jsonl = file.suffix == ".jsonl"
        options.check(file, file.suffix[1:], OF_RECORDS if is_jsonl else OF_TABLES)
        add = add_jsonl if is_jsonl else add_table
        add(builder, file, options, folder=folder, split=split)
    return _with_splits_of_folders(builder.finish())


def _with_splits_of_folders(annotations: Annotations) -> Annotations:
    """With the folders `train/`, `val/` and such as splits, where nothing else names any."""
    folders = [image.partition("/")[0] for image in annotations.images]
    splits = tuple(SPLIT_NAMES.get(folder.casefold(), "") for folder in folders)
    if any(annotations.splits) or not all(splits):
        return annotations
    return replace(annotations, splits=splits)


def _metadata(path: Path) -> Iterator[Path]:
    with readable(path):
        folders = [entry for entry in path.iterdir() if entry.name.casefold() in SPLIT_NAMES]
    order = list(SPLIT_NAMES)
    folders.sort(key=lambda folder: (order.index(folder.name.casefold()), folder.name))
    for folder in [path, *folders]:
        found = [folder / name for name in METADATA_NAMES if (folder / name).is_file()]
        yield from found[:1]
