"""The labelled images that a model is measured on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import normal_splits
from twlcli.annotations.detect import read_with
from twlcli.annotations.read_options import DEFAULTS, WHAT, ReadOptions
from twlcli.errors import TwlError, UnknownLabelError
from twlcli.labels import Vocabulary, some_of
from twlcli.runs.run_folder import Run, split_again

DEFAULT_SPLIT = "val"


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
    options: ReadOptions = DEFAULTS,
    *,
    splits: Path | str | None = None,
    ignore_unknown_labels: bool | None = None,
    whose: str = "the model's",
) -> Labelled:
    """The images to measure a model on.

    Args:
        model: a run folder, checkpoint or exported model.
        data: a label file or folder; None for what the run was trained on.
        split: as given; None for the run's validation split, of data for `val`, and for all where
            there are no splits.
        vocabulary: the model's labels.
        options: how to read the data.
        splits: a run folder, or a table of image and split; see `split_again`.
        ignore_unknown_labels: leave out labels that the model does not know; None is an error for
            them, which says so.
        whose: labels these are, in a note on those that the data do not know.

    Raises:
        TwlError: there are no data, they cannot be read, or have no such split or other labels.
    """
    if data is not None:
        annotations = _read(data, options, vocabulary, ignore_unknown_labels, whose)
        if splits is not None:
            annotations = split_again(annotations, splits)
        default = DEFAULT_SPLIT
    elif said := [WHAT[name] for name in options.given()] + ["splits"] * (splits is not None):
        raise TwlError(
            f"how to read labels is said ({', '.join(said)}), and no labels are named",
            hint="name them with {data}",
        )
    elif not model.is_dir():
        raise TwlError(
            f"{model}: does not say what it was trained on", hint="name the labels with {data}"
        )
    else:
        run = Run.open(model)
        annotations, default = run.data(), run.splits[1]
    name = normal_splits(split) if split is not None else _default_split(annotations, default)
    return Labelled(annotations.split(name), name)


def _read(
    data: Path | str,
    options: ReadOptions,
    vocabulary: Vocabulary,
    ignore_unknown: bool | None,
    whose: str,
) -> Annotations:
    """Labelled images in the model's vocabulary, with a note on labels that they do not know."""
    try:
        annotations = read_with(
            data, options, vocabulary=vocabulary, ignore_unknown=bool(ignore_unknown)
        )
    except UnknownLabelError as error:
        if ignore_unknown is not None:
            error.advise("{ignore_unknown_labels} leaves out what the model does not know")
        raise
    if not (missing := annotations.unlisted):
        return annotations
    note = (
        f"{len(missing):,} of {whose} {len(vocabulary):,} labels do not occur in "
        f"{annotations.source} and are in no score: {some_of(missing)}"
    )
    return replace(annotations, notes=(*annotations.notes, note))


def _default_split(annotations: Annotations, default: str) -> str:
    names = annotations.split_names()
    if not names:
        return "all"
    if not annotations.has_split(default):
        raise TwlError(
            f"{annotations.source}: there is no split '{default}'",
            hint=f"{{split}} can be {', '.join(names)} or all",
        )
    return default
