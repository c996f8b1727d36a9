"""Descriptions of a recipe for people: every key with its value, range and meaning.

`docs/recipe.md` is what `describe_in_markdown` gives.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from twlcli.recipe.base import Section, expected, in_toml
from twlcli.recipe.losses import LOSS_RECIPES, Differs, LossRecipe, UserLossRecipe
from twlcli.recipe.recipe import RECIPE_FORMAT, Recipe

_OWN_OPTION = FieldInfo(default=None, description="An option of the function.")
_WIDTH = 80  # characters of a line of text
_INTRODUCTION = (
    "A recipe is everything that decides how a model is trained. `twl train` and `twl compare` "
    "start from the defaults below, or from `--recipe`: a TOML file, or the name of a recipe that "
    "comes with twl (`twl recipe list`). Flags and `--set section.key=value` change single keys, "
    "in any order. The run keeps the whole recipe in its `recipe.toml`, and the model in its "
    "provenance."
)


@dataclass(frozen=True)
class _Key:
    """A key with its value, and what its section says of it."""

    name: str
    value: Any
    default: Any
    takes: str
    meaning: str


def describe_in_text(recipe: Recipe | None = None) -> str:
    """Every key, for a terminal of 80 columns.

    Args:
        recipe: whose values are shown, with a star where they are not the default. None shows the
            defaults, and the options of every loss.
    """
    title = "Every key of a recipe: its default, what it takes, and what it means."
    if recipe is not None:
        title = "Every key of the recipe; a star marks what is not the default."
    lines = [title, ""]
    for name, section in recipe or Recipe():
        lines += _wrapped(f"[{name}] {_meaning(section)}", "")
        lines += _in_text(_own_keys(section) if recipe is None else _keys(section))
        lines.append("")
        if name == "loss" and recipe is None:
            for loss, keys, sentence in _losses():
                lines += _wrapped(f"[loss] name = {in_toml(loss)}: {sentence}", "")
                lines += [*_in_text(keys), ""]
    return "\n".join(lines)


def describe_in_toml(recipe: Recipe | None = None) -> str:
    """A recipe as TOML with a comment at every key: a file to start from.

    Args:
        recipe: whose values it has; None for the defaults.
    """
    lines = [f"version = {RECIPE_FORMAT.version}", ""]
    for name, section in recipe or Recipe():
        lines += [*_wrapped(_meaning(section), "# "), f"[{name}]"]
        for key in _keys(section):
            takes = "" if key.takes == "text" else f" Expected: {key.takes}."
            lines += _wrapped(f"{key.meaning}{takes}", "# ")
            left_out = key.value is None
            lines.append(
                f"# {key.name} = ..." if left_out else f"{key.name} = {in_toml(key.value)}"
            )
        lines.append("")
    return "\n".join(lines)


def describe_in_markdown() -> str:
    """The page of the documentation: every key, and every loss with its options."""
    lines = ["# Recipes", "", _INTRODUCTION, ""]
    for name, section in Recipe():
        lines += [f"## [{name}]", "", _meaning(section), "", *_table(_own_keys(section))]
        if name == "loss":
            for loss, keys, sentence in _losses():
                lines += [f"### {loss}", "", sentence, "", *_table(keys)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _meaning(section: Section) -> str:
    return (LossRecipe if isinstance(section, LossRecipe) else type(section)).__doc__ or ""


def _keys(section: Section) -> list[_Key]:
    """Every key of a section; its value is the section's."""
    fields = dict(type(section).model_fields)
    differs: Mapping[str, Differs] = {}
    if isinstance(section, LossRecipe):
        fields |= LossRecipe.model_fields  # with every loss's name
        differs = section.differs
    usual: dict[str, Any] = {}
    keys = []
    for name, value in section:
        field = fields.get(name, _OWN_OPTION)
        takes = expected(field) if name in fields else "a number, a text, true or false"
        meaning = field.description or ""
        if name in differs:
            function, reason = differs[name]
            meaning += f" The function in twlcli.losses has {_value(function)}: {reason}."
        usual[name] = field.get_default(call_default_factory=True, validated_data=usual)
        keys.append(_Key(name, value, usual[name], takes, meaning))
    return keys


def _own_keys(section: Section) -> list[_Key]:
    """Every key but the options of a loss."""
    options = section.options if isinstance(section, LossRecipe) else {}
    return [key for key in _keys(section) if key.name not in options]


def _losses() -> Iterator[tuple[str, list[_Key], str]]:
    """Every loss with a description and its options, which are listed once for equal ones."""
    seen: dict[str, list[_Key]] = {}
    for name, loss in LOSS_RECIPES.items():
        section = loss()
        keys = [key for key in _keys(section) if key.name in section.options]
        same = next((other for other, its in seen.items() if its == keys), None)
        seen[name] = keys
        sentence = f"{loss.__doc__} Its learning rate at a batch of 64 is {loss.learning_rate:g}."
        if same and keys:
            yield name, [], f"{sentence} Options as those of {same}."
        else:
            yield name, keys, sentence if keys else f"{sentence} No options."
    about = " ".join((UserLossRecipe.__doc__ or "").split())
    yield "module:function", [], about


def _in_text(keys: Iterable[_Key]) -> Iterator[str]:
    for key in keys:
        changed = key.value != key.default
        remark = f"default {_value(key.default)}; {key.takes}" if changed else key.takes
        head = f"{key.name} = {_value(key.value)}  ({remark})"
        yield from _wrapped(head, "* " if changed else "  ", "    ")
        yield from _wrapped(key.meaning, "      ")


def _table(keys: Sequence[_Key]) -> list[str]:
    if not keys:
        return []
    rows = [
        f"| `{key.name}` | `{_value(key.default)}` | {key.takes} | {key.meaning} |" for key in keys
    ]
    return ["| key | default | takes | meaning |", "|---|---|---|---|", *rows, ""]


def _value(value: Any) -> str:
    return "none" if value is None else in_toml(value)


def _wrapped(text: str, first: str, rest: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
