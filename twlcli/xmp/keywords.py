"""Keywords in XMP: the three lists that photo programs read, and when two keywords are the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

from twlcli.xmp.packet import NewProperty, clean
from twlcli.xmp.reader import Name

SUBJECT = NewProperty(Name("http://purl.org/dc/elements/1.1/", "subject"), "dc", "Bag")
LIGHTROOM = NewProperty(
    Name("http://ns.adobe.com/lightroom/1.0/", "hierarchicalSubject"), "lr", "Bag"
)
DIGIKAM = NewProperty(Name("http://www.digikam.org/ns/1.0/", "TagsList"), "digiKam", "Seq")
LISTS = (SUBJECT, LIGHTROOM, DIGIKAM)
LEVEL_SEPARATORS = {LIGHTROOM: "|", DIGIKAM: "/"}

TagPath = tuple[str, ...]  # the levels of a tag, the most general first
Keywords = Mapping[NewProperty, Sequence[str]]  # the entries of each list


def key(keyword: str) -> str:
    """What two spellings of one keyword have in common.

    >>> key(" Café ") == key("cafe\u0301"), key("dog") == key("dogs")
    (True, False)
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", keyword.strip()).casefold())


def path_key(path: TagPath) -> TagPath:
    """What two spellings of one tag with levels have in common."""
    return tuple(map(key, path))


def unique(entries: Iterable[str]) -> list[str]:
    """Entries without the blank ones and without second spellings, in their order.

    >>> unique(["dog", " ", "Dog", "cat"])
    ['dog', 'cat']
    """
    found: dict[str, str] = {}
    for entry in entries:
        if entry.strip():
            found.setdefault(key(entry), entry)
    return list(found.values())


def tag_paths(labels: Sequence[str], hierarchy: str) -> list[TagPath]:
    """The levels of each label; a label of nothing but separators and space is left out.

    >>> tag_paths(["animal|dog", "sea"], "|"), tag_paths(["animal|dog"], "")
    ([('animal', 'dog'), ('sea',)], [('animal|dog',)])
    """
    paths: dict[TagPath, TagPath] = {}
    for label in map(clean, labels):
        levels = label.split(hierarchy) if hierarchy else [label]
        path = tuple(level.strip() for level in levels if level.strip())
        paths.setdefault(path_key(path), path)
    return [path for path in paths.values() if path]


def paths_of(keywords: Keywords, *, with_levels: bool = False) -> Iterator[TagPath]:
    """The entries of lists as paths, or those of the lists that know levels."""
    for each in LEVEL_SEPARATORS if with_levels else LISTS:
        separator = LEVEL_SEPARATORS.get(each)
        for entry in keywords.get(each, ()):
            yield (entry,) if separator is None else tuple(entry.split(separator))


def all_paths(keywords: Keywords) -> list[TagPath]:
    """Keywords with their levels, each once, from wherever they stand."""
    paths = {path_key(path): path for path in paths_of(keywords, with_levels=True)}
    levels = {level for path in paths for level in path}
    words = {(key(word),): (word,) for word in keywords[SUBJECT] if key(word) not in levels}
    return [*paths.values(), *words.values()]


def joined(path: TagPath, separator: str) -> str:
    r"""A path as one entry; a separator inside a level becomes `\`, as digiKam does it.

    >>> joined(("music", "AC/DC"), "/")
    'music/AC\\DC'
    """
    return separator.join(level.replace(separator, "\\") for level in path)
