"""Names of labels that a label file knows by number alone, from a file of their own."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from twlcli.annotations.builder import normal_label
from twlcli.annotations.data_yaml import yaml_values
from twlcli.annotations.encoding import json_fault, read_text
from twlcli.annotations.named_columns import normal_name
from twlcli.errors import AnnotationError
from twlcli.io import parse_json

_NUMBER = re.compile(r"(\d{1,18})(\.0)?")
_NUMBERS = re.compile(r"\d+(\s+\d+)+")
_NUMBER_FIRST = re.compile(r"(?P<number>\d{1,18})\s*[\s,;:]\s*(?P<name>\S.*)")
_NUMBER_LAST = re.compile(r"(?P<name>.*\S)\s*[\t,;:]\s*(?P<number>\d{1,18})")
_HEADER = re.compile(
    r"#.*|ids?[,;\t].*|.*[,;\t]\s*ids?|((class|label)[ _]?)?names?|labels?|class(es)?"
    r"|categor(y|ies)",
    re.IGNORECASE,
)
# Columns of a table of names, by `normal_name`; the first that is there.
_NUMBER_COLUMNS = ("id", "index", "number", "idx", "classid", "labelid", "classindex")
_NAME_COLUMNS = ("name", "label", "class", "classname", "labelname")
_TITLE = re.compile(r"#.*|(id|index|number)\s+(name|label|class)", re.IGNORECASE)
_KEYS = ("names", "id2label")  # under which a JSON object holds names beside other things


@dataclass(frozen=True)
class LabelNames:
    """Names by number.

    Attributes:
        path: the file that they stand in.
        by_number: in ascending order of the numbers.
    """

    path: Path
    by_number: dict[int, str]

    @classmethod
    def read(cls, path: Path) -> LabelNames:
        """Read a text file with a name on each line, beginning with number 0; JSON; or YAML.

        Every line of the text may also have its number, before or behind the name. Of a table whose
        header has columns such as `id` and `name` these two are read.
        JSON holds a list of names, an object of names by number or numbers by name, or one of these
        under `names` or `id2label`. Of YAML the key `names` is read, as data sets for YOLO have it.

        Raises:
            AnnotationError: the file cannot be read, or holds no such names.
        """
        suffix, text = path.suffix.lower(), read_text(path)
        if suffix == ".json":
            names = _from_json(path, text)
        elif suffix in (".yaml", ".yml"):
            names = _from_yaml(path, text)
        else:
            names = _from_text(path, text)
        if not names:
            raise AnnotationError(f"{path}: holds no names")
        if empty := [number for number, name in names.items() if not name]:
            raise AnnotationError(f"{path}: the name of number {empty[0]} is empty")
        first = dict[str, int]()
        for number, name in names.items():
            if (before := first.setdefault(normal_label(name), number)) != number:
                message = f"the numbers {before} and {number} have the same name '{name}'"
                raise AnnotationError(f"{path}: {message}")
        return cls(path, dict(sorted(names.items())))

    def __len__(self) -> int:
        return len(self.by_number)

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_number.values())

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.by_number.values())

    def name(self, text: str) -> str:
        """The name of a number; a name stays as it is.

        Raises:
            ValueError: it is neither.
        """
        number = _NUMBER.fullmatch(text)
        if number and int(number[1]) in self.by_number:
            return self.by_number[int(number[1])]
        if text in self._known:
            return text
        first, last = min(self.by_number), max(self.by_number)
        message = f"'{text[:60]}' is no label of {self.path}, which has {first} to {last}"
        raise ValueError(message)

    def splitter(self, split_cell: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
        """From a cell to its labels' names; whole numbers may also stand between blanks."""

        def split(cell: str) -> list[str]:
            names: list[str] = []
            for text in filter(None, map(str.strip, split_cell(cell))):
                names += map(self.name, text.split() if _NUMBERS.fullmatch(text) else [text])
            return names

        return split


def _from_text(path: Path, text: str) -> dict[int, str]:
    for delimiter in ",;\t":
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            header = list(map(normal_name, next(reader, [])))
            number_at, name_at = _place(header, _NUMBER_COLUMNS), _place(header, _NAME_COLUMNS)
            if number_at is not None and name_at is not None:
                return _from_rows(path, reader, number_at, name_at)
        except csv.Error as error:
            message = f"the quotes in this row do not match ({error})"
            raise AnnotationError.at(path, max(reader.line_num, 1), message) from error
    names = _from_lines(path, [line.strip() for line in text.rstrip().splitlines()])
    between = ",;\t" if path.suffix.lower() in (".csv", ".tsv") else ""
    for name in names.values():
        if '"' in (name[:1], name[-1:]) or any(sign in name for sign in between):
            message = f"'{name[:60]}' is no name alone; expected columns 'id' and 'name'"
            raise AnnotationError(f"{path}: {message}", hint="name them in the first line")
    return names


def _place(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _from_rows(
    path: Path, rows: Iterator[list[str]], number_at: int, name_at: int
) -> dict[int, str]:
    """The names in the rows of a table below its header."""
    names = dict[int, str]()
    for line, row in enumerate(rows, start=2):
        if not any(row):
            continue
        number = _NUMBER.fullmatch(row[number_at].strip()) if len(row) > number_at else None
        if number is None or len(row) <= name_at:
            message = f"'{', '.join(row)[:60]}' has no number and name where the header has them"
            raise AnnotationError.at(path, line, message)
        if int(number[1]) in names:
            raise AnnotationError.at(path, line, f"the number {number[1]} has two names")
        names[int(number[1])] = row[name_at].strip()
    return names


def _from_lines(path: Path, lines: Sequence[str]) -> dict[int, str]:
    """The names on lines, by their numbers where every line has one."""
    start = 1 if lines and _TITLE.fullmatch(lines[0]) else 0
    for pattern in (_NUMBER_FIRST, _NUMBER_LAST):
        pairs = [pattern.fullmatch(line) for line in lines]
        found = {int(each["number"]): each["name"] for each in pairs[start:] if each}
        if len(pairs) > start + 1 and len(found) == len(pairs) - start:
            return found
        if len(pairs) > 2 and not pairs[0] and all(pairs[1:]):
            raise _no_header(path, lines[0])
    if lines and _HEADER.fullmatch(lines[0]):
        raise _no_header(path, lines[0])
    return dict(enumerate(lines))


def _no_header(path: Path, line: str) -> AnnotationError:
    message = f"'{line[:60]}' looks like a header, and would be the name of number 0"
    return AnnotationError.at(path, 1, message, hint="remove the line, or name columns id and name")


def _from_json(path: Path, text: str) -> dict[int, str]:
    try:
        content = parse_json(text)
    except json.JSONDecodeError as error:
        raise AnnotationError.at(path, error.lineno, f"not valid JSON ({error.msg})") from None
    except ValueError as error:
        raise AnnotationError(f"{path}: cannot read its JSON: {json_fault(error)}") from None
    if isinstance(content, dict):
        inside = (content[key] for key in _KEYS if isinstance(content.get(key), dict | list))
        content = next(inside, content)
    names = _by_number(content)
    if names is None:
        raise AnnotationError(
            f'{path}: expected a list of names, or an object such as {{"0": "dog"}} or {{"dog": 0}}'
        )
    return names


def _by_number(content: Any) -> dict[int, str] | None:
    if isinstance(content, list):
        pairs = list(enumerate(content))
    elif not isinstance(content, dict):
        return None
    elif all(type(number) is int for number in content.values()):
        pairs = [(number, name) for name, number in content.items()]
    elif all(key.isdecimal() for key in content):
        pairs = [(int(key), name) for key, name in content.items()]
    else:
        return None
    names = dict(pairs)
    if len(names) < len(pairs) or not all(isinstance(name, str) for name in names.values()):
        return None
    return {number: name.strip() for number, name in names.items()}


def _from_yaml(path: Path, text: str) -> dict[int, str]:
    """The names below the key `names`."""
    names = yaml_values(path, text, ("names",)).get("names")
    if names is None:
        raise AnnotationError(f"{path}: has no key 'names'")
    if isinstance(names, str):
        raise AnnotationError(f"{path}: 'names' is '{names[:60]}'; expected a list of names")
    return dict(enumerate(names)) if isinstance(names, list) else names
