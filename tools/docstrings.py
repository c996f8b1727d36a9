"""Has mkdocstrings show the examples of docstrings as code, which it knows as `Examples:` alone."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^( *)Example:\n((?:\1 +\S.*\n?|\n)+)", re.MULTILINE)


class Examples(griffe.Extension):
    """Turns each `Example:` into `Examples:`, with text that is no session in a fence."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of whatever is loaded."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(_as_code, obj.docstring.value)


def _as_code(match: re.Match[str]) -> str:
    indent, text = match[1], textwrap.dedent(match[2]).strip("\n")
    if ">>>" not in text:
        text = f"```text\n{text}\n```"
    return f"{indent}Examples:\n" + textwrap.indent(text, indent + "    ") + "\n\n"
