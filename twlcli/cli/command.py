"""A command's help: its arguments as they are typed, without the types of the code."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """A command of `twl`."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What follows the command's name in its usage: `[OPTIONS] MODEL [DATA]`."""
        arguments = [each for each in self.params if each.param_type_name == "argument"]
        return ["[OPTIONS]"] + [
            _metavar(each) if each.required else f"[{_metavar(each)}]" for each in arguments
        ]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the tables of arguments and options."""
        parameters: list[Any] = self.get_params(ctx)
        arguments = [each for each in parameters if each.param_type_name == "argument"]
        options = [each for each in parameters if each.param_type_name == "option"]
        if arguments:
            with formatter.section("Arguments"):
                formatter.write_dl([(_metavar(each), each.help) for each in arguments])
        with formatter.section("Options"):
            records = (each.get_help_record(ctx) for each in options)
            formatter.write_dl([record for record in records if record is not None])


def _metavar(argument: Any) -> str:
    return argument.metavar or str(argument.name).upper()
