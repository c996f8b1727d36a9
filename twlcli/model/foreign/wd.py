"""Taggers of the Danbooru family: WD taggers with `selected_tags.csv`, CL taggers with a mapping.

As the programs of their authors read them: the image on white in the middle of a white square,
resized bicubically, blue first. The WD taggers take values from 0 to 255 and give probabilities;
the CL taggers take values from -1 to 1 and give logits.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from twlcli.errors import ModelError
from twlcli.io import parse_json
from twlcli.model.foreign.form import Described, Form, text_of
from twlcli.model.preprocessing import Preprocessing

TAGS = "selected_tags.csv"
MAPPING = "tag_mapping.json"

_COLUMNS = {"name", "category"}
_RATING = "9"
# Of `selected_tags.csv` by number, of a mapping by name; the thresholds are those of the authors'
# own pages. Names of ratings, such as `general`, are those of categories too.
_THRESHOLDS = {"0": 0.35, "4": 0.85, _RATING: 0.5}
_OTHERWISE = 0.35
_OF_CHARACTERS, _OF_RATINGS = 0.45, 0.5


def described_by_tags(path: Path, side: int) -> Described:
    """A WD tagger's model.

    Args:
        path: its `selected_tags.csv`.
        side: of the images that it takes, pixels.

    Raises:
        ModelError: the table is not there, or is another one.
    """
    labels, thresholds = [], []
    for line, row in enumerate(_rows(path), start=2):
        name, category = row["name"], row["category"]
        if not name or not category:
            raise ModelError(f"{path}:{line}: expected a name and a category")
        labels.append(f"rating:{name}" if category == _RATING else name)
        thresholds.append(_THRESHOLDS.get(category, _OTHERWISE))
    return Described(
        kind="WD tagger",
        labels=tuple(labels),
        preprocessing=_square(side, mean=0.0, std=1 / 255),
        form=Form(channels_first=False, is_bgr=True, gives="probabilities"),
        thresholds=tuple(thresholds),
        files=(path,),
    )


def _rows(path: Path) -> list[dict[str, str]]:
    table = csv.DictReader(io.StringIO(text_of(path), newline=""), restval="")
    try:
        rows = [dict(row) for row in table]
        header = table.fieldnames or ()
    except csv.Error as error:
        raise ModelError(f"{path}: cannot be read ({error})") from None
    if not set(header) >= _COLUMNS:
        raise ModelError(f"{path}: expected the columns tag_id, name, category and count")
    return rows


def described_by_mapping(path: Path, side: int) -> Described:
    """A CL tagger's model.

    Args:
        path: its `tag_mapping.json`.
        side: of the images that it takes, pixels.

    Raises:
        ModelError: the mapping is not there, or is another one.
    """
    tags = _tags(path)
    return Described(
        kind="CL tagger",
        labels=tuple(f"rating:{tag}" if category == "Rating" else tag for tag, category in tags),
        preprocessing=_square(side, mean=0.5, std=0.5),
        form=Form(channels_first=True, is_bgr=True, gives="logits"),
        thresholds=tuple(
            {"Character": _OF_CHARACTERS, "Rating": _OF_RATINGS}.get(category, _OTHERWISE)
            for _, category in tags
        ),
        files=(path,),
    )


def _tags(path: Path) -> list[tuple[str, str]]:
    """Tag and category of each output."""
    text = text_of(path)
    try:
        content: Any = parse_json(text)
        if "idx_to_tag" in content:
            names, categories = content["idx_to_tag"], content["tag_to_category"]
            content = {
                key: {"tag": name, "category": categories.get(name, "General")}
                for key, name in names.items()
            }
        by_number = {int(key): (each["tag"], each["category"]) for key, each in content.items()}
        found = [by_number[number] for number in range(len(by_number))]
        if not all(isinstance(text, str) for each in found for text in each):
            raise ValueError("a tag is no text")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path}: cannot be read as tags by their number ({type(error).__name__}: {error})"
        ) from None
    return found


def _square(side: int, *, mean: float, std: float) -> Preprocessing:
    return Preprocessing(side, side, "bicubic", (mean,) * 3, (std,) * 3, "pad")
