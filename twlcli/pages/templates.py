"""The one template engine: Jinja2, with everything escaped and nothing undefined."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from twlcli.pages.colours import style_sheet

# Of pages without scripts: nothing is loaded, and cells of tables may carry a colour.
STATIC_POLICY = "style-src 'unsafe-inline'"

_NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'; "


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("twlcli", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(template: str, /, **values: Any) -> Markup:
    """A template filled with values; the same values give the same text.

    Args:
        template: its path inside the package, such as `comparison/page.html`.
        values: what it shows. Text is escaped unless it is `Markup`.
    """
    return Markup(_environment().get_template(template).render(**values))  # noqa: S704  escaped


def render_page(
    template: str, /, *, title: str, style: str, policy: str = STATIC_POLICY, **values: Any
) -> str:
    """A whole page, of a template that extends `pages/base.html`.

    Args:
        template: its path inside the package.
        title: of the document.
        style: its style sheet, such as `style_of("pages/report.css")`.
        policy: what its Content-Security-Policy allows.
        values: what it shows besides.
    """
    own = {"style": Markup(style), "policy": Markup(_NOTHING_ELSE + policy)}  # noqa: S704  twl's
    return str(render(template, title=title, **own, **values))


def part(path: str) -> str:
    """The text of a file inside the package, such as a script."""
    return resources.files("twlcli").joinpath(path).read_text(encoding="utf-8")


def style_of(*paths: str) -> str:
    """The colours of all pages, followed by style sheets inside the package."""
    return "\n".join([style_sheet(), *map(part, paths)])


def as_json(value: Any) -> str:
    r"""JSON that can stand inside a script element: in ASCII, and without any `<`.

    Example:
        >>> print(as_json(["</script>é"]))
        ["\u003c/script>\u00e9"]
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def digest(text: str) -> str:
    """How a Content-Security-Policy allows one inline style or script."""
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
