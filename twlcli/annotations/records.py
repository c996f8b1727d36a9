"""Objects of JSON that describe an image each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from twlcli.annotations.builder import AnnotationBuilder
from twlcli.annotations.columns import IMAGE_COLUMNS, LABEL_COLUMNS, VERDICT_COLUMNS
from twlcli.annotations.label_names import LabelNames
from twlcli.annotations.list_cells import cell_splitter
from twlcli.annotations.marks import MISSING, mark_value
from twlcli.annotations.named_columns import normal_name
from twlcli.annotations.read_options import ReadOptions
from twlcli.annotations.rules import Rules
from twlcli.annotations.separators import CHOICES, JSON_LIST, find_separator
from twlcli.annotations.vectors import NOTE_OF_VECTORS, find_vectors
from twlcli.labels import ABSENT, some_of

Record = Mapping[str, Any]

_OWN_KEYS = frozenset(("vocabulary", "unknown", "split", "probabilities"))

_NO = {"no": ABSENT, "false": ABSENT}
_SMALL = 0.5  # a probability below it rather speaks against a label


class Records:
    """Adds records to a builder; see `jsonl.read_jsonl` for what they hold.

    All methods raise ValueError for a record that is wrong; who knows its place adds that.
    """

    def __init__(
        self,
        builder: AnnotationBuilder,
        options: ReadOptions,
        labels: Callable[[], Iterable[tuple[int, Any]]],
        *,
        of: Path,
        folder: str = "",
        split: str = "",
    ) -> None:
        """Begin with no record.

        Args:
            builder: where the images go.
            options: those that say where a record holds what.
            labels: gives the labels of every record with its place, which show what separates
                them in strings, and whether lists are vectors. It takes a pass over the file.
            of: the file, for notes and errors.
            folder: put before every image's path, empty or ending with `/`.
            split: the split of records that name none.
        """
        self._builder = builder
        self._options = options
        self._all_labels = labels
        self._of = of
        self._folder = folder
        self._split = split
        self._saw_small = False
        self._keys = dict[str, Any]()
        self._names = None if options.names is None else LabelNames.read(Path(options.names))
        if self._names is not None:
            builder.declare(self._names, line=None)

    def add(self, record: Record, line: int | None = None) -> None:
        """Add the image of a record."""
        builder, options = self._builder, self._options
        self._keys.update(record)
        image = _value(record, _own(options.image_column) or IMAGE_COLUMNS, "image")
        if not isinstance(image, str):
            raise ValueError(f"the image's path is {_kind(image)}, not a string")
        if record.get("vocabulary") is not None:
            builder.declare(_listed(record["vocabulary"], "vocabulary"), line=line)
        labels = self.labels_of(record)
        if not isinstance(labels, dict):
            _check_verdict(record)
        present, unknown = self._labels(labels)
        if record.get("unknown") is not None:
            unknown += builder.columns(self._label_names(record["unknown"], "unknown"))
        builder.add(
            self._folder + image if image else "",
            present,
            unknown,
            split=self._text(record, options.split_column, "split") or self._split,
            group=self._text(record, options.group_column, ""),
            line=line,
        )

    def note_unread(self) -> None:
        """Note the keys that hold nothing that was read."""
        options = self._options
        named = {options.image_column, options.labels_column, options.split_column}
        read = {*_OWN_KEYS, *named, options.group_column}
        usual = (*IMAGE_COLUMNS, *LABEL_COLUMNS)
        unread = [key for key in self._keys if key not in read and normal_name(key) not in usual]
        if unread:
            self._builder.note(f"keys that were not read: {some_of(unread)}")

    def labels_of(self, record: Record) -> Any:
        """The labels as the record has them."""
        try:
            return _value(record, _own(self._options.labels_column) or LABEL_COLUMNS, "labels")
        except ValueError as error:
            if self._options.labels_column is not None:
                raise
            marks = [key for key, value in record.items() if type(value) in (int, bool)]
            if not any(record[key] in (0, 1) for key in marks):
                raise
            example = json.dumps({"labels": {marks[0]: record[marks[0]]}})[1:-1]
            raise ValueError(f"{error}; 1 and 0 by label stand in an object, {example}") from error

    def _text(self, record: Record, key: str | None, usual: str) -> str:
        if key is not None and key not in record:
            raise ValueError(_no_key(record, key))
        value = record.get(key or usual)
        if key is not None and type(value) is int:
            value = str(value)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"'{key or usual}' is {_kind(value)}, not a string")
        return value or ""

    @cached_property
    def _split_text(self) -> Callable[[str], list[str]]:
        separator = self._options.separator
        if separator is None:
            strings = ((at, each) for at, each in self._all_labels() if isinstance(each, str))
            found = find_separator(strings, of=self._of, may_be_blank=self._names is None)
            for note in found.notes:
                self._builder.note(note)
            self._builder.rules.append(Rules(self._of, found.shown))
            separator = found.text
        split = cell_splitter(separator)
        if self._names is not None:
            return self._names.splitter(split)
        if separator in (JSON_LIST, CHOICES):
            return split
        return lambda cell: [self._builder.whole(text) for text in split(cell)]

    @cached_property
    def _read_vector(self) -> Callable[[object], list[str]] | None:
        if self._options.separator not in (None, JSON_LIST):
            return None
        labels = (labels for _, labels in self._all_labels())
        read = find_vectors(labels, self._of, self._names)
        if read is not None:
            self._builder.note(NOTE_OF_VECTORS)
        return read

    def _labels(self, labels: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if isinstance(labels, dict):
            return self._from_values(labels)
        if self._read_vector is not None:
            return self._builder.columns(self._read_vector(labels)), ()
        if isinstance(labels, str) and labels.strip() in MISSING:
            labels = None
        if isinstance(labels, str):
            return self._builder.columns(self._split_text(labels)), ()
        if _is_whole(labels):
            labels = [labels]
        names = self._label_names([] if labels is None else labels, "labels")
        return self._builder.columns(names), ()

    def _from_values(self, values: Record) -> tuple[tuple[int, ...], tuple[int, ...]]:
        present, unknown = [], []
        for key, value in values.items():
            if value is not None and not isinstance(value, int | float):
                raise ValueError(f"the value of label '{key}' is {_kind(value)}, not a number")
            name = key if self._names is None else self._names.name(key)
            # A label that is 0 everywhere is in the vocabulary all the same.
            self._builder.column(name)
            if value is None or value == -1:
                unknown.append(name)
            elif 0 < value <= 1:
                present.append(name)
                self._note_small(key, value)
            elif value != 0:
                raise ValueError(f"the value of label '{key}' is {value}; expected 0 to 1, or -1")
        return self._builder.columns(present), self._builder.columns(unknown)

    def _note_small(self, key: str, value: float) -> None:
        if value < _SMALL and not self._saw_small:
            self._saw_small = True
            self._builder.note(
                f"labels with any value above 0 were read as present, as '{key}' with {value}"
            )

    def _label_names(self, labels: Any, what: str) -> list[str]:
        if isinstance(labels, list) and any(map(_is_whole, labels)):
            labels = [str(int(label)) if _is_whole(label) else label for label in labels]
            if self._names is None:
                self._builder.note("numbers became the names of labels; a file can name them")
        texts = _listed(labels, what)
        if self._names is None:
            return texts
        return [self._names.name(text.strip()) for text in texts]


def _check_verdict(record: Record) -> None:
    """Raise ValueError where a record says of its labels that they are not present."""
    for key, value in record.items():
        is_no = value is not None and mark_value(str(value).casefold(), _NO) == ABSENT
        if is_no and normal_name(key) in VERDICT_COLUMNS:
            said = f"'{key}' is {json.dumps(value)}, as if its labels were absent"
            example = json.dumps({"labels": {"dog": 0}})[1:-1]
            raise ValueError(f"{said}; an object says so as {example}")


def _own(key: str | None) -> tuple[str, ...]:
    return () if key is None else (key,)


def _value(record: Record, names: tuple[str, ...], what: str) -> Any:
    for name in names:
        if name in record:
            return record[name]
    if len(names) > 1:  # none was named, and what it is called may be written in another way
        keys = {normal_name(key): key for key in reversed(list(record))}
        for name in names:
            if name in keys:
                return record[keys[name]]
    raise ValueError(_no_key(record, what if len(names) > 1 else names[0]))


def _no_key(record: Record, what: str) -> str:
    there = ", ".join(f"'{key}'" for key in list(record)[:6]) or "none"
    return f"there is no key '{what}' (keys: {there})"


def _listed(names: Any, what: str) -> list[str]:
    if not isinstance(names, list):
        raise ValueError(f"'{what}' is {_kind(names)}, not a list of label names")
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"'{what}' holds {json.dumps(name)}, which is not a label name")
    return names


def _is_whole(value: object) -> bool:
    """Whether a value is a whole number, the class of an image."""
    return type(value) is int or (type(value) is float and value.is_integer())


def _kind(value: Any) -> str:
    return {
        type(None): "null",
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
    }.get(type(value), "an object")
