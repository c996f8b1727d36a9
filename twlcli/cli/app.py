"""The `twl` command."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from twlcli import __version__
from twlcli.cli.compare import compare
from twlcli.cli.data import app as data
from twlcli.cli.doctor import doctor
from twlcli.cli.eval import evaluate
from twlcli.cli.export import export
from twlcli.cli.merge import merge
from twlcli.cli.printable import printable
from twlcli.cli.recipe import app as recipe
from twlcli.cli.tag import tag
from twlcli.cli.train import train
from twlcli.errors import TwlError


class ErrorBoundary(TyperGroup):
    """Prints a TwlError as one line on stderr and exits with 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command inside the boundary."""
        try:
            return super().invoke(ctx)
        except TwlError as error:
            hint = error.hinted(_names_of_arguments(self, ctx))
            text = f"{error.message}; {hint}" if hint else error.message
            typer.echo(f"twl: error: {printable(text)}", err=True)
            raise typer.Exit(2) from error


# Arguments of the library's functions that commands have under another name.
_OTHER_NAMES = {("export", "data"): "--calibrate"}


def _names_of_arguments(group: Any, ctx: Any) -> Callable[[str], str]:
    """How the command that was called names what the library calls an argument."""
    name = ctx.invoked_subcommand or ""
    command = group.get_command(ctx, name)
    commands = getattr(command, "commands", {name: command}).values()
    names: dict[str, str] = {}
    for each in (each for one in commands for each in getattr(one, "params", ())):
        is_option = each.param_type_name == "option"
        shown = each.opts[0] if is_option else each.metavar or each.name.upper()
        names |= {each.name: shown, shown.strip("-").replace("-", "_"): shown}

    def name_of(argument: str) -> str:
        known = _OTHER_NAMES.get((name, argument)) or names.get(argument)
        return known or f"--{argument.replace('_', '-')}"

    return name_of


app = typer.Typer(
    cls=ErrorBoundary,
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, evaluate, export and run multi-label image taggers.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"twl {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of `twl` itself; its help is the app's."""


app.command("train")(train)
app.command("eval")(evaluate)
app.command("compare")(compare)
app.command("export")(export)
app.command("tag")(tag)
app.command("merge")(merge)
app.add_typer(data, name="data")
app.add_typer(recipe, name="recipe")
app.command("doctor")(doctor)


def main() -> None:
    """Entry point of the console script."""
    # Without any handler Python would print Pillow's log warnings about odd files on stderr.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    app(prog_name="twl")
