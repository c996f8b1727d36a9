"""`twl help` and `twl version`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from twlcli import __version__
from twlcli.errors import TwlError


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
    typer.echo(f"twl {__version__}")
