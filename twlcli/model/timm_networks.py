"""The networks of timm, PyTorch Image Models, with a head of our own; the `timm` extra."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from twlcli.errors import ModelError, RecipeError, did_you_mean, needs_extra
from twlcli.model.backbone_names import HUB, TIMM
from twlcli.model.hub_guard import guarded_hub

_MOST_OF_CONFIG = 16 << 20  # bytes
_REPLACED = ("num_classes", "img_size")  # arguments of a network that are ours to choose
_NAME = re.compile(r"\w+(\.\w+)?")  # of a network and of its weights; nothing that timm looks up


def build(backbone: str, label_count: int, *, image_size: int) -> nn.Module:
    """A network with random weights whose head gives one logit per label.

    Args:
        backbone: `timm:NAME`, with a name of `timm.list_models()`, and perhaps the tag of
            pretrained weights, such as `timm:convnext_tiny.fb_in22k_ft_in1k`.
        label_count: C.
        image_size: side of the square images that it will see, pixels.

    Raises:
        RecipeError: there is no such network, or it does not take that size.
        MissingExtraError: timm is not installed.
    """
    network = build_headless(backbone, image_size=image_size, label_count=label_count)
    head = network.get_classifier()  # type: ignore[operator]
    if not isinstance(head, nn.Linear | nn.Conv2d):
        raise RecipeError(f"backbone '{backbone}' has several heads; expected a network with one")
    return network


def build_headless(backbone: str, *, image_size: int, label_count: int = 0) -> nn.Module:
    """A network without a classifier, or with one of `label_count` outputs; else as `build`."""
    timm, name = _timm(backbone), _known(backbone)
    options = _size_options(name, image_size)
    try:
        network: nn.Module = timm.create_model(name, num_classes=label_count, **options)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or "it expects another size"
        raise RecipeError(
            f"backbone '{backbone}' does not take {image_size} pixels: {reason}"
        ) from error
    return network


def head_name(network: nn.Module) -> str:
    """The name of the head of a network from `build`."""
    head = network.get_classifier()  # type: ignore[operator]
    return str(next(name for name, layer in network.named_modules() if layer is head))


def image_values(backbone: str, weights: str) -> dict[str, Any]:
    """The keys of a recipe's `[image]` that suit a network: those that it was pretrained with.

    Args:
        backbone: `timm:NAME`.
        weights: those that the training begins with; where they are `hf-hub:ORG/NAME`, the values
            are theirs.
    """
    timm = _timm(backbone)
    if weights.startswith(HUB):
        values = _hub_config(weights)[0]
    else:
        values = timm.models.get_pretrained_cfg(_known(backbone)).to_dict()
    try:
        size = int(values["input_size"][-1])
        bilinear = values.get("interpolation") == "bilinear"
        return {
            "size": size,
            "resize": math.floor(size / float(values.get("crop_pct") or 0.875)),
            "interpolation": "bilinear" if bilinear else "bicubic",
            "mean": tuple(map(float, values["mean"])),
            "std": tuple(map(float, values["std"])),
        }
    except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
        source = weights if weights.startswith(HUB) else backbone
        raise ModelError(f"{source}: what it says of its images is damaged ({error})") from error


def network_of_hub(name: str) -> str:
    """The backbone `timm:NAME` of a model on the Hugging Face hub.

    Args:
        name: `hf-hub:ORG/NAME`.

    Raises:
        ModelError: it cannot be asked for, or is a network that its name alone does not describe.
    """
    _, network, arguments = _hub_config(name)
    usual = {"in_chans": 3, "global_pool": _pooling(network)}
    others = [
        f"{key} {value}"
        for key, value in sorted(arguments.items())
        if key not in _REPLACED and usual.get(key) != value
    ]
    if others:
        raise ModelError(
            f"{name}: is a {network} with other arguments ({', '.join(others)}); "
            "expected one as timm has it"
        )
    return TIMM + network


def pretrained_state(backbone: str, weights: str, *, image_size: int) -> Mapping[str, Tensor]:
    """The pretrained weights of a network, downloaded once and fitted to an image size.

    Raises:
        ModelError: there are none, or they cannot be downloaded.
    """
    timm, name = _timm(backbone), _known(backbone)
    source = weights if weights.startswith(HUB) else name
    try:
        with _without_warnings(), guarded_hub(_most_bytes(name)):
            network = timm.create_model(source, pretrained=True, **_size_options(name, image_size))
    except Exception as error:  # of the hub, of HTTP and of files, each with errors of its own
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"cannot get the weights of '{weights if source == weights else backbone}' ({reason})",
            hint="{weights} can name a file, or be none for random weights",
        ) from error
    state: Mapping[str, Tensor] = network.state_dict()
    return state


def fitted_state(network: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights of a file, with the names and position embeddings of the network."""
    module = import_module(type(network).__module__)
    adapt = getattr(module, "checkpoint_filter_fn", None)
    own = {name: value.shape for name, value in network.state_dict().items()}
    if adapt is None or own == {name: value.shape for name, value in state.items()}:
        return state
    try:
        with _without_warnings():
            fitted: Mapping[str, Tensor] = adapt(dict(state), network)
    except Exception:  # made for weights of this network; of others the share that fits tells
        return state
    return fitted


def origin(backbone: str, weights: str) -> dict[str, str]:
    """Where pretrained weights come from and under which licence, as far as timm or the hub say."""
    values: Mapping[str, Any] = {}
    if weights.startswith(HUB):
        source = weights
        with suppress(ModelError):  # a run is resumed also where there is no network
            values = _hub_config(weights)[0]
    else:
        values = _timm(backbone).models.get_pretrained_cfg(_known(backbone)).to_dict()
        source = HUB + values["hf_hub_id"] if values.get("hf_hub_id") else values.get("url") or ""
    return {"source": source, "licence": values.get("license") or "unknown"}


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Without what timm is told of its own code where it resamples position embeddings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _hub_config(name: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """What a model on the hub says of its images, its network and the network's arguments."""
    timm = _timm(name)
    try:
        with guarded_hub(_MOST_OF_CONFIG):
            load = timm.models.load_model_config_from_hf
            values, network, arguments = load(name.removeprefix(HUB))
    except Exception as error:  # of the hub, of HTTP and of JSON, each with errors of its own
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(f"{name}: cannot be read ({reason})") from error
    if not (_NAME.fullmatch(str(network)) and timm.is_model(network)):
        raise ModelError(f"{name}: is a network that timm does not have: {network!a}")
    return values, network, arguments or {}


def _most_bytes(name: str) -> int:
    """What the file of a network's weights may have: they may be other ones, and have a head."""
    with torch.device("meta"):
        network = _timm(TIMM).create_model(name)
    size: int = sum(each.numel() * each.element_size() for each in network.state_dict().values())
    return 4 * size + _MOST_OF_CONFIG


def _pooling(network: str) -> Any:
    """How a network of timm pools what it sees before its head, unless told otherwise."""
    with torch.device("meta"):
        made = _timm(TIMM).create_model(network)
    pooling = getattr(made, "global_pool", None) or getattr(
        getattr(made, "head", None), "global_pool", None
    )
    return getattr(pooling, "pool_type", pooling)


def _size_options(name: str, image_size: int) -> dict[str, Any]:
    values = _timm(name).models.get_pretrained_cfg(name)
    return {"img_size": image_size} if values.fixed_input_size else {}


def _known(backbone: str) -> str:
    """The name within timm.

    Raises:
        RecipeError: timm has no such network.
    """
    timm, name = _timm(backbone), backbone.removeprefix(TIMM)
    network, _, tag = name.partition(".")
    if not (_NAME.fullmatch(name) and timm.is_model(network)):
        hint = did_you_mean(network, timm.list_models()) or "; `timm.list_models()` lists them"
        raise RecipeError(f"there is no backbone '{name}' in timm{hint}")
    if tag and name not in timm.list_pretrained(f"{network}.*"):
        tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{network}.*")]
        known = f"; it has {', '.join(tags)}" if tags else ""
        raise RecipeError(f"timm has no weights '{tag}' of '{network}'{known}")
    return name


def _timm(backbone: str) -> Any:
    with needs_extra(f"backbone '{backbone}'", "timm"):
        return import_module("timm")
