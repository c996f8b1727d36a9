"""The `twl` command."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
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

_UsageError: Any = typer.BadParameter.__base__  # of the copy of Click inside Typer


class ErrorBoundary(TyperGroup):
    """Prints a TwlError or a wrong use as one line on stderr, and exits with 2."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the options before the command inside the boundary."""
        with self._reported(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command inside the boundary."""
        with self._reported(ctx):
            return super().invoke(ctx)

    @contextmanager
    def _reported(self, ctx: Any) -> Iterator[None]:
        try:
            yield
        except (TwlError, _UsageError) as error:
            if "NoArgs" in type(error).__name__:  # a group without a command shows its help
                raise
            typer.echo(f"twl: error: {printable(self._text(ctx, error))}", err=True)
            raise typer.Exit(2) from error

    def _text(self, ctx: Any, error: Any) -> str:
        from twlcli.cli import hints

        if not isinstance(error, TwlError):
            return hints.usage_text(error)
        hint = error.hinted(hints.names_of_arguments(self, ctx))
        return f"{error.message}; {hint}" if hint else error.message


app = typer.Typer(
    cls=ErrorBoundary,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
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
    import logging

    # Without any handler Python would print Pillow's log warnings about odd files on stderr.
    logging.getLogger("PIL").addHandler(logging.NullHandler())


def help_(
    ctx: typer.Context,
    command: Annotated[str | None, typer.Argument(help="The command to explain.")] = None,
) -> None:
    """Show how twl, or one of its commands, is used.

    Example: twl help tag
    """
    root: Any = ctx.parent
    if command is None:
        typer.echo(root.get_help())
        return
    found = root.command.get_command(root, command)
    if found is None:
        from twlcli.cli.hints import unknown_command

        raise TwlError(unknown_command(root, command))
    with found.make_context(command, ["--help"], parent=root):
        """Its help ends the program."""


def version() -> None:
    """Show the version.

    Example: twl version
    """
    _version(True)


# Each with the one line that the list of commands shows.
app.command("train", short_help="Train a tagger on labelled images.")(train)
app.command("eval", short_help="Measure a model on labelled images.")(evaluate)
app.command("compare", short_help="Compare losses or settings on your own data.")(compare)
app.command("export", short_help="Write a model as one ONNX file.")(export)
app.command("tag", short_help="Tag images with a model.")(tag)
app.command("merge", short_help="Join the tables that several machines wrote.")(merge)
app.add_typer(data, name="data", short_help="Inspect labels, convert them, draw a sample set.")
app.add_typer(recipe, name="recipe", short_help="List recipes and explain their keys.")
app.command("doctor", short_help="Show versions, devices and what twl will use.")(doctor)
app.command("help", short_help="Show how a command is used.")(help_)
app.command("version", short_help="Show the version.")(version)


def main() -> None:
    """Entry point of the console script."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    app(prog_name="twl")
