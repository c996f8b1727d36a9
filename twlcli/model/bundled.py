"""The models and recipes that come with twl."""

from __future__ import annotations

from pathlib import Path

import twlcli
from twlcli.errors import ModelError, RecipeError, did_you_mean

DEFAULT_MODEL = "shapes-small"
DEFAULT_IS_DEMO = True  # it knows drawn shapes only, and has no business among photographs


def models_folder() -> Path:
    """The folder `models`: inside the installed package, or beside it in a checkout."""
    package = Path(twlcli.__file__).resolve().parent
    inside = package / "models"
    return inside if inside.is_dir() else package.parent / "models"


def default_model() -> Path:
    """Where the default model's ONNX file lies.

    Raises:
        ModelError: this copy of twl has none.
    """
    model = models_folder() / DEFAULT_MODEL / "model.onnx"
    if not model.is_file():
        raise ModelError(
            f"this copy of twl comes without its default model '{DEFAULT_MODEL}'",
            hint="name one with {model}",
        )
    return model


def recipe_file(name: str) -> Path:
    """A recipe by its model's name in the folder `models`, or by the path of its file.

    Raises:
        RecipeError: neither is there.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = models_folder() / name / "recipe.toml"
    if shipped.is_file():
        return shipped
    known = [file.parent.name for file in recipe_files()]
    hint = did_you_mean(name, known) or f"; recipes are {', '.join(known)}"
    raise RecipeError(f"recipe '{name}' is neither a file nor a model of twl{hint}")


def recipe_files() -> list[Path]:
    """The recipes in the folder `models`, by name."""
    return sorted(models_folder().glob("*/recipe.toml"))
