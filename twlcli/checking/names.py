"""Label names that are likely to mean the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

# Letters that look like a Latin one, from the Unicode Consortium's confusables.txt (UTS 39): those
# of Greek and Cyrillic in lower case, and the digits that are taken for letters.
_LATIN = str.maketrans(
    "авеіјкмнорԛстухһѕԁԝꙇ" + "αγικνορτυχ" + "01ⅼı",
    "abeijkmhopqctyxhsdwi" + "ayiknoptux" + "olli",
)


@dataclass(frozen=True)
class Alike:
    """Labels whose names are likely to mean the same.

    Attributes:
        names: two or more.
        differ_by: in what they differ, such as `upper and lower case`.
    """

    names: tuple[str, ...]
    differ_by: str


def alike_names(names: Iterable[str]) -> list[Alike]:
    """Groups of names that differ in little; each name is in one at most, that of the least.

    Example:
        >>> [alike.names for alike in alike_names(["fire truck", "Fire_Truck", "dog", "dogs"])]
        [('fire truck', 'Fire_Truck'), ('dog', 'dogs')]
    """
    remaining = list(dict.fromkeys(names))
    found = []
    for differ_by, key in _KEYS:
        groups: dict[str, list[str]] = {}
        for name in remaining:
            groups.setdefault(key(name), []).append(name)
        alike = [Alike(tuple(group), differ_by) for group in groups.values() if len(group) > 1]
        gone = {name for each in alike for name in each.names}
        remaining = [name for name in remaining if name not in gone]
        found += alike
    return found


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _compatible(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip()


def _cased(name: str) -> str:
    return unicodedata.normalize("NFKC", _compatible(name).casefold())


def _joined(name: str) -> str:
    return re.sub(r"[\s_\-‐-―]+", "", _cased(name)) or _cased(name)


def _looks(name: str) -> str:
    return _joined(name).translate(_LATIN)


def _singular(name: str) -> str:
    joined = _joined(name)
    is_plural = len(joined) > 3 and joined.endswith("s") and not joined.endswith("ss")
    return joined[:-1] if is_plural else joined


_KEYS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("Unicode form", _normal),
    ("Unicode form", _compatible),
    ("upper and lower case", _cased),
    ("blanks, - or _", _joined),
    ("letters that look alike", _looks),
    ("a plural s", _singular),
)
