"""The base of a recipe and its sections: frozen pydantic models whose errors are one line."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic.functional_validators import ModelWrapValidatorHandler

from twlcli.errors import RecipeError, did_you_mean

_LONGEST = 200  # characters of a value in an error message


class KeyRefused(RecipeError):  # noqa: N818 (users see it as a RecipeError)
    """An unknown key, or a value that does not fit its key.

    Attributes:
        key: `section.key`, or the section alone.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class Checked(BaseModel):
    """A frozen model that takes only its own keys, each of its own type and finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_line(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(values)
        except ValidationError as error:
            first: Mapping[str, Any] = error.errors(include_url=False)[0]
            raise cls._refusal(first["type"], first["loc"], first) from error

    @classmethod
    @abstractmethod
    def _refusal(
        cls, kind: str, place: tuple[int | str, ...], error: Mapping[str, Any]
    ) -> KeyRefused:
        """Pydantic's error as one line: key, value, and what was expected."""


class Section(Checked):
    """A table of a recipe.

    Attributes:
        section: its name.
    """

    section: ClassVar[str]

    def kept(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values that stay when those of `given` are set: those that were given before."""
        return {key: value for key, value in self if key in self.model_fields_set}

    @classmethod
    def _refusal(
        cls, kind: str, place: tuple[int | str, ...], error: Mapping[str, Any]
    ) -> KeyRefused:
        if not place:
            return no_table(cls.section)
        name = str(place[0])
        key = f"{cls.section}.{name}"
        if kind == "extra_forbidden":
            return KeyRefused(key, cls._no_key(name))
        field = cls.model_fields[name]
        wanted = str(error["ctx"]["error"]) if kind == "value_error" else expected(field)
        value = error["input"]
        choices = [each for each in get_args(field.annotation) if isinstance(each, str)]
        hint = did_you_mean(value, choices) if isinstance(value, str) and choices else ""
        return KeyRefused(key, f"{key} is {shown(value)}, expected {wanted}{hint}")

    @classmethod
    def _no_key(cls, name: str) -> str:
        return f"no key '{name}' in [{cls.section}]{did_you_mean(name, cls.model_fields)}"


def no_table(section: str) -> KeyRefused:
    """The error for a value where a section belongs."""
    return KeyRefused(section, f"'{section}' is a section, expected [{section}]")


def expected(field: FieldInfo) -> str:
    """What a key takes, in words.

    Example:
        >>> from twlcli.recipe import ImageRecipe
        >>> fields = ImageRecipe.model_fields
        >>> expected(fields["size"]), expected(fields["interpolation"])
        ('a whole number from 8 to 4096', 'bilinear or bicubic')
    """
    kind = field.annotation
    if any(get_origin(each) is Literal for each in get_args(kind)):  # a number or a name
        return " or ".join(expected(FieldInfo.from_annotation(each)) for each in get_args(kind))
    if get_origin(kind) is Literal:
        *others, last = get_args(kind)
        return f"{', '.join(others)} or {last}" if others else str(last)
    if kind is bool:
        return "true or false"
    if kind is str:
        return "text"
    if get_origin(kind) is tuple:
        return "a list of three numbers" if get_args(kind)[0] is float else "a list of texts"
    bounds = {
        name: f"{getattr(each, name):{'d' if kind is int else 'g'}}"
        for each in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(each, name)
    }
    low = f"from {bounds['ge']} to" if "ge" in bounds else f"above {bounds['gt']} and"
    high = bounds["le"] if "le" in bounds else f"below {bounds['lt']}"
    return f"a {'whole ' if kind is int else ''}number {low} {high}"


def in_toml(value: object) -> str:
    r"""A text, number or truth value, or a list of these, as TOML.

    Example:
        >>> print(in_toml(True), in_toml(1e-05), in_toml('a "b"\n'))
        true 1e-05 "a \"b\"\n"
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # JSON's escapes are valid TOML but for those of surrogates; TOML also escapes DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(in_toml, value))}]"
    return str(value)


def shown(value: object) -> str:
    """A value in an error message."""
    text = in_toml(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
