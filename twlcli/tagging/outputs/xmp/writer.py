"""Tags as keywords in XMP sidecars, merged into what other programs wrote there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from twlcli.images.image_file import ImageFile
from twlcli.tagging.outputs.output import RunFacts, Sink
from twlcli.tagging.outputs.sidecar import (
    SidecarSink,
    check_names,
    check_place,
    read_existing,
    replace_file,
    sidecar_path,
)
from twlcli.tagging.outputs.xmp.packet import Change, NewProperty, Packet, clean
from twlcli.tagging.outputs.xmp.reader import Name
from twlcli.tagging.tags import Tags

TWL = "http://twlcli/ns/1.0/"  # a name, not an address; XMP asks for the slash at the end

# The three lists of keywords that photo programs read.
SUBJECT = NewProperty(Name("http://purl.org/dc/elements/1.1/", "subject"), "dc", "Bag")
LIGHTROOM = NewProperty(
    Name("http://ns.adobe.com/lightroom/1.0/", "hierarchicalSubject"), "lr", "Bag"
)
DIGIKAM = NewProperty(Name("http://www.digikam.org/ns/1.0/", "TagsList"), "digiKam", "Seq")
LISTS = (SUBJECT, LIGHTROOM, DIGIKAM)
LEVEL_SEPARATORS = {LIGHTROOM: "|", DIGIKAM: "/"}

# What twl remembers: which model it was, and for each list the entries that twl itself added.
MODEL = NewProperty(Name(TWL, "model"), "twl", "")
# Their names differ from those of the lists, as exiftool's `-Subject` would find either.
RECORDS = {
    SUBJECT: NewProperty(Name(TWL, "addedSubject"), "twl", "Bag"),
    LIGHTROOM: NewProperty(Name(TWL, "addedHierarchicalSubject"), "twl", "Bag"),
    DIGIKAM: NewProperty(Name(TWL, "addedTagsList"), "twl", "Bag"),
}
_OWN_NAMES = (MODEL.name, *(record.name for record in RECORDS.values()))

EMPTY = b"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="twl">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 </rdf:RDF>
</x:xmpmeta>
"""

TagPath = tuple[str, ...]  # the levels of a tag, the most general first


@dataclass(frozen=True)
class XmpSidecars:
    """Tags as XMP beside the image, in `a.jpg.xmp` (darktable, digiKam, Immich) or `a.xmp` (Adobe).

    Every level of a tag stands in `dc:subject`. A tag with levels, `animal|dog`, stands also as
    `animal|dog` in `lr:hierarchicalSubject` and as `animal/dog` in `digiKam:TagsList`. Programs
    that know one of these two read it instead of `dc:subject`, so a list that is there, or that has
    to be there, holds the tags without levels too, and the user's keywords.

    Keywords that were there stay, in their order; everything else in the file stays byte for byte.
    Under `twl:` the sidecar remembers which entries twl added, and these alone are replaced by
    another run: an image whose tags are gone gets back the file that it had. An image without tags
    gets no sidecar.

    Attributes:
        names: `full` for `a.jpg.xmp`, `stem` for `a.xmp`.
        hierarchy: what parts the levels of a label; empty where labels have none.
    """

    names: str = "full"
    hierarchy: str = "|"
    file: None = None

    def __post_init__(self) -> None:
        check_names(self.names)

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """As an `Output` does."""
        writer = XmpWriter(model=run.model_digest(), names=self.names, hierarchy=self.hierarchy)
        yield SidecarSink(writer, run.log)


class XmpWriter:
    """Writes single XMP files; see `XmpSidecars`."""

    def __init__(self, *, model: str, names: str = "full", hierarchy: str = "|") -> None:
        """Set what all sidecars share; `model` is what identifies the model, such as its hash."""
        self.kind = f"xmp:{names}:{hierarchy}"
        self.settings = f"{model} {hierarchy}"
        self._model = model
        self._names: str = names
        self._hierarchy = hierarchy

    def path(self, file: ImageFile) -> Path:
        """Where the tags of an image are written."""
        return sidecar_path(file, ".xmp", self._names)

    def write(self, file: ImageFile, tags: Tags, *, ours: bool = False) -> None:
        """Write or merge one image's tags.

        Raises:
            ImageError: the sidecar is not XMP or cannot be written; it is as it was.
            TwlError: the disk is full.
        """
        del ours  # what twl wrote stands in the file itself
        path = self.path(file)
        check_place(file, path, self._names)
        existing = read_existing(path)
        content = existing or EMPTY  # an empty file is what a power failure leaves of a new one
        merged = merge(content, tags.labels, model=self._model, hierarchy=self._hierarchy)
        if merged != content:
            replace_file(path, merged)


def merge(content: bytes, labels: Sequence[str], *, model: str, hierarchy: str = "|") -> bytes:
    """A sidecar's bytes with the labels of this run instead of those of twl's last one.

    Args:
        content: the sidecar as it is.
        labels: the labels, the most probable first.
        model: what identifies the model.
        hierarchy: what parts the levels of a label; empty where labels have none.

    Raises:
        ImageError: the sidecar is not XMP that can be changed safely.
    """
    packet = Packet(content, [*(each.name for each in LISTS), *_OWN_NAMES])
    there = {each: packet.values(each.name) for each in LISTS}
    ours = {each: set(packet.values(RECORDS[each].name)) & set(there[each]) for each in LISTS}
    users = {each: list((Counter(there[each]) - Counter(ours[each])).elements()) for each in LISTS}
    wanted = _wanted(tag_paths(labels, hierarchy), users)

    changes: dict[NewProperty, Change] = {}
    records: list[NewProperty] = []
    for each in LISTS:
        found = set(there[each])
        removed = ours[each] - wanted[each].keys()
        added = [value for value in wanted[each] if value not in found]
        changes[each] = Change(tuple(removed), tuple(added))
        own = ours[each].union(added)
        if values := tuple(value for value in wanted[each] if value in own):
            records.append(replace(RECORDS[each], values=values))
    if records:
        records.insert(0, replace(MODEL, values=(clean(model),)))
    remembered = {name: packet.values(name) for name in _OWN_NAMES}
    if all(remembered[name] == list(values) for name, values in _by_name(records).items()):
        return packet.changed(changes)
    return packet.changed(changes, dropped=_OWN_NAMES, new=records)


def _by_name(records: Sequence[NewProperty]) -> dict[Name, tuple[str, ...]]:
    values = {each.name: each.values for each in records}
    return {name: values.get(name, ()) for name in _OWN_NAMES}


def tag_paths(labels: Sequence[str], hierarchy: str) -> list[TagPath]:
    """The levels of each label; a label of nothing but separators and space is left out.

    >>> tag_paths(["animal|dog", "sea"], "|"), tag_paths(["animal|dog"], "")
    ([('animal', 'dog'), ('sea',)], [('animal|dog',)])
    """
    paths = []
    for label in map(clean, labels):
        levels = label.split(hierarchy) if hierarchy else [label]
        paths.append(tuple(level.strip() for level in levels if level.strip()))
    return [path for path in dict.fromkeys(paths) if path]


def _wanted(
    paths: Sequence[TagPath], users: Mapping[NewProperty, Sequence[str]]
) -> dict[NewProperty, dict[str, None]]:
    """The entries, in order, that each list has to hold for the tags; some may be there already.

    darktable reads `lr:hierarchicalSubject` and `dc:subject` only without it; digiKam reads the
    first that is there of `digiKam:TagsList`, `lr:hierarchicalSubject` and `dc:subject`. A list
    that twl begins would hide the user's keywords elsewhere, so it takes them up.
    """
    wanted = {SUBJECT: dict.fromkeys(level for path in paths for level in path)}
    have_levels = any(len(path) > 1 for path in paths)
    users_paths = _users_paths(users) if have_levels else []
    for each, separator in LEVEL_SEPARATORS.items():
        if users[each]:
            wanted[each] = dict.fromkeys(_joined(path, separator) for path in paths)
        elif have_levels:
            wanted[each] = dict.fromkeys(
                _joined(path, separator) for path in [*users_paths, *paths]
            )
        else:
            wanted[each] = {}
    return wanted


def _users_paths(users: Mapping[NewProperty, Sequence[str]]) -> list[TagPath]:
    """The user's own keywords with their levels, from wherever they stand."""
    paths = [
        tuple(entry.split(separator))
        for each, separator in LEVEL_SEPARATORS.items()
        for entry in users[each]
    ]
    levels = {level for path in paths for level in path}
    return [*paths, *((word,) for word in users[SUBJECT] if word not in levels)]


def _joined(path: TagPath, separator: str) -> str:
    r"""A path as one entry; a separator inside a level becomes `\`, as digiKam does it.

    >>> _joined(("music", "AC/DC"), "/")
    'music/AC\\DC'
    """
    return separator.join(level.replace(separator, "\\") for level in path)
