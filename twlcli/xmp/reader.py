"""Where the properties of an XMP sidecar lie in its bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.parsers import expat

from twlcli.errors import ImageError

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
MAXIMUM_DEPTH = 256  # of elements; real sidecars have about ten
MAXIMUM_ITEMS = 100_000  # of a list of keywords

_SEPARATOR = "\x01"  # between a namespace and a name; no XML document can hold it
START_TAG = re.compile(rb"""<([^\s/>]+)((?:\s+[^\s=<>/"']+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(/?)>""")
_NUMBERED = re.compile(r"_([1-9]\d{0,8})", re.ASCII)
_ATTRIBUTE = re.compile(rb"""\s+([^\s=<>/"']+)\s*=\s*(?:"[^"]*"|'[^']*')""")


class Name(NamedTuple):
    """A property's namespace and name; every attribute of a sidecar makes one."""

    uri: str
    local: str


_ABOUT = (Name(RDF, "about"), Name("", "about"))


@dataclass(slots=True)
class Item:
    """An entry of a list; `text` is None where it holds elements."""

    start: int
    end: int
    text: str | None


@dataclass
class Property:
    """A property of interest where it stands; offsets count bytes.

    Attributes:
        name: which property.
        start: where its element begins; for an attribute, the white space before it.
        end: behind it.
        owner: the index of its description.
        text: its text outside of lists.
        items: the entries of its list.
        container: the list's raw name (`rdf:Bag`), None where it has none.
        append_at: where a further entry goes.
        numbered: the highest number of entries called `rdf:_1`, `rdf:_2`, as RDF allows; else 0.
        is_plain: nothing in it would be lost if it were written again from its values.
        is_mixed: elements stand in it beside its one list, or in place of it.
        has_others: the list holds elements that are no entries.
    """

    name: Name
    start: int
    end: int
    owner: int
    text: str = ""
    items: list[Item] = field(default_factory=list)
    container: bytes | None = None
    append_at: int = 0
    numbered: int = 0
    is_plain: bool = True
    is_mixed: bool = False
    has_others: bool = False

    @property
    def values(self) -> list[str]:
        """The texts of the list, or the single text."""
        if self.container is not None:
            return [item.text for item in self.items if item.text is not None]
        return [self.text] if self.text.strip() else []


@dataclass
class Description:
    """An `rdf:Description`; it is `bare` where it holds nothing but properties as elements."""

    start: int
    end: int = 0
    about: str = ""
    bare: bool = True
    children: int = 0


class Reader:
    """Walks through a sidecar and notes where the properties of interest lie."""

    def __init__(self, content: bytes, names: frozenset[Name], *, transcoded: bool) -> None:
        self.properties: list[Property] = []
        self.descriptions: list[Description] = []
        self.rdf_start = self.rdf_end = -1
        self._content = content
        self._names = names
        self._transcoded = transcoded
        self._depth = 0
        self._rdf_depth = 0  # of the element rdf:RDF while inside of it
        self._path: list[Description | Property | Item | None] = []  # below rdf:RDF
        self._pieces: list[str] = []
        self._parser = expat.ParserCreate("utf-8", namespace_separator=_SEPARATOR)
        self._parser.namespace_prefixes = True
        self._parser.buffer_text = True
        self._parser.XmlDeclHandler = self._declaration
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._begin
        self._parser.EndElementHandler = self._finish
        self._parser.CharacterDataHandler = self._text
        try:
            self._parser.Parse(content, True)
        except expat.ExpatError as error:
            raise ImageError(f"its XMP is left alone: not well-formed XML ({error})") from error
        if self.rdf_end < 0:
            raise ImageError("its XMP is left alone: it holds no rdf:RDF, so it is not XMP")

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        del version, standalone
        if encoding is not None and encoding.lower() != ("utf-16" if self._transcoded else "utf-8"):
            raise ImageError(f"its XMP is left alone: encoding {encoding!a}, expected UTF-8")

    def _doctype(self, *_: object) -> None:
        raise ImageError("its XMP is left alone: it has a document type, which XMP never has")

    def _begin(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAXIMUM_DEPTH:
            raise ImageError(f"its XMP is left alone: more than {MAXIMUM_DEPTH} elements deep")
        start = self._parser.CurrentByteIndex
        name = _name(tag)
        if not self._rdf_depth:
            if name == Name(RDF, "RDF") and self._depth <= 2 and self.rdf_start < 0:
                self.rdf_start, self._rdf_depth = start, self._depth
            return
        parent = self._path[-1] if self._path else None
        level = self._depth - self._rdf_depth
        opened: Description | Property | Item | None = None
        self._pieces = []
        if level == 1 and name == Name(RDF, "Description"):
            opened = self._description(start, attributes)
        elif level == 2 and isinstance(parent, Description):
            parent.children += 1
            if name in self._names:
                opened = Property(name, start, 0, len(self.descriptions) - 1)
                opened.is_plain = not attributes
                self.properties.append(opened)
        elif level == 3 and isinstance(parent, Property):
            opened = self._container(parent, name, start)
        elif level == 4 and isinstance(parent, Property):
            opened = self._item(parent, name, start)
        elif isinstance(parent, Item):
            parent.text = None
        self._path.append(opened)

    def _description(self, start: int, attributes: dict[str, str]) -> Description:
        description = Description(start)
        self.descriptions.append(description)
        wanted: dict[str, tuple[Name, str]] = {}
        for each, value in attributes.items():
            name = _name(each)
            if name in _ABOUT:
                description.about = value
                continue
            description.bare = False
            if name in self._names:
                wanted[_raw(each)] = name, value
        tag = START_TAG.match(self._content, start) if wanted else None
        for found in _ATTRIBUTE.finditer(self._content, tag.start(2), tag.end(2)) if tag else ():
            if (raw := found[1].decode()) in wanted:  # others declare namespaces, say
                name, value = wanted[raw]
                owner = len(self.descriptions) - 1
                self.properties.append(Property(name, found.start(), found.end(), owner, value))
        return description

    def _container(self, home: Property, name: Name, start: int) -> Property | None:
        tag = START_TAG.match(self._content, start)
        assert tag is not None
        is_list = name in (Name(RDF, "Bag"), Name(RDF, "Seq"), Name(RDF, "Alt"))
        if not is_list or home.container is not None:
            home.is_plain, home.is_mixed = False, True
            return None
        if not tag[3]:  # <rdf:Bag/> is as good as none
            home.container, home.append_at = tag[1], tag.end()
        return home

    def _item(self, home: Property, name: Name, start: int) -> Item | None:
        number = _NUMBERED.fullmatch(name.local)
        if name.uri != RDF or (name.local != "li" and not number):
            home.has_others = True
            return None
        if len(home.items) >= MAXIMUM_ITEMS:
            raise ImageError(f"its XMP is left alone: more than {MAXIMUM_ITEMS:,} keywords")
        if number:
            home.numbered = max(home.numbered, int(number[1]))
        item = Item(start, 0, "")
        home.items.append(item)
        return item

    def _text(self, text: str) -> None:
        current = self._path[-1] if self._path else None
        if isinstance(current, Item) or (isinstance(current, Property) and len(self._path) == 2):
            self._pieces.append(text)

    def _finish(self, tag: str) -> None:
        del tag
        offset = self._parser.CurrentByteIndex
        if self._rdf_depth and self._depth == self._rdf_depth:
            self.rdf_end, self._rdf_depth = offset, 0
        elif self._rdf_depth:
            closed = self._path.pop()
            is_container = isinstance(closed, Property) and len(self._path) == 2
            if closed is not None and not is_container:
                closed.end = self._end(closed.start, offset)
            if isinstance(closed, Property) and closed.container is None:
                closed.text = "".join(self._pieces)
            if isinstance(closed, Item):
                self.properties[-1].append_at = closed.end
                if closed.text is not None:
                    closed.text = "".join(self._pieces)
        self._depth -= 1

    def _end(self, start: int, offset: int) -> int:
        """Behind the element that begins at `start` and whose end tag is at `offset`."""
        tag = START_TAG.match(self._content, start)
        assert tag is not None
        return tag.end() if tag[3] else self._content.index(b">", offset) + 1


def _name(tag: str) -> Name:
    """From expat's `uri SEP local SEP prefix`; a name without a namespace stands alone."""
    uri, _, rest = tag.partition(_SEPARATOR)
    return Name(uri, rest.partition(_SEPARATOR)[0]) if rest else Name("", uri)


def _raw(tag: str) -> str:
    """The name as it stands in the file, `prefix:local`."""
    parts = tag.split(_SEPARATOR)
    return f"{parts[2]}:{parts[1]}" if len(parts) == 3 else parts[-1]
