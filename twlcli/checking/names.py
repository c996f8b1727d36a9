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
        differ_by: in what they differ, such as `upper and lower case`; several with `;` between.
    """

    names: tuple[str, ...]
    differ_by: str


def alike_names(names: Iterable[str]) -> list[Alike]:
    """Groups of names that differ in little.

    Example:
        >>> [alike.names for alike in alike_names(["fire truck", "Fire_Truck", "dog", "dogs"])]
        [('fire truck', 'Fire_Truck'), ('dog', 'dogs')]
    """
    groups = [Alike((name,), "") for name in dict.fromkeys(names)]
    for differ_by, key in _KEYS:
        with_key: dict[str, list[Alike]] = {}
        for group in groups:
            with_key.setdefault(key(group.names[0]), []).append(group)
        groups = [
            _merged(each, differ_by) if len(each) > 1 else each[0] for each in with_key.values()
        ]
    return [group for group in groups if len(group.names) > 1]


def _merged(groups: list[Alike], differ_by: str) -> Alike:
    names = tuple(name for group in groups for name in group.names)
    ways = dict.fromkeys((*(group.differ_by for group in groups), differ_by))
    return Alike(names, "; ".join(filter(None, ways)))


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
