"""The options that say how labels are read: each declared once, for every command that reads them.

A command takes them as one parameter `reading`, see `with_label_options`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from twlcli.annotations.read_options import Meaning, ReadOptions


@dataclass(frozen=True)
class LabelOption:
    """An option of the command line.

    Attributes:
        flag: its name with dashes.
        type: of its value; None is added.
        help: what `--help` says.
        metavar: what stands for its value; None for a switch.
    """

    flag: str
    type: Any
    help: str
    metavar: str | None = None

    def annotation(self) -> Any:
        """The annotation of a parameter, as typer understands it."""
        option = typer.Option(self.flag, metavar=self.metavar, help=self.help, show_default=False)
        return Annotated[self.type | None, option]


LABEL_OPTIONS = {
    "format": LabelOption(
        "--format",
        str,
        "Format of the labels: csv, tsv, parquet, xlsx, jsonl, json, label-studio, imagefolder, "
        "coco, yolo, voc, nus-wide, sidecars, keywords or folders [default: detected]",
        "NAME",
    ),
    "images": LabelOption(
        "--images",
        Path,
        "Folder that image paths are relative to [default: the folder of the label file]",
        "DIR",
    ),
    "coco_images": LabelOption(
        "--coco-images", Path, "Folder with the images of a COCO file.", "DIR"
    ),
    "separator": LabelOption(
        "--separator",
        str,
        "Separator between the labels in a cell, or json [default: the first of | ; , found, "
        "or blanks]",
        "TEXT",
    ),
    "join_rows": LabelOption(
        "--join-rows",
        bool,
        "An image may have several rows of a table, each with some of its labels.",
    ),
    "image_column": LabelOption(
        "--image-column", str, "Column of a table, or key in JSON, that holds the images.", "NAME"
    ),
    "labels_column": LabelOption(
        "--labels-column", str, "Column or key that holds the list of labels.", "NAME"
    ),
    "label_columns": LabelOption(
        "--label-columns",
        str,
        "Columns that hold 1 and 0 for a label each: names, ranges first:last and patterns such as "
        "'label_*', separated by commas.",
        "LIST",
    ),
    "ignore_columns": LabelOption(
        "--ignore-columns", str, "Columns not to read, in the form of --label-columns.", "LIST"
    ),
    "split_column": LabelOption(
        "--split-column", str, "Column or key that holds the split.", "NAME"
    ),
    "group_column": LabelOption(
        "--group-column",
        str,
        "Column or key that holds what images belong to, such as a patient: held-out images are "
        "drawn so that no group is parted.",
        "NAME",
    ),
    "ignore_labels": LabelOption(
        "--ignore-label",
        list[str],
        "Leave out this label, or all that a pattern with * and ? matches (repeatable).",
        "NAME",
    ),
    "min_images": LabelOption(
        "--min-images",
        int,
        "Leave out labels that fewer images have [default: 20 for keywords, otherwise none]",
        "N",
    ),
    "blank": LabelOption(
        "--blank",
        Meaning,
        "Meaning of empty cells in columns of labels: absent or unknown [default: unknown in "
        "columns with a 0]",
        "absent|unknown",
    ),
    "minus_one": LabelOption(
        "--minus-one",
        Meaning,
        "Meaning of -1 in columns of labels: absent or unknown [default: unknown in tables with a "
        "0]",
        "absent|unknown",
    ),
    "extension": LabelOption(
        "--extension", str, "Ending of image names that have none, such as .jpg.", "TEXT"
    ),
    "names": LabelOption(
        "--names",
        Path,
        "Names for labels that are numbers: one on each line, beginning with 0; or JSON; or YAML "
        "with a key names.",
        "FILE",
    ),
    "people": LabelOption(
        "--people",
        bool,
        "Of photographs' keywords: the names of the people in them are labels too.",
    ),
    "own_keywords": LabelOption(
        "--own-keywords", bool, "With keywords of photographs, those that twl added count too."
    ),
    "val_data": LabelOption(
        "--val-data", Path, "Label file or folder of the validation split, beside DATA.", "DATA"
    ),
    "test_data": LabelOption(
        "--test-data", Path, "Label file or folder of the test split, beside DATA.", "DATA"
    ),
    "corrections": LabelOption(
        "--corrections",
        Path,
        "What was corrected: a table of image, label and verdict (present, absent or unknown), as "
        "the page of eval --report saves it.",
        "FILE",
    ),
}


def with_label_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with these options in the place of its parameter `reading`.

    Typer and the documentation read the signature of what comes back; the command is called with
    their values as one `ReadOptions`.
    """
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if parameter.name == "reading":
            parameters += [
                parameter.replace(name=name, annotation=option.annotation(), default=None)
                for name, option in LABEL_OPTIONS.items()
            ]
        else:
            parameters.append(parameter)

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        reading = ReadOptions(**{name: _plain(values.pop(name)) for name in LABEL_OPTIONS})
        command(**values, reading=reading)

    annotations = {each.name: each.annotation for each in parameters}
    with_options.__annotations__ = {**annotations, "return": None}
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return with_options


def _plain(value: Any) -> Any:
    """A value; None where nothing was given."""
    if isinstance(value, list):
        value = tuple(value)
    return None if value in (False, ()) else value


def flags_of(reading: ReadOptions) -> dict[str, Any]:
    """The values given, by flag without its dashes."""
    return {LABEL_OPTIONS[name].flag[2:]: value for name, value in reading.given().items()}
