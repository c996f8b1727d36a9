"""Networks and losses that are the user's own code, `module:function`.

A name in a file may be a stranger's. Nothing is imported before whoever calls has said that it may
be; a name that the caller gives himself is his own, see `twlcli.runs.resolve`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from twlcli.errors import ModelError, RecipeError, did_you_mean
from twlcli.recipe.names import is_code


def check_allowed(name: str, what: str, *, allowed: bool) -> None:
    """Refuse code that is not allowed; other names pass.

    Args:
        name: of a network or loss.
        what: where it stands, for the error: `run/model.safetensors: its backbone`.
        allowed: whether it may be imported.

    Raises:
        ModelError: it is `module:function`, and not allowed.
    """
    if is_code(name) and not allowed:
        raise ModelError(
            f"{what} is '{name}': code, which importing the module "
            f"'{name.partition(':')[0]}' would run; nothing was imported",
            hint="{allow_code} allows it, if you trust it",
        )


def load_backbone(name: str, *, allowed: bool) -> Callable[..., Any]:
    """The user's `function(pretrained=…)` that makes a network; see `load_function`."""
    return load_function(name, f"backbone '{name}'", (), ("pretrained",), allowed=allowed)


def load_loss(name: str, options: Iterable[str], *, allowed: bool) -> Callable[..., Any]:
    """The user's `function(logits, targets, **options)`; see `load_function`.

    Args:
        name: `module:function`.
        options: their names.
        allowed: whether it may be imported.
    """
    try:
        return load_function(
            name, f"loss '{name}'", ("logits", "targets"), options, allowed=allowed
        )
    except SignatureError as error:
        error.advise("{settings} loss.NAME=VALUE supplies an option")
        raise


class SignatureError(RecipeError):
    """A function of the user's does not take what twl calls it with."""


def load_function(
    name: str, what: str, positional: Iterable[str], keywords: Iterable[str], *, allowed: bool
) -> Callable[..., Any]:
    """The function that a name stands for; its module is looked for in the current folder first.

    What the module raises when it is imported is not caught, nor what the function raises when it
    is called; but where they end the program, that is an error of theirs.

    Args:
        name: `module:function`.
        what: as for `check_allowed`.
        positional: the names of what it will be called with.
        keywords: likewise, of what it will be called with by keyword.
        allowed: whether it may be imported.

    Raises:
        ModelError: it is not allowed.
        RecipeError: there is no such module, or no such function in it, or it takes other
            arguments.
    """
    check_allowed(name, what, allowed=allowed)
    with no_exit(what):
        function = _imported(name, what)
    _check_signature(function, what, tuple(positional), tuple(keywords))

    def guarded(*arguments: Any, **options: Any) -> Any:
        with no_exit(what):
            return function(*arguments, **options)

    return guarded


@contextmanager
def no_exit(what: str) -> Iterator[None]:
    """Make an error of it where the user's code ends the program.

    Raises:
        RecipeError: it called `sys.exit`, or raised SystemExit otherwise.
    """
    try:
        yield
    except SystemExit as end:
        raise RecipeError(
            f"{what}: its code called sys.exit({'' if end.code is None else repr(end.code)}); "
            "expected it to return, or to raise an error"
        ) from end


def kind_of(value: object) -> str:
    """What a value is, with its article, for error messages.

    Example:
        >>> kind_of(3), kind_of(3.0), kind_of(None)
        ('an int', 'a float', 'None')
    """
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _check_signature(
    function: Callable[..., Any], what: str, positional: tuple[str, ...], keywords: tuple[str, ...]
) -> None:
    """Raise SignatureError where a function does not take what it will be called with.

    That of a decorator counts, as it is what is called; without any known, all is taken.
    """
    signature = None
    with suppress(ValueError, TypeError):  # of functions in C
        signature = inspect.signature(function, follow_wrapped=False)
    if signature is None:
        return
    try:
        signature.bind(*positional, **dict.fromkeys(keywords))
    except TypeError as error:
        parameters = signature.parameters.values()
        call = ", ".join((*positional, *(f"{each}=…" for each in keywords)))
        given = [each.replace(annotation=each.empty, default=each.empty) for each in parameters]
        raise SignatureError(
            f"{what} takes ({', '.join(map(str, given))}); expected what can be called with "
            f"({call}): {error}"
        ) from None


def _imported(name: str, what: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    with _current_folder_first(module.partition(".")[0]):
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # what the module itself imports
            raise RecipeError(
                f"{what}: there is no module '{error.name}' in {Path.cwd()}, nor is one installed"
            ) from None
    nothing = object()
    made = getattr(found, function, nothing)
    if made is nothing:
        known = [each for each, value in vars(found).items() if callable(value)]
        hint = did_you_mean(function, known)
        raise RecipeError(f"{what}: '{module}' has no function '{function}'{hint}")
    if not callable(made):
        raise RecipeError(
            f"{what}: '{function}' in '{module}' is {kind_of(made)}; expected a function"
        )
    return made


@contextmanager
def _current_folder_first(package: str) -> Iterator[None]:
    """The current folder on Python's path while a module that lies there is imported.

    Installed modules are found without it, so that a file of the folder hides none of what they
    import.
    """
    folder = Path.cwd()
    if not ((folder / f"{package}.py").is_file() or (folder / package).is_dir()):
        yield
        return
    sys.path.insert(0, str(folder))
    try:
        importlib.invalidate_caches()  # the file may be new
        yield
    finally:
        sys.path.remove(str(folder))


def source_digests(*names: str) -> dict[str, str]:
    """SHA-256 of the source of the modules that names are of, by name; nothing for other names.

    What a module imports is not in it. Nothing is imported.
    """
    found = {}
    for name in filter(is_code, names):
        module = name.partition(":")[0]
        with _current_folder_first(module.partition(".")[0]):
            spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None and Path(spec.origin).is_file():
            found[name] = hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()
    return found
