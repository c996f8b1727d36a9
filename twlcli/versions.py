"""The version in the files that twl writes, and one rule for reading files of another version.

A key never changes its meaning: with a new meaning comes a new name, and with that a new version.
So every known key of a file means what this twl takes it for, whatever the file's version:

* An older file's keys are read under their present names. A key that it lacks has its default.
* A newer file is read where this twl knows all of its keys. Those that it does not know are named
  in the error, which asks for an upgrade.
* A key that is not known in a file of the same or an older version is a mistake.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rename:
    """A key that got another name.

    Attributes:
        version: the first version that has the new name.
        old: the name in older files: `key`, or `table.key`.
        new: the name since then, in the same form.
    """

    version: int
    old: str
    new: str


@dataclass(frozen=True)
class FileFormat:
    """A kind of file with a version.

    Attributes:
        name: for error messages.
        version: that this twl writes.
        renames: oldest first.
    """

    name: str
    version: int
    renames: tuple[Rename, ...] = ()

    def opened(self, tables: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """A file's version, and its other keys under the names that they have today.

        Args:
            tables: the file's content; without a `version` it is of 0, older than every other.

        Raises:
            ValueError: the version is not a whole number, or a key is there under both names.

        Example:
            >>> renames = (Rename(2, "train.rate", "optimizer.learning_rate"),)
            >>> FileFormat("recipe", 2, renames).opened({"version": 1, "train": {"rate": 0.1}})
            (1, {'optimizer': {'learning_rate': 0.1}})
        """
        renamed = copy.deepcopy(dict(tables))
        version = renamed.pop("version", 0)
        if type(version) is not int or version < 0:
            raise ValueError(f"version is {version!a}, expected a whole number")
        for rename in self.renames:
            if version < rename.version:
                _apply(rename, renamed)
        return version, renamed

    def newer(self, version: int, unknown: Sequence[str] = ()) -> str:
        """What to say of a file that this twl cannot read; empty where the file is not newer.

        Example:
            >>> FileFormat("recipe", 1).newer(3, ["loss.tilt"])
            'written by a newer twl (recipe version 3; this one reads 1); unknown keys: loss.tilt; upgrade twlcli'
        """  # noqa: E501 (a message is one line)
        if version <= self.version:
            return ""
        keys = f"unknown keys: {', '.join(unknown)}; " if unknown else ""
        return (
            f"written by a newer twl ({self.name} version {version}; "
            f"this one reads {self.version}); {keys}upgrade twlcli"
        )


def unknown_keys(
    tables: Mapping[str, Any], known: Mapping[str, Collection[str] | None]
) -> list[str]:
    """The keys of a file that are not known, in its order; those of a table as `table.key`.

    Args:
        tables: the file's content.
        known: every key. With a table come the table's own keys; None looks into no table.

    Example:
        >>> unknown_keys({"a": {"b": 1, "c": 2}, "d": 3}, {"a": ["b"]})
        ['a.c', 'd']
    """
    found = []
    for name, table in tables.items():
        keys = known.get(name)
        if name not in known:
            found.append(name)
        elif keys is not None and isinstance(table, Mapping):
            found += [f"{name}.{key}" for key in table if key not in keys]
    return found


def _apply(rename: Rename, tables: dict[str, Any]) -> None:
    """Move a key to its new place, and remove a table that it leaves empty."""
    section, _, old = rename.old.rpartition(".")
    source = tables.get(section) if section else tables
    if not isinstance(source, dict) or old not in source:
        return
    section_now, _, new = rename.new.rpartition(".")
    target = tables.setdefault(section_now, {}) if section_now else tables
    if not isinstance(target, dict):
        return  # a value where a table belongs is refused by whoever reads the table
    if new in target:
        raise ValueError(f"has '{rename.new}' and also '{rename.old}', its name in older versions")
    target[new] = source.pop(old)
    if not source:
        del tables[section]
