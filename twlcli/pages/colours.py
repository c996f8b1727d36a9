"""The colours of all pages and plots, for light and dark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Colour = Literal[
    "paper",  # the background
    "panel",  # of what lies on it
    "ink",  # text
    "soft",  # less important text
    "line",  # grids and borders
    "bar",  # intervals
    "accent",  # what is shown; links
    "chosen",  # the background of what is chosen
    "above",  # the background of differences above 0
    "below",  # and below
]
LIGHT: Mapping[Colour, str] = {
    "paper": "#ffffff",
    "panel": "#f3f5f7",
    "ink": "#1c1f24",
    "soft": "#5a626d",
    "line": "#d4d9df",
    "bar": "#b8c2cd",
    "accent": "#1f6fb4",
    "chosen": "#d6e6f7",
    "above": "#2f7fd0",
    "below": "#e0801f",
}
DARK: Mapping[Colour, str] = {
    "paper": "#15181c",
    "panel": "#20252b",
    "ink": "#e6e9ed",
    "soft": "#a0a9b4",
    "line": "#3a4149",
    "bar": "#5b6671",
    "accent": "#6cb2f0",
    "chosen": "#1d3f61",
    "above": "#3f8fe0",
    "below": "#d9781a",
}
# In a page, the variables of `style_sheet`.
VARIABLES: Mapping[Colour, str] = {name: f"var(--{name})" for name in get_args(Colour)}


def style_sheet() -> str:
    """CSS with one variable for each colour; what is printed is light."""
    light, dark = (
        "".join(f"--{name}:{value};" for name, value in colours.items())
        for colours in (LIGHT, DARK)
    )
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"
