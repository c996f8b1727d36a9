"""Recipes: everything that decides how a model is trained, checked, and as TOML.

The names below are loaded when they are first used, so that `twl --help` starts without pydantic.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from twlcli.recipe.names import LOSS_NAMES, LossName

if TYPE_CHECKING:
    from twlcli.recipe.describe import (
        describe_in_markdown,
        describe_in_text,
        describe_in_toml,
    )
    from twlcli.recipe.losses import LOSS_RECIPES, LossRecipe, Option
    from twlcli.recipe.provenance import portable_tables, recipe_of
    from twlcli.recipe.recipe import Recipe, read_recipe
    from twlcli.recipe.sections import (
        AugmentRecipe,
        DataRecipe,
        FrozenRecipe,
        ImageRecipe,
        ModelRecipe,
        OptimizerRecipe,
        ScheduleRecipe,
        TrainRecipe,
    )
    from twlcli.recipe.settings import Setting
    from twlcli.recipe.suitable import suitable_batch_size, suitable_rate

__all__ = [
    "LOSS_NAMES",
    "LOSS_RECIPES",
    "AugmentRecipe",
    "DataRecipe",
    "FrozenRecipe",
    "ImageRecipe",
    "LossName",
    "LossRecipe",
    "ModelRecipe",
    "OptimizerRecipe",
    "Option",
    "Recipe",
    "ScheduleRecipe",
    "Setting",
    "TrainRecipe",
    "describe_in_markdown",
    "describe_in_text",
    "describe_in_toml",
    "portable_tables",
    "read_recipe",
    "recipe_of",
    "suitable_batch_size",
    "suitable_rate",
]

_MODULES = ("recipe", "sections", "losses", "settings", "provenance", "describe")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            found = vars(importlib.import_module(f"twlcli.recipe.{module}"))
            if name in found:
                return found[name]
    raise AttributeError(f"module 'twlcli.recipe' has no attribute '{name}'")
