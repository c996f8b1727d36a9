"""Where the command line writes: data on stdout, progress on stderr."""

from __future__ import annotations

from rich.console import Console

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

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
