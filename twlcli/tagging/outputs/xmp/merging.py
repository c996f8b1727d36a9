"""Tags merged into the keywords of an XMP packet, and taken out of it again.

Beside the lists of keywords the packet remembers, in properties of twl's own, which entries twl
added. These alone are replaced by another run. An entry that was remembered and is gone was deleted
by the user, and is not added again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from twlcli.xmp.keywords import (
    DIGIKAM,
    LEVEL_SEPARATORS,
    LISTS,
    SUBJECT,
    Keywords,
    TagPath,
    all_paths,
    joined,
    key,
    path_key,
    paths_of,
    tag_paths,
    unique,
)
from twlcli.xmp.packet import Change, NewProperty, Packet, clean
from twlcli.xmp.place import RECORDS, TWL
from twlcli.xmp.reader import Name

# What twl remembers besides `RECORDS`: which model it was.
MODEL = NewProperty(Name(TWL, "model"), "twl", "")
# What twl began, in words: the names of lists, and `sidecar` for the file itself.
BEGAN = NewProperty(Name(TWL, "began"), "twl", "")
# A digest of the keywords that twl copied to where there were none; see `Elsewhere`.
COPIED = NewProperty(Name(TWL, "copied"), "twl", "")
# What the user deleted; see `_memory`.
DELETED = NewProperty(Name(TWL, "deleted"), "twl", "Bag")
OWN = (MODEL, BEGAN, COPIED, *RECORDS.values(), DELETED)

_SIDECAR = "sidecar"
_NOTHING = "nothing"

EMPTY = b"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="twl">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 </rdf:RDF>
</x:xmpmeta>
"""
_HEAD = EMPTY.partition(b">\n <rdf")[0]

Elsewhere = Callable[[], Keywords]


def nowhere() -> Keywords:
    """There are no keywords but those of the packet."""
    return dict.fromkeys(LISTS, ())


def merge(
    content: bytes,
    labels: Sequence[str],
    *,
    model: str,
    hierarchy: str = "|",
    elsewhere: Elsewhere = nowhere,
    began: bool = False,
    restore: bool = False,
) -> bytes | None:
    """A packet's bytes with the labels of this run instead of those of twl's last one.

    Args:
        content: the packet as it is.
        labels: the labels, the most probable first.
        model: what identifies the model.
        hierarchy: what parts the levels of a label; empty where labels have none.
        elsewhere: gives the keywords that are seen as long as this packet has none, such as those
            inside the photograph of a sidecar. Asked only then; the packet takes them up.
        began: `content` is new, and not somebody's who would miss it.
        restore: labels that the user deleted are added again.

    Returns:
        The new bytes; None where nothing is left in a packet that twl began.

    Raises:
        ImageError: the packet is not XMP that can be changed safely.
    """
    before = _Packet(content, began=began)
    paths = tag_paths(labels, hierarchy)
    copies = before.copies(elsewhere) if paths else None
    users: Keywords = before.users if copies is None else copies
    deleted = {} if restore else before.deleted(users)
    paths = [path for path in paths if not _is_deleted(path, deleted)]
    wanted = _wanted(paths, users, deleted)

    own: dict[NewProperty, dict[str, str]] = {}  # what twl adds, by keys
    for each in LISTS:
        there = set(map(key, users[each]))
        own[each] = {word: text for word, text in wanted[each].items() if word not in there}

    removed = nowhere()
    fingerprint = _fingerprint(users) if copies is not None else before.fingerprint
    if not any(own.values()) and not deleted and fingerprint == _fingerprint(users):
        # Nothing but copies: they are seen where they come from.
        removed, users = before.users, nowhere()
        copies, fingerprint = None, ""

    changes: dict[NewProperty, Change] = {}
    records: list[NewProperty] = []
    for each in LISTS:
        ours = {key(entry): entry for entry in before.ours[each] if key(entry) in own[each]}
        gone = [entry for entry in before.ours[each] if entry not in ours.values()]
        added = [text for word, text in own[each].items() if word not in ours]
        copied = () if copies is None else copies[each]
        changes[each] = Change((*removed[each], *gone), (*copied, *added))
        if values := tuple(ours.get(word, text) for word, text in own[each].items()):
            records.append(replace(RECORDS[each], values=values))
    if records:
        records.insert(0, replace(MODEL, values=(clean(model),)))
    if deleted:
        records.append(replace(DELETED, values=tuple(deleted.values())))
    if records:
        filled = {each for each in LISTS if users[each] or wanted[each]}
        records.append(replace(BEGAN, values=(before.began_text(filled),)))
        if fingerprint:
            records.append(replace(COPIED, values=(fingerprint,)))
    return before.written(changes, records)


def untagged(content: bytes) -> bytes | None:
    """A packet's bytes without anything of twl's; None where twl began it and nothing is left.

    Where twl began from a packet and nobody else has changed it since, these are its bytes. A list
    that was written as a single text or an attribute comes back as a list.

    Raises:
        ImageError: the packet is not XMP that can be changed safely.
    """
    return merge(content, (), model="", restore=True)


def users_keywords(content: bytes) -> Keywords:
    """The entries of the three lists that twl did not add.

    Raises:
        ImageError: the packet is not XMP.
    """
    return _Packet(content, began=False).users


class _Packet:
    """A packet as it is: whose entry is whose.

    Attributes:
        there: the entries of each list.
        recorded: those that twl added, of which some may be gone.
        ours: those that are there still.
        users: the others.
        began: the names of lists that twl began, and `sidecar`.
        fingerprint: of the keywords that twl copied; empty where it copied none.
    """

    def __init__(self, content: bytes, *, began: bool) -> None:
        self._content = content
        self._packet = packet = Packet(content, [each.name for each in (*LISTS, *OWN)])
        self.there = {each: packet.values(each.name) for each in LISTS}
        self.recorded = {each: packet.values(RECORDS[each].name) for each in LISTS}
        self.ours = {
            each: [entry for entry in dict.fromkeys(self.recorded[each]) if entry in there]
            for each, there in self.there.items()
        }
        self.users = {
            each: list((Counter(there) - Counter(self.ours[each])).elements())
            for each, there in self.there.items()
        }
        self.fingerprint = "".join(packet.values(COPIED.name))
        self.began = self._began()
        if began:
            self.began.add(_SIDECAR)

    def _began(self) -> set[str]:
        if self._packet.has(BEGAN.name):
            return {word for text in self._packet.values(BEGAN.name) for word in text.split()}
        if not any(self.recorded.values()):
            return set()
        # Of a twl that did not write it: what has no entry but twl's is twl's.
        began = {each.name.local for each in LISTS if self.ours[each] and not self.users[each]}
        return began | {_SIDECAR} if self._content.startswith(_HEAD) else began

    def copies(self, elsewhere: Elsewhere) -> Keywords | None:
        """What a packet that has no keywords and never had takes up; None if there is nothing."""
        if any(self.there.values()) or any(self.recorded.values()) or self._remembered():
            return None
        found = elsewhere()
        copies = {each: unique(map(clean, found[each])) for each in LISTS}
        return copies if any(copies.values()) else None

    def deleted(self, users: Keywords) -> dict[str, str]:
        """What the user deleted, now or before, and has not added again, by keys.

        A list with levels that is gone altogether was dropped by a program that does not know it.
        """
        texts = self._remembered()
        for each in LISTS:
            if each is SUBJECT or self.there[each]:
                there = set(map(key, self.there[each]))
                gone = [entry for entry in self.recorded[each] if key(entry) not in there]
                texts += [_memory(path) for path in paths_of({each: gone})]
        # A word that the user has below levels alone was still deleted from dc:subject.
        again = {key(_memory((word,))) for word in users[SUBJECT]}
        with_levels = paths_of(users, with_levels=True)
        again.update(key(_memory(path)) for path in with_levels if len(path) > 1)
        return {key(text): text for text in texts if key(text) not in again}

    def _remembered(self) -> list[str]:
        return self._packet.values(DELETED.name)

    def began_text(self, filled: Iterable[NewProperty]) -> str:
        """What to write of what twl began; lists that are not `filled` are gone."""
        words = [
            each.name.local
            for each in LISTS
            if each in filled and (each.name.local in self.began or not self._packet.has(each.name))
        ]
        words += [_SIDECAR] if _SIDECAR in self.began else []
        return " ".join(words) or _NOTHING

    def written(
        self, changes: Mapping[NewProperty, Change], records: Sequence[NewProperty]
    ) -> bytes | None:
        """The packet with other entries and memories; None where twl began it and it is empty."""
        values = {each.name: list(each.values) for each in records}
        kept = {each.name for each in LISTS if each.name.local not in self.began}
        if all(self._packet.values(own.name) == values.get(own.name, []) for own in OWN):
            after = self._packet.changed(changes, kept=kept)
        else:
            dropped = [own.name for own in OWN]
            after = self._packet.changed(changes, dropped=dropped, new=records, kept=kept)
        if not records and (_SIDECAR in self.began or after == EMPTY):
            return None if Packet(after, ()).is_hollow else after
        return after


def _memory(path: TagPath) -> str:
    r"""A tag that was deleted, as twl remembers it.

    >>> _memory(("music", "AC/DC"))
    'music|AC\\DC'
    """
    return "|".join(level.replace("/", "\\").replace("|", "\\") for level in path)


def _is_deleted(path: TagPath, deleted: Mapping[str, str]) -> bool:
    """Whether a tag was deleted with these levels, or its word as such."""
    return any(key(_memory(each)) in deleted for each in (path, path[-1:]))


def _fingerprint(keywords: Keywords) -> str:
    """A digest of keywords in any order; empty where there are none."""
    lists = [sorted(keywords[each]) for each in LISTS]
    if not any(lists):
        return ""
    return hashlib.blake2b(json.dumps(lists).encode(), digest_size=8).hexdigest()


def _wanted(
    paths: Sequence[TagPath], users: Keywords, deleted: Mapping[str, str]
) -> dict[NewProperty, dict[str, str]]:
    """The entries, by their keys and in order, that each list has to hold for the tags.

    Immich and digiKam read the first that is there of `digiKam:TagsList`, `lr:hierarchicalSubject`
    and `dc:subject`; darktable reads `lr:hierarchicalSubject`, and `dc:subject` only without it.
    So TagsList always says what dc:subject says. A list that twl begins would hide the user's
    keywords elsewhere, so it takes them up.
    """
    words = (level for path in paths for level in path if not _is_deleted((level,), deleted))
    wanted = {SUBJECT: _by_key(words)}
    have_levels = any(len(path) > 1 for path in paths)
    homes = [_home(path, users) for path in paths]
    for each, separator in LEVEL_SEPARATORS.items():
        entries = homes
        if not users[each]:
            is_begun = bool(paths) and (have_levels or each is DIGIKAM)
            entries = [*all_paths(users), *homes] if is_begun else []
        wanted[each] = _by_key(joined(path, separator) for path in entries)
    return wanted


def _home(path: TagPath, users: Keywords) -> TagPath:
    """Where the user keeps a tag: `Vehicles|car` for `car`; else the path itself."""
    wanted = path_key(path)
    fitting = (
        each for each in paths_of(users, with_levels=True) if path_key(each)[-len(path) :] == wanted
    )
    return next(fitting, path)


def _by_key(entries: Iterable[str]) -> dict[str, str]:
    return {key(entry): entry for entry in unique(entries)}
