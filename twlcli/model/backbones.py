"""Classification networks with a head of our own: torchvision's here, timm's in their module."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torchvision import models

from twlcli.errors import RecipeError
from twlcli.model import timm_networks
from twlcli.model.backbone_names import TIMM, unknown_backbone

# Both have auxiliary heads that only their own training recipe uses, and weights that expect
# inputs in -1..1, which `transform_input` makes of normalised ones.
_INCEPTION = {"aux_logits": False, "transform_input": True, "init_weights": False}
_OPTIONS: dict[str, dict[str, Any]] = {"googlenet": _INCEPTION, "inception_v3": _INCEPTION}


def backbone_names() -> list[str]:
    """The names that `build_backbone` takes."""
    return list(models.list_models(module=models))


def build_backbone(name: str, label_count: int, *, image_size: int) -> nn.Module:
    """A classification network whose last layer gives one logit per label.

    Args:
        name: as `torchvision.models.list_models` names it, such as `resnet50`, or `timm:NAME`.
        label_count: C, the outputs of the new last layer.
        image_size: side of the square images that it will see, pixels.

    Raises:
        RecipeError: no such network, or one that does not take that image size.
        MissingExtraError: it is timm's, which is not installed.
    """
    if name.startswith(TIMM):
        return timm_networks.build(name, label_count, image_size=image_size)
    known = backbone_names()
    if name not in known:
        raise unknown_backbone(name, known)
    options = dict(_OPTIONS.get(name, {}))
    if name.startswith("vit_"):
        options["image_size"] = image_size
    if name.startswith("maxvit"):
        options["input_size"] = (image_size, image_size)
    try:
        network: nn.Module = models.get_model(name, weights=None, **options)
    except (ValueError, AssertionError, RuntimeError) as error:
        reason = str(error).strip() or "it expects another size"
        raise RecipeError(
            f"backbone '{name}' does not take {image_size} pixels: {reason}"
        ) from error
    replace_head(network, label_count)
    return network


def replace_head(network: nn.Module, label_count: int) -> None:
    """Give a network a new last layer, with an output for each label."""
    name, head = last_layer(network)
    parent = network.get_submodule(name.rpartition(".")[0])
    setattr(parent, name.rpartition(".")[2], _resized(head, label_count))


def head_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters of the last layer of a network from `build_backbone`."""
    return list(last_layer(network)[1].parameters())


def load_state(network: nn.Module, state: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """Copy a state without the versions that torch keeps beside its own; MNASNet asks for them.

    Raises:
        RuntimeError: the state does not fit.
    """
    versioned = OrderedDict(state)
    versioned._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    network.load_state_dict(versioned, strict=strict)


def last_layer(network: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """Name and module of the last linear layer as defined, or of SqueezeNet's last convolution.

    Of a network of timm, those that it says are its classifier.
    """
    if hasattr(network, "get_classifier"):
        name = timm_networks.head_name(network)
        return name, network.get_submodule(name)  # type: ignore[return-value]
    layers = [
        (name, layer)
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and name == "classifier.1")
    ]
    return layers[-1]


def _resized(head: nn.Linear | nn.Conv2d, label_count: int) -> nn.Module:
    bias = head.bias is not None
    if isinstance(head, nn.Linear):
        return nn.Linear(head.in_features, label_count, bias=bias)
    return nn.Conv2d(head.in_channels, label_count, kernel_size=1, bias=bias)
