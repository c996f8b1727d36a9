"""The models and recipes that come with twl."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import twlcli
from twlcli.errors import ModelError, RecipeError, did_you_mean
from twlcli.io import is_address

DEFAULT_MODEL = "photos-small"
ON_HUB = "hf:"  # before ORG/NAME of a model on the Hugging Face hub


@dataclass(frozen=True)
class BundledModel:
    """A model that comes with twl.

    Attributes:
        name: that `--model` takes.
        path: its ONNX file.
        about: what it knows, in a sentence.
    """

    name: str
    path: Path
    about: str


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


def bundled_models() -> list[BundledModel]:
    """The models that come with twl, by name; what each knows is the second line of its card."""
    found = []
    for path in sorted(models_folder().glob("*/model.onnx")):
        card = path.with_name("CARD.md").read_text(encoding="utf-8")
        about = next(part for part in card.split("\n\n")[1:] if part.strip())
        found.append(BundledModel(path.parent.name, path, " ".join(about.split())))
    return found


def model_path(model: Path | str) -> Path:
    """A file or folder, or where there is none of that name a bundled model, or a downloaded one.

    Args:
        model: a path, a name, the address of a file in a store, or `hf:ORG/NAME`; see
            `hub.downloaded`.

    Raises:
        ModelError: a model of the hub is not there, or cannot be downloaded.
        TwlError: there is nothing at the address, or it cannot be fetched.
        MissingExtraError: what downloads it is not installed.
    """
    if is_address(model):
        from twlcli.stores.cached import local_copy  # most models lie on the disk

        return local_copy(str(model))
    path = Path(model)
    if path.as_posix().startswith(ON_HUB) and not path.exists():
        from twlcli.model.hub import downloaded

        return downloaded(path.as_posix())
    bundled = models_folder() / path.name / "model.onnx"
    if str(model) == path.name and not path.exists() and bundled.is_file():
        return bundled
    return path


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
