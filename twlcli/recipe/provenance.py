"""The recipe that a model carries in its provenance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PureWindowsPath
from typing import Any

from twlcli.errors import ModelError, RecipeError
from twlcli.recipe.recipe import Recipe

_PATHS = {
    "data": ("path", "images", "coco_images", "names", "val_data", "test_data", "corrections"),
    "model": ("weights",),
}


def portable_tables(recipe: Recipe) -> dict[str, Any]:
    """The recipe's tables with files and folders by their name alone.

    A model goes to people who have no such folders, and whom the names of users, clients and
    disks in them do not concern. The run's own recipe.toml keeps the whole paths.

    Example:
        >>> recipe = Recipe().with_values({"data": {"path": "/home/kim/photos/labels.csv"}})
        >>> portable_tables(recipe)["data"]["path"]
        'labels.csv'
    """
    tables = recipe.to_tables()
    for section, keys in _PATHS.items():
        for key in keys:
            # It splits at both kinds of slash: a recipe may come from another system.
            tables[section][key] = PureWindowsPath(tables[section][key]).name
    return tables


def recipe_of(provenance: Mapping[str, Any], *, source: object) -> Recipe:
    """The recipe in a model's provenance, as `portable_tables` made it.

    Args:
        provenance: of the model's spec.
        source: the model's file, for error messages.

    Raises:
        ModelError: it carries none, as models of twl 0.1.0, or a damaged or newer one.
    """
    tables = provenance.get("recipe")
    if not isinstance(tables, dict):
        raise ModelError(f"{source}: carries no recipe, as models of twl 0.1.0")
    try:
        return Recipe.from_tables(tables, place=f"{source}: recipe")
    except RecipeError as error:
        raise ModelError(str(error)) from error
