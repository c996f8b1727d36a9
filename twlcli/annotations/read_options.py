"""How a label file is read: one value for everything that can be said about it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

from twlcli.errors import AnnotationError

# What each option is called in sentences.
WHAT = {
    "format": "a format",
    "images": "a folder of images",
    "coco_images": "a folder of COCO images",
    "separator": "a separator",
    "join_rows": "joining rows",
    "image_column": "an image column",
    "labels_column": "a column of lists",
    "label_columns": "a choice of label columns",
    "ignore_columns": "a choice of columns to ignore",
    "split_column": "a split column",
    "group_column": "a group column",
    "ignore_labels": "labels to ignore",
    "min_images": "a smallest number of images for a label",
    "blank": "the meaning of empty cells",
    "minus_one": "the meaning of -1",
    "extension": "an ending of image names",
    "names": "a file of label names",
    "people": "the people in photographs",
    "own_keywords": "keywords that twl added",
    "val_data": "a label file of the validation split",
    "test_data": "a label file of the test split",
    "corrections": "a file of corrections",
}
# Those that mean something to every format, to objects of JSON, and to tables.
EVERY = frozenset(("format", "ignore_labels", "min_images", "val_data", "test_data", "corrections"))
OF_RECORDS = EVERY | {
    *("images", "separator", "image_column", "labels_column", "split_column", "group_column"),
    *("extension", "names"),
}
OF_TABLES = OF_RECORDS | {"join_rows", "label_columns", "ignore_columns", "blank", "minus_one"}

Meaning = Literal["absent", "unknown"]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What is said about a label file; None where nothing is. `detect.read_labels` explains each.

    An option is declared here and in `ReadKeywords` for Python, in `cli.label_options` for the
    command line, and in `recipe.DataRecipe` for recipes, under the same name.
    """

    format: str | None = None
    images: Path | str | None = None
    coco_images: Path | str | None = None
    separator: str | None = None
    join_rows: bool | None = None
    image_column: str | None = None
    labels_column: str | None = None
    label_columns: str | None = None
    ignore_columns: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    ignore_labels: Sequence[str] | None = None
    min_images: int | None = None
    blank: Meaning | None = None
    minus_one: Meaning | None = None
    extension: str | None = None
    names: Path | str | None = None
    people: bool | None = None
    own_keywords: bool | None = None
    val_data: Path | str | None = None
    test_data: Path | str | None = None
    corrections: Path | str | None = None

    def given(self) -> dict[str, Any]:
        """What is said, by name."""
        values = {name: getattr(self, name) for name in WHAT}
        return {
            name: each for name, each in values.items() if each is not None and each is not False
        }

    def check(self, path: Path, name: str, understood: Collection[str]) -> None:
        """Raise AnnotationError for what means nothing to a format, or cannot be.

        Args:
            path: the label file or folder.
            name: of the format.
            understood: the options that mean something to it.
        """
        for option in self.given():
            if option not in understood:
                raise AnnotationError(
                    f"{path}: {WHAT[option]} does not apply to the format '{name}'",
                    hint=f"leave out {{{option}}}",
                )
        if self.separator == "":
            raise AnnotationError("the separator is empty")
        if self.min_images is not None and self.min_images < 1:
            raise AnnotationError(f"{WHAT['min_images']} is {self.min_images}; expected 1 or more")
        for value, option in ((self.blank, "blank"), (self.minus_one, "minus_one")):
            if value is not None and value not in get_args(Meaning):
                expected = " or ".join(get_args(Meaning))
                raise AnnotationError(f"{WHAT[option]} is '{value}'; expected {expected}")
        for folder in (self.images, self.coco_images):
            if folder is not None and not Path(folder).is_dir():
                raise AnnotationError(f"{folder}: there is no such folder of images")


class ReadKeywords(TypedDict, total=False):
    """The options as keywords of a function."""

    format: str | None
    images: Path | str | None
    coco_images: Path | str | None
    separator: str | None
    join_rows: bool | None
    image_column: str | None
    labels_column: str | None
    label_columns: str | None
    ignore_columns: str | None
    split_column: str | None
    group_column: str | None
    ignore_labels: Sequence[str] | None
    min_images: int | None
    blank: Meaning | None
    minus_one: Meaning | None
    extension: str | None
    names: Path | str | None
    people: bool | None
    own_keywords: bool | None
    val_data: Path | str | None
    test_data: Path | str | None
    corrections: Path | str | None


DEFAULTS = ReadOptions()
