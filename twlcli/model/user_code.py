"""Networks and losses that are the user's own code, `module:function`.

A name in a file may be a stranger's. Nothing is imported before whoever calls has said that it may
be; a name that the caller gives himself is his own, see `twlcli.runs.resolve`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


def load_function(name: str, what: str, *, allowed: bool) -> Callable[..., Any]:
    """The function that a name stands for; its module is looked for in the current folder first.

    What the module raises when it is imported is not caught.

    Args:
        name: `module:function`.
        what: as for `check_allowed`.
        allowed: whether it may be imported.

    Raises:
        ModelError: it is not allowed.
        RecipeError: there is no such module, or no such function in it.
    """
    check_allowed(name, what, allowed=allowed)
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
    made = getattr(found, function, None)
    if not callable(made):
        known = [each for each, value in vars(found).items() if callable(value)]
        hint = did_you_mean(function, known)
        raise RecipeError(f"{what}: '{module}' has no function '{function}'{hint}")
    return made  # type: ignore[no-any-return]


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
