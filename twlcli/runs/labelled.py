"""The labelled images that a model is measured on."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import normal_split
from twlcli.annotations.detect import read_labels
from twlcli.errors import TwlError
from twlcli.labels import Vocabulary
from twlcli.runs.run_folder import Run, split_again

DEFAULT_SPLIT = "val"


@dataclass(frozen=True)
class ReadOptions:
    """How labels are read; see `read_labels` and `split_again`. None where nothing was said."""

    format: str | None = None
    images: Path | str | None = None
    coco_images: Path | str | None = None
    separator: str | None = None
    splits: Path | str | None = None
    join_rows: bool | None = None


@dataclass(frozen=True)
class Labelled:
    """Labelled images and the name of their split."""

    annotations: Annotations
    split: str


def open_labelled(
    model: Path,
    data: Path | str | None,
    split: str | None,
    vocabulary: Vocabulary,
    options: ReadOptions | None = None,
) -> Labelled:
    """The images to measure a model on.

    Args:
        model: a run folder, checkpoint or exported model.
        data: a label file or folder; None for what the run was trained on.
        split: as given; None for the run's validation split, of data for `val`, and for all where
            there are no splits.
        vocabulary: the model's labels.
        options: how to read the data.

    Raises:
        TwlError: there are no data, they cannot be read, or have no such split or other labels.
    """
    options = options or ReadOptions()
    if data is not None:
        annotations = read_labels(
            data,
            format=options.format,
            images=options.images,
            coco_images=options.coco_images,
            separator=options.separator,
            join_rows=bool(options.join_rows),
            vocabulary=vocabulary,
        )
        if options.splits is not None:
            annotations = split_again(annotations, options.splits)
        default = DEFAULT_SPLIT
    elif any(value is not None for value in astuple(options)):
        raise TwlError(
            "a format, a folder of images, a separator, joined rows and splits say how to read "
            "labels, and no labels are named",
            hint="name them with {data}",
        )
    elif not model.is_dir():
        raise TwlError(
            f"{model}: does not say what it was trained on", hint="name the labels with {data}"
        )
    else:
        run = Run.open(model)
        annotations, default = run.data(), run.splits[1]
    name = normal_split(split) if split is not None else _default_split(annotations, default)
    return Labelled(annotations.split(name), name)


def _default_split(annotations: Annotations, default: str) -> str:
    names = annotations.split_names()
    if not names:
        return "all"
    if default not in names:
        raise TwlError(
            f"{annotations.source}: there is no split '{default}'",
            hint=f"{{split}} can be {', '.join(names)} or all",
        )
    return default
