"""`twl help` and `twl version`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from twlcli import __version__
from twlcli.cli.printable import echo
from twlcli.errors import TwlError


def help_(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND...", help="The command to explain, such as tag, or data show."
        ),
    ] = None,
) -> None:
    """Show how twl, or one of its commands, is used.

    Example: twl help tag
    """
    context: Any = ctx.parent
    for word in words or ():
        group = context.command
        if not hasattr(group, "get_command"):
            raise TwlError(f"{context.command_path} has no subcommands, so no '{word}'")
        found = group.get_command(context, word)
        if found is None:
            from twlcli.cli.hints import unknown_command

            raise TwlError(unknown_command(context, word))
        context = type(context)(found, info_name=word, parent=context)
    echo(context.get_help())


def version() -> None:
    """Show the version.

    Example: twl version
    """
    echo(f"twl {__version__}")
