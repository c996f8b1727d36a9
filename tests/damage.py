"""Damage to files, drawn from a seed: what broken disks, bad copies and attackers make of them."""

import json
import random
from typing import Any

# What readers stumble over: bytes that are no text, numbers without end, depth, other types.
PIECES = (
    *(b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r", b"\n\n", b"\x1b[31m", b"\x85"),
    *(b'"', b"'", b"''", b",", b"|", b"\\", b"\\ud83d", b"\\u0000", b"{", b"}", b"[", b"]", b"<"),
    *(b"&a;", b"&#0;", b"&#x10ffff;", b"<!DOCTYPE a>", b"<!--", b"]]>", b"<?a ?>", b"#", b"="),
    *(b"null", b"true", b"-1", b"1e999", b"NaN", b"-Infinity", b"0.5", b"1" * 5000, b"\xe9"),
    *(b"a" * 70_000, b"[" * 3000, b'{"a":' * 3000, b"<a>" * 3000, b"../" * 40, b"\xf0\x9f\x90\x95"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1 << 80, 10**4000, 0.5, float("nan"), float("inf"), -1e308),
    *("", "a", "\0", "\n", "\ud83d", "\udcff", "=1+1", "a|b", "[", "x" * 70_000, "../a", "1e999"),
    *([], {}, [None], [[]], {"a": 1}, [1, 2], ["a", "a"], [{}], {"": ""}),
)


def damaged(content: bytes, dice: random.Random) -> bytes:
    """The bytes of a file with up to four damages."""
    if dice.random() < 0.5:
        content = _wrong_values(content, dice)
    for _ in range(dice.choice((0, 1, 1, 1, 2, 4))):
        content = dice.choice(DAMAGES)(content, dice)
    return content


def _flip(content: bytes, dice: random.Random) -> bytes:
    place = dice.randrange(len(content) + 1)
    flipped = bytes(each ^ 1 << dice.randrange(8) for each in content[place : place + 1])
    return content[:place] + flipped + content[place + 1 :]


def _insert(content: bytes, dice: random.Random) -> bytes:
    place = dice.randrange(len(content) + 1)
    return content[:place] + dice.choice(PIECES) + content[place:]


def _replace(content: bytes, dice: random.Random) -> bytes:
    start, end = _slice(content, dice)
    return content[:start] + dice.choice(PIECES) + content[end:]


def _drop(content: bytes, dice: random.Random) -> bytes:
    start, end = _slice(content, dice)
    return content[:start] + content[end:]


def _double(content: bytes, dice: random.Random) -> bytes:
    start, end = _slice(content, dice)
    return content[:end] + content[start:]


def _move(content: bytes, dice: random.Random) -> bytes:
    start, end = _slice(content, dice)
    rest = content[:start] + content[end:]
    place = dice.randrange(len(rest) + 1)
    return rest[:place] + content[start:end] + rest[place:]


def _cut(content: bytes, dice: random.Random) -> bytes:
    return content[: dice.randrange(len(content) + 1)]


def _wrong_values(content: bytes, dice: random.Random) -> bytes:
    """JSON, whole or line by line, with a value of another kind somewhere in it."""
    lines = [content] if b"\n" not in content.strip() else content.splitlines()
    try:
        values = [json.loads(line) for line in lines]
    except ValueError:
        return content
    values[dice.randrange(len(values))] = _wrong(dice.choice(values), dice)
    return b"\n".join(json.dumps(value).encode() for value in values)


def _wrong(value: Any, dice: random.Random) -> Any:
    if not isinstance(value, list | dict) or not value or dice.random() < 0.1:
        return dice.choice(VALUES)
    value = value.copy()
    key = dice.choice(list(value)) if isinstance(value, dict) else dice.randrange(len(value))
    if dice.random() < 0.1:
        del value[key]
    else:
        value[key] = _wrong(value[key], dice)
    return value


def _slice(content: bytes, dice: random.Random) -> tuple[int, int]:
    start = dice.randrange(len(content) + 1)
    return start, min(len(content), start + int(2 ** dice.uniform(0, 8)))


DAMAGES = (_flip, _insert, _replace, _replace, _drop, _double, _move, _cut)
