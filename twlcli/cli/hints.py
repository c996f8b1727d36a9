"""What to type instead: for commands and options that are not there, and in errors' hints."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any

from twlcli.errors import did_you_mean

# What people who know other tools type, and what twl has for it.
_OTHER_COMMANDS = {
    "predict": "twl tag",
    "infer": "twl tag",
    "inference": "twl tag",
    "label": "twl tag",
    "run": "twl tag",
    "annotate": "twl tag",
    "clean": "twl untag",
    "undo": "twl untag",
    "test": "twl eval",
    "evaluate": "twl eval",
    "validate": "twl eval",
    "val": "twl eval",
    "fit": "twl train",
    "finetune": "twl train",
    "resume": "twl train --resume RUN",
    "convert": "twl data convert for labels, twl export for models",
    "show": "twl data show",
    "sample": "twl data sample",
    "check": "twl data check",
    "lint": "twl data check",
    "split": "twl data split",
    "quantize": "twl export --int8",
    "quantise": "twl export --int8",
    "benchmark": "twl compare",
    "linear-eval": "twl probe",
    "info": "twl doctor",
}
_OTHER_OPTIONS = {
    "--lr": "--learning-rate",
    "--bs": "--batch-size",
    "--batch": "--batch-size",
    "--model": "--backbone",
    "--arch": "--backbone",
    "--network": "--backbone",
    "--pretrained": "--weights",
    "--checkpoint": "--weights",
    "--imgsz": "--size",
    "--image-size": "--size",
    "--img-size": "--size",
    "--output": "--out",
    "--outdir": "--out",
    "-o": "--out",
    "--conf": "--threshold",
    "--topk": "--top-k",
    "--gpu": "--device",
    "--policy": "--rules",
}
# Arguments of the library's functions that a command has under another name.
_OTHER_NAMES = {
    ("export", "data"): "--calibrate",
    ("eval", "data"): "DATA",
    ("eval", "model"): "MODEL",
}


def unknown_command(ctx: Any, name: str) -> str:
    """What is said of a command that the group of `ctx` does not have."""
    known = ctx.command.list_commands(ctx)
    other = _OTHER_COMMANDS.get(name) if ctx.parent is None else None
    meant = f"; use {other}" if other else did_you_mean(name, known)
    listed = f"; {ctx.command_path} has {', '.join(known)}"
    return f"there is no command '{ctx.command_path} {name}'{meant or listed}"


def usage_text(error: Any) -> str:
    """What is wrong with a command line, of Click's UsageError, in the form of twl's errors."""
    where = f"; see {error.ctx.command_path} -h" if error.ctx else ""
    if unknown := re.match("No such command '(.*?)'", error.message):
        return unknown_command(error.ctx, unknown[1])
    if not hasattr(error, "possibilities"):  # not about an option that is not there
        text = error.format_message().replace("Value error, ", "").rstrip(".")
        return f"{text[:1].lower()}{text[1:]}{where}"
    wrong: str = error.option_name
    parameters = error.ctx.command.get_params(error.ctx)
    options = [name for each in parameters for name in each.opts if name.startswith("-")]
    other = _OTHER_OPTIONS.get(wrong)
    if other in options:
        return f"there is no option {wrong}; use {other}"
    for nearest in difflib.get_close_matches(wrong, options, n=1, cutoff=0.75):  # dashes are alike
        return f"there is no option {wrong}; did you mean {nearest}?"
    return f"there is no option {wrong}{where}"


def names_of_arguments(group: Any, ctx: Any) -> Callable[[str], str]:
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
