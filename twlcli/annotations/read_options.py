"""How a label file is read: one value for everything that can be said about it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from twlcli.errors import AnnotationError

# What each option is called in sentences.
WHAT = {
    "format": "a format",
    "images": "a folder of images",
    "coco_images": "a folder of COCO images",
    "separator": "a separator",
    "join_rows": "joining rows",
}


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

    def given(self) -> dict[str, Any]:
        """What is said, by name."""
        return {name: value for name in WHAT if (value := getattr(self, name)) is not None}

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


DEFAULTS = ReadOptions()
