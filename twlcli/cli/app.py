"""The `twl` command.

Each of its commands is imported and built when it is called; the others cost no time.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from twlcli import __version__
from twlcli.cli.command import Command
from twlcli.cli.printable import printable
from twlcli.errors import TwlError
from twlcli.io import DISK_FULL

# Module and name of the function, or of the group, and the line that the list of commands shows.
COMMANDS = {
    "train": ("train:train", "Train a tagger on labelled images."),
    "eval": ("eval:evaluate", "Measure a model on labelled images."),
    "compare": ("compare:compare", "Compare losses or settings on your own data."),
    "export": ("export:export", "Write a model as one ONNX file."),
    "tag": ("tag:tag", "Tag images with a model."),
    "untag": ("untag:untag", "Take twl's tags out of sidecars and photographs again."),
    "merge": ("merge:merge", "Join the tables that several machines wrote."),
    "data": ("data:app", "Inspect, check, convert and split labels, draw a sample set."),
    "recipe": ("recipe:app", "List recipes and explain their keys."),
    "doctor": ("doctor:doctor", "Show versions, devices and what twl will use."),
    "help": ("help:help_", "Show how a command is used."),
    "version": ("help:version", "Show the version."),
}

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


class Commands(ErrorBoundary):
    """The group of all commands."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, without loading them."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, loaded now; None where there is none."""
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            self.commands[cmd_name] = _built(cmd_name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def imported(name: str) -> Any:
    """The function, or the `typer.Typer` with functions of its own, that is a command."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    return getattr(import_module(f"twlcli.cli.{module}"), attribute)


def _built(name: str) -> Any:
    found = imported(name)
    if not isinstance(found, typer.Typer):
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name, cls=Command)(found)
        found = single
    return get_command(found)


app = typer.Typer(
    cls=Commands,
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


def main() -> None:
    """Entry point of the console script."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    try:
        try:
            app(prog_name="twl")
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, *DISK_FULL):
            raise
        if error.errno != errno.EPIPE:  # else whoever reads has seen enough
            place = error.filename or "the output"
            line = f"twl: error: {place}: cannot be written ({error.strerror})"
            typer.echo(printable(line), err=True)
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123  for the interpreter's last flush
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        sys.exit(2 if error.errno != errno.EPIPE else 1)
