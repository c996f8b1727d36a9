"""Which of some paths are models and which are data, and short names for the models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twlcli.errors import TwlError
from twlcli.model.bundled import model_path
from twlcli.scoring.score_table import has_scores, is_score_table

_FILES = (".onnx", ".safetensors")


def models_and_data(paths: Sequence[Path]) -> tuple[list[Path], Path | None]:
    """Models, and the data where the last path is none.

    Args:
        paths: at least one, of which the first is a model.

    Raises:
        TwlError: labelled images stand before the last path.
    """
    *models, last = paths
    if not models or is_model(last):
        models, data = [*paths], None
    else:
        data = last
    for path in models[1:]:
        if path.exists() and not is_model(path):
            raise TwlError(f"{path}: is no model; labelled images come last, and once")
    return models, data


def is_model(path: Path) -> bool:
    """Whether something is a model, or scores of one, and no labels.

    Of what is not there only the name tells; of a folder or a `.parquet`, only what is in it.
    """
    path = model_path(path)
    if path.is_dir():
        return (path / "model.safetensors").is_file() and (path / "recipe.toml").is_file()
    if is_score_table(path):
        return has_scores(path)
    return path.suffix.lower() in _FILES


def short_names(models: Sequence[str]) -> tuple[str, ...]:
    """The last parts of paths, as many as tell them apart; equal ones are numbered.

    Example:
        >>> short_names(["runs/a", "runs/b"]), short_names(["old/model.onnx", "new/model.onnx"])
        (('a', 'b'), ('old/model.onnx', 'new/model.onnx'))
        >>> short_names(["a.onnx", "a.onnx"])
        ('a.onnx (1)', 'a.onnx (2)')
    """
    paths = [Path(each).parts for each in models]
    names = [_tail(own, paths) or model for own, model in zip(paths, models, strict=True)]
    return tuple(
        f"{name} ({1 + names[:place].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    )


def _tail(own: tuple[str, ...], paths: Sequence[tuple[str, ...]]) -> str:
    """The last parts of a path, as many as tell it from the others."""
    others = [each for each in paths if each != own]
    depths = range(1, len(own) + 1)
    alone = (n for n in depths if all(each[-n:] != own[-n:] for each in others))
    return Path(*own[-next(alone, len(own)) :]).as_posix() if own else ""
