"""Texts from files and their names, made fit for a terminal."""

from __future__ import annotations

from twlcli.errors import TwlError

_LONGEST = 4000  # characters of a text that is shown; the longest path has as many


def printable(text: str) -> str:
    r"""`text` on one line, without control codes and bytes that are not UTF-8, and not endless.

    Example:
        >>> printable("caf\udce9\n\x1b[31m")
        'caf\\udce9\\n\\x1b[31m'
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 500]}…{text[-500:]}"
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def worded(error: TwlError) -> str:
    """An error's message and hint, whose arguments are named as options of the command line.

    Example:
        >>> worded(TwlError("a.csv: exists already", hint="{force} replaces it"))
        'a.csv: exists already; --force replaces it'
    """
    hint = error.hinted(lambda name: f"--{name.replace('_', '-')}")
    return f"{error.message}; {hint}" if hint else error.message
