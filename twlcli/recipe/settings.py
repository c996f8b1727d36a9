"""Single keys that are given a value: flags, and texts such as `schedule.epochs=3`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twlcli.errors import RecipeError
from twlcli.io import parse_toml


@dataclass(frozen=True)
class Setting:
    """A value for one key of a recipe.

    Attributes:
        section: that the key stands in.
        key: its name.
        value: not checked yet.
        place: where it comes from, for error messages.
    """

    section: str
    key: str
    value: Any
    place: str

    @classmethod
    def parse(cls, text: str, *, place: str | None = None) -> Setting:
        """Read `section.key=value`, where the value is TOML, or a text without quotes.

        Raises:
            RecipeError: not of that form.

        Example:
            >>> Setting.parse("model.backbone=vit_b_16").value
            'vit_b_16'
        """
        place = text if place is None else place
        name, equals, value = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and section and key):
            raise RecipeError(f"{place}: expected section.key=value")
        return cls(section, key, _value(value.strip()), place)


def _value(text: str) -> Any:
    try:
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text
