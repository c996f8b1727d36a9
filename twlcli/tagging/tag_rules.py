"""How a model's labels become the tags that are written: tag rules, read from TOML."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from twlcli.errors import TwlError, did_you_mean
from twlcli.io import parse_toml, read_short_text
from twlcli.labels import Vocabulary
from twlcli.tagging.tags import Tags

_KEYS = ("aliases", "groups", "implications", "never", "only", "prefix")


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
        try:
            table = parse_toml(read_short_text(path))
        except OSError as error:
            raise TwlError(f"{path}: cannot read the tag rules ({error.strerror})") from error
        except ValueError as error:
            raise TwlError(f"{path}: not a TOML file of tag rules ({error})") from error
        return cls.of(table, vocabulary, place=str(path))

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
            if lost := set(there[group.most :]):
                given = {
                    label: probability
                    for label, probability in given.items()
                    if label not in lost and lost.isdisjoint(self._above.get(label, ()))
                }
                closed = self._with_implied(given)
        written: dict[str, float] = {}
        for label, probability in closed.items():
            for name in self._written[label]:
                written[name] = max(probability, written.get(name, probability))
        names = sorted(written, key=lambda name: -written[name])
        return Tags(tags.image, tuple(names), tuple(written[name] for name in names))

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
    def _above(self) -> dict[str, tuple[str, ...]]:
        """For each label that implies others, all of them, the nearest first."""
        above: dict[str, tuple[str, ...]] = {}
        for label in TopologicalSorter(self.implications).static_order():
            if nearest := self.implications.get(label):
                further = (each for near in nearest for each in above.get(near, ()))
                above[label] = tuple(dict.fromkeys((*nearest, *further)))
        return above

    @cached_property
    def _known(self) -> tuple[str, ...]:
        """The model's labels, then those that only implications bring."""
        implied = (label for labels in self.implications.values() for label in labels)
        return tuple(dict.fromkeys((*self.labels, *implied)))

    @cached_property
    def _written(self) -> dict[str, tuple[str, ...]]:
        """For each label the names by which it is written, with the prefix; may be none."""
        return {
            label: tuple(
                self.prefix + name
                for name in self.aliases.get(label, (label,))
                if not _is_among(self.never, label, name)
                and (not self.only or _is_among(self.only, label, name))
            )
            for label in self._known
        }

    def _with_implied(self, given: dict[str, float]) -> dict[str, float]:
        closed = dict(given)
        for label, probability in given.items():
            for above in self._above.get(label, ()):
                closed[above] = max(probability, closed.get(above, probability))
        return closed

    def _check(self, place: str) -> None:
        """Raise TwlError for labels that are not known, circles and contradictions."""
        for label in self.implications:
            _check_known(label, self._known, f"{place}: implications")
        try:
            above = self._above
        except CycleError as error:
            circle = " → ".join(reversed(error.args[1]))
            raise TwlError(f"{place}: implications form a cycle: {circle}") from error
        for label in self.aliases:
            _check_known(label, self._known, f"{place}: aliases")
        for number, group in enumerate(self.groups, start=1):
            where = f"{place}: group {number}"
            for label in group.labels:
                _check_known(label, self._known, where)
            for label in self._known:
                both = [each for each in group.labels if each in (label, *above.get(label, ()))]
                if len(both) > 1:
                    raise TwlError(
                        f"{where}: '{both[0]}' and '{both[1]}' are exclusive, "
                        f"but '{label}' implies both"
                    )
        names = [name for label in self._known for name in (label, *self.aliases.get(label, ()))]
        for key, entries in (("never", self.never), ("only", self.only)):
            for entry in entries:
                if not any(_is_among([entry], name, name) for name in names):
                    _check_known(entry, names, f"{place}: {key}")


def _is_among(entries: Iterable[str], label: str, name: str) -> bool:
    return any(
        entry in (label, name) or fnmatchcase(label, entry) or fnmatchcase(name, entry)
        for entry in entries
    )


def _check_known(label: str, known: Iterable[str], where: str) -> None:
    known = list(known)
    if label not in known:
        what = "pattern" if any(sign in label for sign in "*?[") else "label"
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
