"""What earlier calls of a comparison left: whether it is of the same recipe, images and code."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from twlcli.annotations.csv_cells import image_of_cell, text_of_cell
from twlcli.errors import TwlError
from twlcli.io import parse_json, read_short_text, write_whole
from twlcli.model.user_code import source_digests
from twlcli.recipe import Recipe
from twlcli.runs.run_folder import SPLITS_NAME

_CODE_NAME = "code.json"  # in the folder of a run of the user's own code
_MAY_DIFFER = "schedule.validate_every"  # decides what is known of a run, not what it learns


def check_recipe(place: Path, wanted: Recipe, there: Recipe) -> None:
    """Raise TwlError where an earlier call trained under another recipe."""
    values = wanted.values()
    for key, value in there.values().items():
        if key != _MAY_DIFFER and (key not in values or value != values[key]):
            raise TwlError(
                f"{place}: was trained with {key} = {value}", hint="choose another {out}"
            )


def code_of(recipe: Recipe) -> dict[str, str]:
    """The digests of the user's own code that a recipe names."""
    return source_digests(recipe.model.backbone, recipe.loss.name)


def write_code(folder: Path, recipe: Recipe) -> None:
    """Keep with a run what its code is, if it has any."""
    if code := code_of(recipe):
        text = json.dumps(code, indent=1) + "\n"
        write_whole(folder / _CODE_NAME, lambda file: file.write(text.encode()))


def code_in(folder: Path) -> object:
    """What `write_code` left in the folder of a run."""
    path = folder / _CODE_NAME
    if not path.is_file():
        return {}
    with damage(path):
        return parse_json(read_short_text(path))


def check_code(place: Path, recipe: Recipe, before: object) -> None:
    """Raise TwlError where the user's own code was another one when an earlier call trained."""
    if before != code_of(recipe):
        names = " or ".join(code_of(recipe)) or "its code"
        raise TwlError(
            f"{place}: was trained when {names} was another one", hint="choose another {out}"
        )


def check_splits(folder: Path, wanted: Mapping[str, str]) -> None:
    """Raise TwlError where an earlier call trained on other images, such as those of a dry run."""
    path = folder / SPLITS_NAME
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file)
        found = {image_of_cell(row["image"]): text_of_cell(row["split"]) for row in rows}
        if found != wanted:
            raise other_images(folder)


@contextmanager
def damage(kept: Path) -> Iterator[None]:
    """Say of a file of the comparison that is not as it was written what to do about it."""
    try:
        yield
    except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise TwlError(
            f"{kept}: is damaged ({reason})", hint="remove it, and it is made again"
        ) from None


def other_images(place: Path) -> TwlError:
    """That an earlier call trained on other images."""
    return TwlError(f"{place}: was trained on other images", hint="choose another {out}")
