"""Which images are wanted, in the words of .gitignore.

Written here, and single patterns tested against pathspec. Its expressions try every way to share a
name out among the stars of a pattern, so that one long name can hold up a scan for hours, where
these look once for what follows a star. Where a pattern takes back what another matches below a
folder, these do as git does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from twlcli.errors import TwlError

_FOLDERS_KEPT = 4096  # decisions about folders; files come folder by folder


class Patterns:
    """Decides by relative path which images are taken.

    An image is taken if the include patterns match it or a folder above it (or there are none), and
    the exclude patterns match neither. The patterns are those of .gitignore: `raw/` is a folder
    anywhere, `/raw/` one at the top, `*.png` a name anywhere, `a/**/b.jpg` any depth between. The
    last one that matches counts, so that `!keep.jpg` takes back what came before it, though not
    out of a folder that matches. Case matters. Classes such as `[[:alpha:]]` are not known.

    Example:
        >>> patterns = Patterns(exclude=["raw/", "*_small.jpg"])
        >>> [patterns.takes(name) for name in ("a.jpg", "a_small.jpg", "sub/raw/a.jpg")]
        [True, False, False]
    """

    def __init__(self, *, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        """Read the patterns.

        Raises:
            TwlError: one of them is not a pattern.
        """
        self._include = _Rules([_read(pattern, "include") for pattern in include])
        self._exclude = _Rules([_read(pattern, "exclude") for pattern in exclude])

    @property
    def are_empty(self) -> bool:
        """Whether there are no patterns, so that everything is taken."""
        return not self._include.patterns and not self._exclude.patterns

    def takes(self, name: str) -> bool:
        """Whether an image is taken; `name` is its path with forward slashes."""
        if self._include.patterns and not self._include.cover(name.lstrip("/"), is_folder=False):
            return False
        return not self._exclude.cover(name.lstrip("/"), is_folder=False)

    def enters(self, folder: str) -> bool:
        """Whether a folder may hold images that are taken; it may end with a slash."""
        return not self._exclude.cover(folder.strip("/"), is_folder=True)


@dataclass(frozen=True)
class _Pattern:
    expression: re.Pattern[str]  # of the whole path, or where it floats of the last name
    floats: bool
    for_folders: bool
    takes_back: bool

    def matches(self, path: str, *, is_folder: bool) -> bool:
        if self.for_folders and not is_folder:
            return False
        return bool(self.expression.fullmatch(path[path.rfind("/") + 1 :] if self.floats else path))


class _Rules:
    def __init__(self, patterns: Sequence[_Pattern]) -> None:
        self.patterns = patterns
        self._covers_folder = lru_cache(_FOLDERS_KEPT)(self._cover_anew)

    def cover(self, path: str, *, is_folder: bool) -> bool:
        """Whether the patterns match a path or a folder above it."""
        if not self.patterns or not path:
            return False
        return self._covers_folder(path) if is_folder else self._cover_anew(path, is_folder=False)

    def _cover_anew(self, path: str, *, is_folder: bool = True) -> bool:
        above = path.rpartition("/")[0]
        if above and self._covers_folder(above):
            return True
        for pattern in reversed(self.patterns):
            if pattern.matches(path, is_folder=is_folder):
                return not pattern.takes_back
        return False


def _read(text: str, kind: str) -> _Pattern:
    body = text.removeprefix("!")
    for_folders = body.endswith("/")
    body = body.removesuffix("/")
    floats = "/" not in body
    # Any depth twice is any depth, and would take time with a power of the depth.
    body = re.sub(r"(?<![^/])(\*\*/)+", "**/", body.removeprefix("/"))
    try:
        if not body:
            raise ValueError("it is empty")
        expression = re.compile(_expression(body.split("/")), re.DOTALL)
    except (ValueError, re.error) as error:
        raise TwlError(f"{kind} '{text}': not a .gitignore-style pattern: {error}") from error
    return _Pattern(expression, floats, for_folders, takes_back=text.startswith("!"))


def _expression(parts: list[str]) -> str:
    """The regular expression of a path whose parts are these."""
    *above, last = parts
    folders = "".join("(?:.*/)?" if part == "**" else _translated(part) + "/" for part in above)
    return folders + (".*" if last == "**" else _translated(last))


def _translated(part: str) -> str:
    """The regular expression of one name.

    What stands between two stars is looked for once, where it comes first: whatever follows a star
    matches behind that if it matches at all. Otherwise time would grow with a power of the stars.
    """
    chunks: list[list[str]] = [[]]  # between stars
    place = 0
    while place < len(part):
        sign = part[place]
        place += 1
        if sign == "*":
            chunks.append([])
        elif sign == "?":
            chunks[-1].append("[^/]")
        elif sign == "[":
            # A ] that comes first, maybe after ! or ^, is a member of the class.
            found = re.compile(r"([!^]?)(\]?(?:\\.|[^\]\\])*)\]", re.DOTALL).match(part, place)
            if found is None or "[:" in found[2]:
                raise ValueError(
                    "a [ without its ]" if not found else "[: :] classes are not supported"
                )
            chunks[-1].append(f"(?!/)[{'^' if found[1] else ''}{_class_members(found[2])}]")
            place = found.end()
        elif sign == "\\":
            if place == len(part):
                raise ValueError("a \\ at its end")
            chunks[-1].append(re.escape(part[place]))
            place += 1
        else:
            chunks[-1].append(re.escape(sign))
    first, *starred = ["".join(chunk) for chunk in chunks]
    if not starred:
        return first
    between = "".join(f"(?>[^/]*?{chunk})" for chunk in starred[:-1] if chunk)
    return f"{first}{between}[^/]*{starred[-1]}"


def _class_members(members: str) -> str:
    """The members of a class, with what means something else in Python's classes escaped."""
    return re.sub(r"\\.|[\[\]&~|^]", lambda each: "\\" + each[0][-1], members, flags=re.DOTALL)
