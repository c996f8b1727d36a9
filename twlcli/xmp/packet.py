"""XMP as bytes in which only single properties are changed; everything else stays as it is.

An XML library that reads a sidecar and writes it again loses what it does not model: prefixes, the
way attributes are quoted, comments outside the root. Here expat only says where things lie, and the
changes are cut into the bytes of the file.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from xml.sax.saxutils import escape, quoteattr

from twlcli.errors import ImageError
from twlcli.xmp.reader import START_TAG, Name, Property, Reader

MAXIMUM_BYTES = 16 << 20  # of what is read; the largest sidecars hold masks, a few MB

Edit = tuple[int, int, bytes]  # where bytes begin and end, and what replaces them
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class NewProperty:
    """A property to be added: `kind` is Bag or Seq for a list, empty for a single text."""

    name: Name
    prefix: str
    kind: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """What becomes of a list: one entry less for each of `removed`, and `added` at the end."""

    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


class Packet:
    """The properties of interest in a sidecar, and the bytes around them."""

    def __init__(self, content: bytes, names: Iterable[Name]) -> None:
        """Find the properties called `names` in a sidecar.

        Raises:
            ImageError: it is not well-formed XML in UTF-8 or UTF-16, has a document type, which
                XMP never has and which is how XML is made to swell, is nested without end, or
                holds no rdf:RDF.
        """
        self._codec = _utf16(content)
        if self._codec is not None:
            try:
                content = content.decode(self._codec).encode()
            except UnicodeError as error:
                raise ImageError(f"its XMP is left alone: not UTF-16 text ({error})") from error
        self.content = content
        reader = Reader(content, frozenset(names), transcoded=self._codec is not None)
        self.properties = reader.properties
        self._descriptions = reader.descriptions
        self._rdf_start, self._rdf_end = reader.rdf_start, reader.rdf_end

    def values(self, name: Name) -> list[str]:
        """All values of a property, in the order of the file."""
        return [value for each in self._all(name) for value in each.values]

    def has(self, name: Name) -> bool:
        """Whether a property is there, be it empty."""
        return bool(self._all(name))

    @property
    def is_hollow(self) -> bool:
        """Whether nothing at all is said inside of the RDF."""
        tag = START_TAG.match(self.content, self._rdf_start)
        assert tag is not None
        return bool(tag[3]) or not self.content[tag.end() : self._rdf_end].strip()

    def _all(self, name: Name) -> list[Property]:
        return [each for each in self.properties if each.name == name]

    def changed(
        self,
        lists: Mapping[NewProperty, Change],
        *,
        dropped: Iterable[Name] = (),
        new: Sequence[NewProperty] = (),
        kept: Container[Name] = (),
    ) -> bytes:
        """The sidecar's bytes with other values.

        Args:
            lists: changes of lists, each with what to write where there is no such list yet.
            dropped: properties that are taken out.
            new: properties to add, as elements of one more `rdf:Description`.
            kept: lists that stay, empty, where all of their entries are removed.

        Raises:
            ImageError: a property that has to change is written in a form that twl does not know.
        """
        gone = [each for name in dropped for each in self._all(name)]
        edits: list[Edit] = []
        additions: list[NewProperty] = []
        for template, change in lists.items():
            if change.removed or change.added:
                added = self._change(template.name, change, edits, gone, kept)
                if added:
                    additions.append(replace(template, values=added))
        edits += self._deletions(gone)
        if additions or new:
            edits.append(self._insertion([*additions, *new]))
        return self._apply(edits)

    def _change(
        self,
        name: Name,
        change: Change,
        edits: list[Edit],
        gone: list[Property],
        kept: Container[Name],
    ) -> tuple[str, ...]:
        """Change a list where it stands; what has to go into a new one is returned."""
        found = self._all(name)
        lists = [each for each in found if each.container is not None]
        remaining = Counter(change.removed)
        added: list[str] = []
        for each in found:
            if each.is_mixed or (each.container is None and not each.is_plain):
                raise ImageError(f"its XMP is left alone: {name.local} is not a plain list")
            if each.container is None:  # a single text, or an attribute: it moves into a list
                gone.append(each)
                added += [value for value in each.values if not _taken(value, remaining)]
        added += change.added
        for each in lists:
            doomed = [item for item in each.items if _taken(item.text, remaining)]
            stays = each.has_others or name in kept or (each is lists[0] and added)
            if doomed and len(doomed) == len(each.items) and not stays:
                gone.append(each)
            else:
                edits += [(self._indented(item.start), item.end, b"") for item in doomed]
        if lists and added:
            edits.append(self._appended(lists[0], added))
            return ()
        return tuple(added)

    def _appended(self, home: Property, values: Sequence[str]) -> Edit:
        assert home.container is not None
        prefix = home.container.rpartition(b":")[0]
        numbers = count(home.numbered + 1)
        first = home.items[0].start if home.items else None
        gap = b"\n     " if first is None else self.content[self._indented(first) : first]
        items = []
        for value in values:
            local = b"_%d" % next(numbers) if home.numbered else b"li"
            tag = prefix + b":" + local if prefix else local
            items.append(b"%b<%b>%b</%b>" % (gap, tag, escaped(value).encode(), tag))
        return home.append_at, home.append_at, b"".join(items)

    def _indented(self, start: int) -> int:
        """Where the white space before `start` begins."""
        while start and self.content[start - 1] in b" \t\r\n":
            start -= 1
        return start

    def _deletions(self, gone: Sequence[Property]) -> Iterator[Edit]:
        """Without properties, and without descriptions that held nothing else."""
        of_owner: dict[int, list[Property]] = {}
        for each in gone:
            of_owner.setdefault(each.owner, []).append(each)
        for index, properties in of_owner.items():
            owner = self._descriptions[index]
            if owner.bare and owner.children == len(properties):
                yield self._indented(owner.start), owner.end, b""
            else:
                for each in properties:
                    yield self._indented(each.start), each.end, b""

    def _insertion(self, properties: Sequence[NewProperty]) -> Edit:
        """One more description at the end of the RDF."""
        tag = START_TAG.match(self.content, self._rdf_start)
        assert tag is not None
        about = self._descriptions[0].about if self._descriptions else ""
        text = _description_text(properties, tag[1].decode().rpartition(":")[0], about).encode()
        if tag[3]:  # <rdf:RDF/>
            return tag.end() - 2, tag.end(), b">%b\n</%b>" % (text, tag[1])
        place = self._indented(self._rdf_end)
        return place, place, text

    def _apply(self, edits: Iterable[Edit]) -> bytes:
        pieces, done = [], 0
        for start, end, text in sorted(edits):
            pieces += [self.content[done:start], text]
            done = end
        content = b"".join([*pieces, self.content[done:]])
        return content if self._codec is None else content.decode().encode(self._codec)


def _taken(value: str | None, remaining: Counter[str]) -> bool:
    """Whether a value is one of those to remove, of which there is then one less."""
    if value is None or not remaining[value]:
        return False
    remaining[value] -= 1
    return True


def _description_text(properties: Sequence[NewProperty], rdf: str, about: str) -> str:
    """An `rdf:Description`, which declares the prefixes of its properties itself."""
    colon = f"{rdf}:" if rdf else ""
    spaces = {each.prefix: each.name.uri for each in properties}
    lines = [f"\n  <{colon}Description"]
    lines += [f" {colon}about={quoteattr(clean(about))}"] if colon else []
    lines += [f'\n    xmlns:{prefix}="{uri}"' for prefix, uri in spaces.items()]
    lines.append(">")
    for each in properties:
        tag = f"{each.prefix}:{each.name.local}"
        if each.kind:
            items = [f"\n     <{colon}li>{escaped(v)}</{colon}li>" for v in each.values]
            kind = colon + each.kind
            lines.append(f"\n   <{tag}>\n    <{kind}>{''.join(items)}\n    </{kind}>\n   </{tag}>")
        else:
            lines.append(f"\n   <{tag}>{escaped(each.values[0])}</{tag}>")
    return "".join([*lines, f"\n  </{colon}Description>"])


def clean(text: str) -> str:
    r"""Text that XML can hold: U+FFFD for what it cannot, such as control characters.

    >>> clean("a\x01b") == "a\ufffdb"
    True
    """
    return _NOT_XML.sub("\ufffd", text)


def escaped(text: str) -> str:
    r"""Text as it stands between tags; `\r` as a reference, as it would be read as `\n`."""
    return escape(clean(text), {"\r": "&#13;"})


def without_padding(content: bytes) -> bytes:
    r"""The content without NUL characters around it, which are two bytes each in UTF-16.

    Example:
        >>> without_padding(b"<x/>\0\0"), without_padding(b"\xff\xfe<\0>\0\0\0")
        (b'<x/>', b'\xff\xfe<\x00>\x00')
    """
    if _utf16(content) is None:
        return content.strip(b"\0")
    while content.endswith(b"\0\0") and len(content) % 2 == 0:
        content = content[:-2]
    return content


def _utf16(content: bytes) -> str | None:
    for mark, codec in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if content.startswith(mark):
            return codec
    return None
