"""Which keywords of a photograph are its user's, and which of them twl added."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from twlcli.xmp.keywords import DIGIKAM, LISTS, SUBJECT, TagPath, path_key
from twlcli.xmp.packet import NewProperty
from twlcli.xmp.place import Place

# No person writes more; the rest of a list is left out.
MOST_KEYWORDS = 2_000  # of one list
MOST_LEVELS = 32
LONGEST = 1_000  # characters of a keyword

_BOOKKEEPING = "darktable"  # the top level of what darktable itself notes: darktable|format|jpg


@dataclass(frozen=True)
class Parted:
    """The keywords of a photograph, as paths of levels.

    Attributes:
        users: those that people and other programs wrote.
        own: those that twl alone added.
        left_out: how many entries are longer, deeper or more than any person's.
    """

    users: tuple[TagPath, ...]
    own: tuple[TagPath, ...]
    left_out: int = 0


def parted(places: Sequence[Place], *, people: bool = False) -> Parted:
    """The keywords of a photograph, parted by whose they are.

    The user's are those of the first place that has any: photo programs show this one and hide the
    others. An entry is twl's if twl remembers to have added it to that list; so is its copy in
    another place, or in a list with levels that another program has filled from the other one.

    Args:
        places: those of one photograph, what hides the others first.
        people: take the people in a photograph for keywords.
    """
    own: dict[TagPath, TagPath] = {}
    users: dict[TagPath, TagPath] = {}
    left_out = 0
    added = {
        each: {path_key(_path(each, entry)) for place in places for entry in place.added[each]}
        for each in LISTS
    }
    with_levels = set(chain.from_iterable(added[each] for each in LISTS if each is not SUBJECT))

    def is_own(home: NewProperty, path: TagPath) -> bool:
        is_copied = home is not SUBJECT and path in with_levels and path[-1:] in added[SUBJECT]
        return path in added[home] or is_copied

    for place in places:
        found: dict[TagPath, TagPath] = {}
        for home in LISTS:
            entries = place.lists[home]
            usual = [each for each in entries[:MOST_KEYWORDS] if _is_usual(each)]
            left_out += len(entries) - len(usual)
            for path in filter(None, (_path(home, each) for each in usual)):
                their = path_key(path)
                (own if is_own(home, their) else found).setdefault(their, path)
        if people:
            names = [_path(None, each) for each in place.people[:MOST_KEYWORDS] if _is_usual(each)]
            found |= {path_key(path): path for path in names if path}
        users = users or _without_repeats(found)
    alone = {their: path for their, path in _without_repeats(own).items() if their not in users}
    return Parted(tuple(users.values()), tuple(alone.values()), left_out)


def _is_usual(entry: str) -> bool:
    return len(entry) <= LONGEST and entry.count("|") + entry.count("/") < MOST_LEVELS


def _path(home: NewProperty | None, entry: str) -> TagPath:
    r"""The levels of an entry in Unicode form C, without blank ones; of people, `home` is None.

    >>> _path(SUBJECT, " animal | dog"), _path(DIGIKAM, "music/AC\\DC"), _path(None, "A|B")
    (('animal', 'dog'), ('music', 'AC/DC'), ('A/B',))
    """
    entry = unicodedata.normalize("NFC", entry)
    parts: Iterable[str] = entry.split("|")
    if home is DIGIKAM:  # which writes \ for a separator inside of a level
        parts = (each.replace("\\", "/").replace("|", "/") for each in entry.split("/"))
    elif home is None:
        parts = (entry.replace("|", "/"),)
    return tuple(level for part in parts if (level := " ".join(part.split())))


def _without_repeats(paths: dict[TagPath, TagPath]) -> dict[TagPath, TagPath]:
    """Paths by their keys, without words that are levels of others and without bookkeeping."""
    levels = {level for their in paths if len(their) > 1 for level in their}
    return {
        their: path
        for their, path in paths.items()
        if their[0] != _BOOKKEEPING and (len(their) > 1 or their[0] not in levels)
    }


def ancestry(path: TagPath) -> Iterator[TagPath]:
    """A path and those above it, the most general first.

    >>> list(ancestry(("animal", "dog")))
    [('animal',), ('animal', 'dog')]
    """
    return (path[:end] for end in range(1, len(path) + 1))
