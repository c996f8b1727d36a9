"""`twl recipe`: list recipes and explain their keys."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twlcli.cli.command import Command
from twlcli.cli.printable import echo
from twlcli.errors import TwlError, needs_extra

if TYPE_CHECKING:
    from twlcli.model.spec import ModelSpec
    from twlcli.recipe import Recipe

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    help="List recipes and explain their keys.",
)

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="A name from `twl recipe list`, a TOML file, a run folder, a checkpoint or "
        "an .onnx model [default: the default recipe]",
        show_default=False,
    ),
]


@app.command(cls=Command)
def show(
    name: Name = None,
    as_toml: Annotated[
        bool,
        typer.Option(
            "--toml", help="Print TOML with comments, to start a recipe of your own from."
        ),
    ] = False,
    as_markdown: Annotated[
        bool,
        typer.Option("--markdown", help="Print the documentation of every key, docs/recipe.md."),
    ] = False,
) -> None:
    """Show every key of a recipe: its value, its range and its meaning.

    Example: twl recipe show runs/voc
    """
    from twlcli.recipe import describe_in_markdown, describe_in_text, describe_in_toml

    if as_markdown and (as_toml or name is not None):
        raise TwlError("--markdown documents recipes in general; it takes neither NAME nor --toml")
    if as_markdown:
        echo(describe_in_markdown(), nl=False)
        return
    recipe = None if name is None else _recipe_at(name)
    describe = describe_in_toml if as_toml else describe_in_text
    echo(describe(recipe), nl=False)


@app.command("list", cls=Command)
def list_recipes() -> None:
    """List the recipes that come with twl, for --recipe.

    Example: twl recipe list
    """
    from twlcli.model.bundled import recipe_files

    for file in recipe_files():
        echo(file.parent.name)
        echo(
            textwrap.fill(_first_comment(file), 80, initial_indent="    ", subsequent_indent="    ")
        )


def show_keys(asked: bool) -> None:
    """Print what `twl recipe show` prints, and exit: the callback of --help-recipe."""
    if asked:
        show()
        raise typer.Exit


def _recipe_at(name: str) -> Recipe:
    """The recipe of that name, of a file or of a run, or the one that a model carries."""
    from twlcli.model.bundled import recipe_file
    from twlcli.recipe import read_recipe, recipe_of

    path = Path(name)
    if path.suffix in (".safetensors", ".onnx"):
        return recipe_of(_spec_of(path).provenance, source=path)
    in_run = path / "recipe.toml"
    return read_recipe(in_run if in_run.is_file() else recipe_file(name))


def _spec_of(model: Path) -> ModelSpec:
    if model.suffix == ".onnx":
        from twlcli.model.onnx import OnnxPredictor

        return OnnxPredictor(model, provider="cpu").spec
    with needs_extra("reading a checkpoint", "train"):
        from twlcli.model.checkpoint import read_spec
    return read_spec(model)


def _first_comment(file: Path) -> str:
    """The comment with which a TOML file begins, in one line."""
    lines = file.read_text(encoding="utf-8").splitlines()
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    return " ".join(comment)
