"""Names that somebody else has chosen, as a page shows them."""

from __future__ import annotations

LONGEST = 160  # characters of a name that is shown; a caption as a label has as many


def shown(name: str, longest: int = LONGEST) -> str:
    r"""A name on one line: cut in the middle where it is long, what has no shape as its escape.

    Example:
        >>> shown("caf\u00e9"), shown("a\u202eb\n"), shown("0123456789", 6)
        ('café', 'a\\u202eb\\n', '012…89')
    """
    if len(name) > longest:
        tail = longest // 3
        name = f"{name[: longest - 1 - tail]}…{name[len(name) - tail :]}"
    if name.isprintable():
        return name
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in name)
