"""How a model's labels become the tags that are written: tag rules, read from TOML."""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import translate
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from twlcli.errors import TwlError, did_you_mean
from twlcli.io import read_toml
from twlcli.labels import Vocabulary
from twlcli.tagging.tags import Tags

_KEYS = ("aliases", "groups", "implications", "never", "only", "prefix")
_MOST_PATTERNS = 1000
_MOST_STEPS = 10_000_000  # of the look for groups that contradict implications
_SHOWN = 20  # labels of a circle


@dataclass(frozen=True)
class Group:
    """Labels that exclude each other: at most `most` of them are written."""

    labels: tuple[str, ...]
    most: int = 1


@dataclass(frozen=True)
class TagRules:
    """Changes the tags of an image, in this order:

    1. Implications: implied labels get at least the label's probability, transitively.
    2. Groups, in their order: the most probable stay (of equal ones, the first of the group). What
       loses is gone, with every label that implies it, and no longer implies anything.
    3. Aliases: a label is written by other names, one or several.
    4. `never` and `only`: a name is left out if it or its label is in `never`, or if there is an
       `only` and neither is in it. Such labels have implied and competed before.
    5. The prefix is put before every name.

    Of a name that comes from several labels the highest probability counts. Tags come out with
    the most probable first; equal ones as they came in, then implied ones. Without aliases and
    prefix a second application changes nothing.

    Attributes:
        labels: the model's labels.
        implications: label to the labels that it implies, which the model need not know.
        groups: labels that exclude each other.
        aliases: label to the names by which it is written.
        never: labels, written names or patterns (`*`, `?`, `[a-z]`) of either.
        only: the same.
        prefix: text before every name.
    """

    labels: tuple[str, ...]
    implications: Mapping[str, tuple[str, ...]]
    groups: tuple[Group, ...]
    aliases: Mapping[str, tuple[str, ...]]
    never: tuple[str, ...]
    only: tuple[str, ...]
    prefix: str

    @classmethod
    def read(cls, path: Path, vocabulary: Vocabulary) -> TagRules:
        """Read a file of tag rules for a model with these labels.

        Example:
            prefix = "auto:"
            never = ["person", "*weapon*"]
            only = ["animal", "dog", "day", "night"]
            [aliases]
            aeroplane = "airplane"
            cat = ["cat", "kitty"]
            [implications]
            dog = "animal"
            animal = ["living thing"]
            [[groups]]
            labels = ["day", "night"]
            most = 1

        Raises:
            TwlError: the file cannot be read; a key or label is not known, or a value is none of
                its key's; implications run in a circle, or contradict a group.
        """
        return cls.of(read_toml(path, "tag rules"), vocabulary, place=str(path))

    @classmethod
    def of(cls, table: Mapping[str, Any], vocabulary: Vocabulary, *, place: str) -> TagRules:
        """The rules of a TOML table; `place` starts its errors. Otherwise as `read`."""
        for key in table:
            if key not in _KEYS:
                known = did_you_mean(key, _KEYS) or f"; keys are {', '.join(_KEYS)}"
                raise TwlError(f"{place}: no key '{key}' in the tag rules{known}")
        rules = cls(
            labels=vocabulary.names,
            implications=_name_lists(table, "implications", place),
            groups=_groups(table, place),
            aliases=_name_lists(table, "aliases", place),
            never=_names(table.get("never", []), f"{place}: never"),
            only=_names(table.get("only", []), f"{place}: only"),
            prefix=_text(table.get("prefix", ""), f"{place}: prefix", may_be_empty=True),
        )
        rules._check(place)
        return rules

    def __call__(self, tags: Tags) -> Tags:
        """The tags to write in place of `tags`, whose labels are the model's."""
        given = dict(zip(tags.labels, tags.probabilities, strict=True))
        closed = self._with_implied(given)
        for group in self.groups:
            there = sorted(
                (label for label in group.labels if label in closed), key=lambda each: -closed[each]
            )
            if lost := there[group.most :]:
                for label in _reached(lost, self._below):
                    given.pop(label, None)
                closed = self._with_implied(given)
        written: dict[str, float] = {}
        for label, probability in closed.items():
            for name in self._written[label]:
                written[name] = max(probability, written.get(name, probability))
        names = sorted(written, key=lambda name: -written[name])
        probabilities = tuple(written[name] for name in names)
        return replace(tags, labels=tuple(names), probabilities=probabilities)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Every name that can be written."""
        names = (name for label in self._known for name in self._written[label])
        return Vocabulary(tuple(dict.fromkeys(names)))

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digits that differ between rules that differ."""
        groups = [[group.labels, group.most] for group in self.groups]
        names = [self.labels, self.implications, groups, self.aliases, self.never, self.only]
        text = json.dumps([*names, self.prefix], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    @cached_property
    def _below(self) -> dict[str, list[str]]:
        """For each label that is implied, those that imply it."""
        below: dict[str, list[str]] = {}
        for label, implied in self.implications.items():
            for each in implied:
                below.setdefault(each, []).append(label)
        return below

    @cached_property
    def _known(self) -> dict[str, None]:
        """The model's labels, then those that only implications bring."""
        implied = (label for labels in self.implications.values() for label in labels)
        return dict.fromkeys((*self.labels, *implied))

    @cached_property
    def _written(self) -> dict[str, tuple[str, ...]]:
        """For each label the names by which it is written, with the prefix; may be none."""
        never, only = _Entries(self.never), _Entries(self.only)
        return {
            label: tuple(
                self.prefix + name
                for name in self.aliases.get(label, (label,))
                if not (label in never or name in never)
                and (not self.only or label in only or name in only)
            )
            for label in self._known
        }

    def _with_implied(self, given: Mapping[str, float]) -> dict[str, float]:
        """Also the labels that these imply, with the highest probability that implies them.

        The most probable labels go first, so that each label is reached once.
        """
        closed = dict(given)
        reached: set[str] = set()
        for label in sorted(given, key=lambda each: -given[each]):
            for each in _reached([label], self.implications, reached):
                closed[each] = max(given[label], closed.get(each, 0.0))
        return closed

    def _check(self, place: str) -> None:
        """Raise TwlError for labels that are not known, circles and contradictions."""
        for label in self.implications:
            _check_known(label, self._known, f"{place}: implications")
        try:
            TopologicalSorter(self.implications).prepare()
        except CycleError as error:
            circle = error.args[1][: -_SHOWN - 1 : -1]
            more = " → …" if len(error.args[1]) > _SHOWN else ""
            message = f"implications form a cycle: {' → '.join(circle)}{more}"
            raise TwlError(f"{place}: {message}") from error
        for label in self.aliases:
            _check_known(label, self._known, f"{place}: aliases")
        steps = 0
        for number, group in enumerate(self.groups, start=1):
            where = f"{place}: group {number}"
            for label in group.labels:
                _check_known(label, self._known, where)
            implies: dict[str, str] = {}  # label to the one of the group that it implies or is
            for label in group.labels:
                for below in _reached([label], self._below):
                    steps += 1
                    if below in implies:
                        raise TwlError(
                            f"{where}: '{implies[below]}' and '{label}' are exclusive, "
                            f"but '{below}' implies both"
                        )
                    implies[below] = label
                if steps > _MOST_STEPS:
                    raise TwlError(f"{where}: too many groups of labels that many others imply")
        self._check_entries(place)

    def _check_entries(self, place: str) -> None:
        """Raise TwlError for entries of `never` and `only` that are no label, name or pattern."""
        aliases = (name for names in self.aliases.values() for name in names)
        names = dict.fromkeys((*self._known, *aliases))
        for key, entries in (("never", self.never), ("only", self.only)):
            where = f"{place}: {key}"
            if sum(map(_is_pattern, entries)) > _MOST_PATTERNS:
                raise TwlError(f"{where}: more than {_MOST_PATTERNS:,} patterns")
            for entry in entries:
                if entry not in names:
                    found = _Entries([entry])
                    if not (_is_pattern(entry) and any(name in found for name in names)):
                        _check_known(entry, names, where)


class _Entries:
    """Names and patterns; `in` asks whether a name is one of them or matches one."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._names = frozenset(entries)
        patterns = sorted(filter(_is_pattern, self._names))
        self._patterns = re.compile("|".join(map(translate, patterns))) if patterns else None

    def __contains__(self, name: str) -> bool:
        if name in self._names:
            return True
        return self._patterns is not None and self._patterns.match(name) is not None


def _is_pattern(entry: str) -> bool:
    return any(sign in entry for sign in "*?[")


def _reached(
    labels: Iterable[str], after: Mapping[str, Sequence[str]], before: set[str] | None = None
) -> Iterator[str]:
    """These labels and all that follow from them, the nearest first, each once.

    Args:
        labels: where to begin.
        after: for a label those that follow from it.
        before: what was reached before and is left out; takes what is reached now.

    Example:
        >>> list(_reached("a", {"a": "bc", "b": "d", "c": "d"}))
        ['a', 'b', 'c', 'd']
    """
    reached = set() if before is None else before
    waiting = deque(labels)
    while waiting:
        label = waiting.popleft()
        if label not in reached:
            reached.add(label)
            yield label
            waiting.extend(after.get(label, ()))


def _check_known(label: str, known: Collection[str], where: str) -> None:
    if label not in known:
        what = "pattern" if _is_pattern(label) else "label"
        missing = "matches no label" if what == "pattern" else "is not in the vocabulary"
        raise TwlError(f"{where}: {what} '{label}' {missing}{did_you_mean(label, known)}")


def _name_lists(table: Mapping[str, Any], key: str, place: str) -> dict[str, tuple[str, ...]]:
    lists = table.get(key, {})
    if not isinstance(lists, dict):
        raise TwlError(f"{place}: {key} is {_json(lists)}, expected a table [{key}]")
    result = {label: _names(names, f"{place}: {key}.{label}") for label, names in lists.items()}
    for label, names in result.items():
        if not names:
            raise TwlError(f"{place}: {key}.{label} is empty, expected a name or a list of names")
    return result


def _groups(table: Mapping[str, Any], place: str) -> tuple[Group, ...]:
    groups = table.get("groups", [])
    if not isinstance(groups, list) or not all(isinstance(each, dict) for each in groups):
        raise TwlError(f"{place}: groups is {_json(groups)}, expected tables [[groups]]")
    result = []
    for number, group in enumerate(groups, start=1):
        where = f"{place}: group {number}"
        for key in group:
            if key not in ("labels", "most"):
                hint = did_you_mean(key, ["labels", "most"])
                raise TwlError(f"{where}: no key '{key}' in a group{hint}")
        labels = _names(group.get("labels", []), f"{where}: labels")
        most = group.get("most", 1)
        if len(labels) < 2:
            raise TwlError(f"{where}: labels has {len(labels)}, expected at least 2")
        if type(most) is not int or not 1 <= most < len(labels):
            raise TwlError(f"{where}: most is {_json(most)}, expected 1 to {len(labels) - 1}")
        result.append(Group(labels, most))
    return tuple(result)


def _names(value: Any, where: str) -> tuple[str, ...]:
    """A name or a list of names, each once."""
    values = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(_text(each, where) for each in values))


def _text(value: Any, where: str, *, may_be_empty: bool = False) -> str:
    if not isinstance(value, str) or not value.isprintable() or not (value or may_be_empty):
        raise TwlError(f"{where} is {_json(value)}, expected text on one line")
    return value


def _json(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
