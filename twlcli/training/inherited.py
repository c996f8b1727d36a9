"""What a model that a training starts from has seen already."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twlcli.annotations.annotations import Annotations
from twlcli.errors import ModelError
from twlcli.model.backbone_names import are_named
from twlcli.model.checkpoint import is_checkpoint, read_spec
from twlcli.runs.seen import SEEN_KEY, found_among, hashes_of


def inherited_images(weights: str) -> Any:
    """The sample of the images that a model was trained on; None where `weights` is no such model.

    Args:
        weights: `model.weights` of a recipe.
    """
    if are_named(weights) or not is_checkpoint(Path(weights)):
        return None
    try:
        seen = read_spec(Path(weights)).provenance.get(SEEN_KEY)
    except ModelError:  # moved away or damaged since the run began
        return None
    return seen.get("training") if isinstance(seen, Mapping) else None


def note_of_inherited(weights: str, inherited: Any, validation: Annotations) -> str:
    """What to say where validation images are among those; empty where none is."""
    seen = found_among(inherited, hashes_of(validation)) if inherited is not None else None
    if not seen:
        return ""
    return (
        f"{weights} was trained on {seen:,} of the {len(validation):,} validation images, so that "
        "scores on them say little about others"
    )
