"""Names of networks, checked before torchvision is imported, which takes seconds."""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from twlcli.errors import RecipeError, did_you_mean
from twlcli.recipe.names import is_code

TIMM = "timm:"  # before the name of a network of timm
HUB = "hf-hub:"  # before that of a model of timm on the Hugging Face hub

_REGISTERED = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


def are_named(weights: str) -> bool:
    """Whether weights are known by a name, and are no file or folder."""
    return weights in ("default", "none") or weights.startswith(HUB)


def check_backbone(name: str) -> None:
    """Raise RecipeError where no source of torchvision's networks has the word `name`.

    Names of timm pass, for which `timm_networks` looks, and the user's own code. A word that is
    there need not be a network: `build_backbone` says so in the end. Without torchvision, or
    without its sources, every name passes.
    """
    if name.startswith((TIMM, HUB)) or is_code(name):
        return
    source = _source()
    if source and not (name.isidentifier() and re.search(rf"\b{name}\b", source)):
        raise unknown_backbone(name, _REGISTERED.findall(source))


def unknown_backbone(name: str, known: Collection[str]) -> RecipeError:
    """The error for a name that no network has."""
    if ":" in name:
        return RecipeError(
            f"there is no backbone '{name}'; expected module:function for a network of your own"
        )
    meant = did_you_mean(name, known)
    hint = "" if meant else "`twl doctor --backbones` lists those that there are"
    return RecipeError(f"there is no backbone '{name}' in torchvision{meant}", hint=hint)


def _source() -> str:
    found = find_spec("torchvision")
    if found is None or found.origin is None:
        return ""
    files = sorted(Path(found.origin).parent.glob("models/*.py"))
    return "\n".join(file.read_text(encoding="utf-8") for file in files)
