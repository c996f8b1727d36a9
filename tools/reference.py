"""Writes the generated pages of the documentation: `python -m tools.reference`.

`docs/cli.md` comes from the commands' own signatures and help texts, `docs/recipe.md` from the
recipe's sections, and the list of modules in `docs/architecture.md` from their docstrings.
"""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.models import ArgumentInfo, OptionInfo

from twlcli.cli.app import COMMANDS, app, imported
from twlcli.recipe import describe_in_markdown

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "twlcli"
MODULES = re.compile(r"(?<=<!-- modules -->\n).*(?=<!-- end of modules -->)", re.DOTALL)


# --- the command line ----------------------------------------------------------------------------

_METAVARS = {int: "N", float: "NUMBER", Path: "PATH", str: "TEXT"}


def commands() -> Iterator[tuple[str, Any]]:
    """Every command's full name and function."""
    for name in COMMANDS:
        found = imported(name)
        if not isinstance(found, typer.Typer):
            yield f"twl {name}", found
            continue
        for command in found.registered_commands:
            function = command.callback
            assert function is not None
            yield f"twl {name} {command.name or function.__name__}", function


def parameters(function: Any) -> Iterator[tuple[str, Any, OptionInfo | ArgumentInfo, Any]]:
    """A command's parameters: name, type, what typer is told of it, and default."""
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if hints[name] is not typer.Context:
            kind, info = typing.get_args(hints[name])
            yield name, kind, info, parameter.default


def names_of(name: str, info: OptionInfo) -> list[str]:
    """What an option is called; inside `Annotated` typer holds the first name as the default."""
    given = [each for each in (info.default, *(info.param_decls or ())) if isinstance(each, str)]
    return given or [f"--{name.replace('_', '-')}"]


def option_names() -> set[str]:
    """Every option of every command."""
    functions = [function for _, function in commands()]
    assert app.registered_callback is not None
    return {"--help", "--install-completion", "--show-completion"} | {
        option
        for function in (*functions, app.registered_callback.callback)
        for name, _, info, _ in parameters(function)
        if isinstance(info, OptionInfo)
        for option in names_of(name, info)
    }


def cli_page(_: str = "") -> str:
    """`docs/cli.md`."""
    parts = [
        "# Command line\n\n"
        "Every command prints this with `--help`. Data goes to the standard output, progress and "
        "errors to the standard error. Exit codes: 0 success, 2 invalid input, 3 some images could "
        "not be read, 130 interrupted.\n"
    ]
    for name, function in commands():
        parts += [f"## {name}\n", _description(function)]
        arguments, options = [], []
        for each, kind, info, default in parameters(function):
            if isinstance(info, OptionInfo):
                if not info.hidden:
                    options.append((_option(each, kind, info), _help(info, default)))
            else:
                shown = f"`{info.metavar or each.upper()}`"
                optional = "" if default is inspect.Parameter.empty else " (optional)"
                arguments.append((f"{shown}{optional}", _help(info, None)))
        for title, rows in (("argument", arguments), ("option", options)):
            if rows:
                lines = [f"| {title} | |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]
                parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _description(function: Any) -> str:
    text, _, example = (inspect.getdoc(function) or "").partition("Example: ")
    block = f"\n```console\n$ {' '.join(example.split())}\n```\n" if example else ""
    return text.strip() + "\n" + block


def _option(name: str, kind: Any, info: OptionInfo) -> str:
    shown = ", ".join(names_of(name, info)) + _metavar(kind, info)
    return f"<code>{_cell(shown)}</code>" if "|" in shown else f"`{shown}`"


def _metavar(kind: Any, info: OptionInfo) -> str:
    inner = next((each for each in typing.get_args(kind) if each is not type(None)), kind)
    while typing.get_origin(inner) is list:
        (inner,) = typing.get_args(inner)
    return "" if inner is bool else f" {info.metavar or _METAVARS[inner]}"


def _help(info: OptionInfo | ArgumentInfo, default: Any) -> str:
    text = _cell(info.help or "")
    shows = info.show_default and default not in (None, False, inspect.Parameter.empty)
    return f"{text} [default: {default}]" if shows else text


def _cell(text: str) -> str:
    """A text in a table's cell; not every Markdown unescapes a bar inside of backticks."""
    return text.replace("<", "&lt;").replace("|", "&#124;")


# --- the list of modules -------------------------------------------------------------------------


def architecture_page(page: str) -> str:
    """`docs/architecture.md` with the list of modules as it has to be."""
    return MODULES.sub(lambda _: f"\n{_module_list()}\n", page)


def _module_list() -> str:
    rooms: dict[str, list[str]] = {}
    for module in sorted(PACKAGE.rglob("*.py"), key=lambda each: (each.parent, each.name)):
        folder = module.parent.relative_to(PACKAGE).as_posix()
        rooms.setdefault("" if folder == "." else f"{folder}/", []).append(_row(module))
    return "\n".join(
        f"### `twlcli/{room}`\n\n" + "\n".join(rows) + "\n" for room, rows in rooms.items()
    )


def _row(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    summary = " ".join(docstring.split("\n\n")[0].split())
    return f"- `{module.name}`" + (f": {summary}" if summary else "")


PAGES: dict[str, Callable[[str], str]] = {
    "docs/cli.md": cli_page,
    "docs/recipe.md": lambda _: describe_in_markdown(),
    "docs/architecture.md": architecture_page,
}


def main() -> None:
    """Write every page that has changed."""
    for name, render in PAGES.items():
        file = ROOT / name
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        if (after := render(before)) != before:
            file.write_text(after, encoding="utf-8")
            print(f"{name} written")


if __name__ == "__main__":
    main()
