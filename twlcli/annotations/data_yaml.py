"""The YAML of data sets for YOLO: texts, lists of them, and names by number.

Only what such files hold is understood, and what is not is refused with its line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from twlcli.errors import AnnotationError

Value = str | list[str] | dict[int, str]

_KEY = re.compile(r"([A-Za-z_]\w*) ?:(?:\s+(.*))?")
_NUMBER = r"""(?:(?P<quote>["']?)(?P<number>\d+)(?P=quote) ?:"""
_NUMBERED = re.compile(rf"{_NUMBER}\s+)(?P<text>.+)")
_QUOTED = r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*\""""
_ENTRY = re.compile(
    rf"""{_NUMBER}\s*)?(?P<text>(?:{_QUOTED})\s*|[^,'"\[\]{{}}][^,\[\]{{}}]*)(?:,\s*|$)"""
)
# A text without quotes: it begins with no sign of YAML, and holds no other value.
_PLAIN = re.compile(r"(?![-?:](?:\s|$))[^\s'\"\[\]{},&*!|>%@`#](?:(?!:(?:\s|$)).)*")
_HEXADECIMAL = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|.)")
_NULL = ("~", "null", "Null", "NULL")


def yaml_values(path: Path, text: str, keys: Sequence[str]) -> dict[str, Value]:
    r"""The values of some of the topmost keys; those that are there and not null.

    Raises:
        AnnotationError: a value is none of a text, a list of texts, and texts by number.

    Example:
        >>> yaml_values(Path("a"), "nc: 2\nnames: [cat, dog]\nval: x/y", ("names", "val", "test"))
        {'names': ['cat', 'dog'], 'val': 'x/y'}
    """
    lines = text.splitlines()
    values: dict[str, Value] = {}
    for at, line in enumerate(lines):
        found = _KEY.fullmatch(_without_comment(line)) if line[:1].strip() else None
        if found and found[1] in keys:
            value = _value(path, at + 1, found[2] or "", lines[at + 1 :])
            if value:
                values[found[1]] = value
    return values


def _value(path: Path, line: int, inline: str, below: Sequence[str]) -> Value:
    if not inline:  # the bracket may stand on the next line
        at = next((at for at, each in enumerate(below) if _without_comment(each)), None)
        if at is not None and re.match(r" *[\[{]", below[at]):
            return _value(path, line + at + 1, _without_comment(below[at]), below[at + 1 :])
    if inline.startswith(("[", "{")):
        end = {"[": "]", "{": "}"}[inline[0]]
        parts = iter(map(_without_comment, below))
        while not inline.endswith(end) and (part := next(parts, None)) is not None:
            inline = f"{inline} {part}".strip()
        if not inline.endswith(end):
            raise _not_understood(path, line, inline)
        return _collected(path, [(line, *each) for each in _entries(path, line, inline[1:-1])])
    if inline:
        return "" if inline in _NULL else _scalar(path, line, inline)
    return _collected(path, list(_items(path, line, below)))


def _entries(path: Path, line: int, text: str) -> Iterator[tuple[str | None, str]]:
    """What stands between the brackets of a list or a mapping: number, if any, and text."""
    at, text = 0, text.strip()
    while at < len(text):
        found = _ENTRY.match(text, at)
        if not found:
            raise _not_understood(path, line, text[at:])
        yield found["number"], found["text"].strip()
        at = found.end()


def _items(path: Path, line: int, below: Sequence[str]) -> Iterator[tuple[int, str | None, str]]:
    """What stands on lines of its own below a key: line, number if any, and text."""
    for number, each in enumerate(below, line + 1):
        item = _without_comment(each)
        if not item:
            continue
        if not each.startswith((" ", "-")):  # the next key
            return
        if item.startswith("- "):
            yield number, None, item[2:].strip()
        elif found := _NUMBERED.fullmatch(item):
            yield number, found["number"], found["text"]
        else:
            raise _not_understood(path, number, item)


def _collected(path: Path, entries: Sequence[tuple[int, str | None, str]]) -> Value:
    texts = [_scalar(path, line, text) for line, _, text in entries]
    numbers = [number for _, number, _ in entries if number is not None]
    if not numbers:
        return texts
    if len(numbers) < len(texts):
        raise _not_understood(path, entries[0][0], texts[0])
    if len(set(map(int, numbers))) < len(numbers):
        raise AnnotationError.at(path, entries[0][0], "two names have the same number")
    return dict(zip(map(int, numbers), texts, strict=True))


def _without_comment(text: str) -> str:
    return re.sub(r"(^|\s)#.*", "", text).strip()


def _scalar(path: Path, line: int, text: str) -> str:
    if re.fullmatch(_QUOTED, text):
        try:
            return _unquoted(text).strip()
        except ValueError:  # an escape that is none, or half a character
            raise _not_understood(path, line, text) from None
    if _PLAIN.fullmatch(text):
        return text
    raise _not_understood(path, line, text)


def _unquoted(text: str) -> str:
    r"""A text in quotes: of the escapes between double ones those of JSON and \xNN are known.

    Raises:
        ValueError: it has others.
    """
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    text = _HEXADECIMAL.sub(lambda found: rf"\u00{found[1]}" if found[1] else found[0], text)
    unquoted = str(json.loads(text, strict=False))
    unquoted.encode()
    return unquoted


def _not_understood(path: Path, line: int, text: str) -> AnnotationError:
    message = f"'{text[:60]}' is not understood; expected a text, or a list of texts"
    return AnnotationError.at(path, line, message)
