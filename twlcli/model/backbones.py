"""Networks with a head of our own: torchvision's here, timm's in their module, or a user's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torchvision import models

from twlcli.errors import RecipeError
from twlcli.model import timm_networks
from twlcli.model.backbone_names import TIMM, unknown_backbone
from twlcli.model.headed import Headed, before_pooling, ml_decoder, with_head
from twlcli.model.user_code import kind_of, load_backbone
from twlcli.recipe.names import HeadName, is_code

# Both have auxiliary heads that only their own training recipe uses, and weights that expect
# inputs in -1..1, which `transform_input` makes of normalised ones.
_INCEPTION = {"aux_logits": False, "transform_input": True, "init_weights": False}
_OPTIONS: dict[str, dict[str, Any]] = {"googlenet": _INCEPTION, "inception_v3": _INCEPTION}


def backbone_names() -> list[str]:
    """The names that `build_backbone` takes."""
    return list(models.list_models(module=models))


def build_backbone(
    name: str,
    label_count: int,
    *,
    image_size: int,
    head: HeadName = "linear",
    pretrained: bool = False,
    allow_code: bool = False,
) -> nn.Module:
    """A network that gives one logit per label.

    Args:
        name: as `torchvision.models.list_models` names it, such as `resnet50`, or `timm:NAME`, or
            `module:function`.
        label_count: C, the outputs of the new head.
        image_size: side of the square images that it will see, pixels.
        head: `linear`, in the place of the network's last layer, or `ml-decoder`.
        pretrained: what a function of the user's is called with; others get weights afterwards.
        allow_code: `module:function` may be imported.

    Raises:
        RecipeError: no such network, or one that does not take that image size or head; or code
            that is not allowed.
        MissingExtraError: network or head is timm's, which is not installed.
    """
    if is_code(name):
        backbone = _of_user(name, pretrained=pretrained, allow_code=allow_code)
        return with_head(backbone, name, head, label_count, image_size=image_size)
    if name.startswith(TIMM) and head == "linear":
        return timm_networks.build(name, label_count, image_size=image_size)
    if name.startswith(TIMM):
        backbone = timm_networks.build_headless(name, image_size=image_size)
        return with_head(backbone, name, head, label_count, image_size=image_size)
    network = _of_torchvision(name, image_size=image_size)
    if head == "linear":
        replace_head(network, label_count)
        return network
    backbone = before_pooling(network, name)
    return with_head(backbone, name, head, label_count, image_size=image_size)


def _of_user(name: str, *, pretrained: bool, allow_code: bool) -> nn.Module:
    made = load_backbone(name, allowed=allow_code)(pretrained=pretrained)
    if not isinstance(made, nn.Module):
        raise RecipeError(f"backbone '{name}' gave {kind_of(made)}; expected a torch.nn.Module")
    return made


def _of_torchvision(name: str, *, image_size: int) -> nn.Module:
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
    return network


def replace_head(network: nn.Module, label_count: int) -> None:
    """Give a network a new head of the kind that it has, with an output for each label."""
    name, head = last_layer(network)
    parent = network.get_submodule(name.rpartition(".")[0])
    setattr(parent, name.rpartition(".")[2], resized(head, label_count))


def head_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters of the head of a network from `build_backbone`."""
    return list(last_layer(network)[1].parameters())


def backbone_of(network: nn.Module) -> tuple[nn.Module, str]:
    """What stands below the head, with the beginning of its parameters' names in the network.

    Of networks whose last layer was replaced it is the network itself, that layer included.
    """
    if isinstance(network, Headed):
        return network.backbone, "backbone."
    return network, ""


def load_state(network: nn.Module, state: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """Copy a state without the versions that torch keeps beside its own; MNASNet asks for them.

    Raises:
        RuntimeError: the state does not fit.
    """
    versioned = OrderedDict(state)
    versioned._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    network.load_state_dict(versioned, strict=strict)


def last_layer(network: nn.Module) -> tuple[str, nn.Module]:
    """Name and module of the last linear layer as defined, or of SqueezeNet's last convolution.

    Of a network of timm, those that it says are its classifier; beside a backbone, the whole head.
    """
    if isinstance(network, Headed):
        return "head", network.head
    if hasattr(network, "get_classifier"):
        name = timm_networks.head_name(network)
        return name, network.get_submodule(name)
    layers = [
        (name, layer)
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and name == "classifier.1")
    ]
    return layers[-1]


def resized(head: nn.Module, label_count: int) -> nn.Module:
    """A new head of the same kind, with an output for each label."""
    if isinstance(head, nn.Linear):
        return nn.Linear(head.in_features, label_count, bias=head.bias is not None)
    if isinstance(head, nn.Conv2d):
        return nn.Conv2d(head.in_channels, label_count, kernel_size=1, bias=head.bias is not None)
    features: int = head.embed_standart.in_features  # type: ignore[assignment,union-attr]
    return ml_decoder(features, label_count)
