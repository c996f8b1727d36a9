"""The layers of a network, counted from its head: what layer-wise learning rates go by."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from twlcli.model.backbones import backbone_of, last_layer

# Modules of torchvision's networks that hold stages or blocks, which are the layers.
_CONTAINERS = ("features", "classifier", "encoder", "layers", "trunk_output", "blocks")
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def depths(network: nn.Module) -> dict[str, int]:
    """How many layers each parameter is below the head, whose own are 0 below it.

    The layers of a network of timm are those that it groups itself (`group_matcher`), as
    `timm.optim` decays them. Those of torchvision, and of users, are the stages in the order in
    which they are defined; a normalisation belongs to the stage before it, and embeddings of
    positions to the first.

    Args:
        network: from `build_backbone`.

    Returns:
        A number by the name of each parameter that is trained.
    """
    head = last_layer(network)[0] + "."
    backbone, prefix = backbone_of(network)
    layers = _of_timm(backbone) if hasattr(backbone, "group_matcher") else _of_stages(backbone)
    layers = {prefix + name: layer for name, layer in layers.items()}
    below = {
        name: layers[name]
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and not name.startswith(head)
    }
    of_head = [layer for name, layer in layers.items() if name.startswith(head)]
    top = max(of_head, default=max(below.values(), default=0) + 1)
    return {
        name: top - below.get(name, top)
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    }


def _of_timm(network: nn.Module) -> dict[str, int]:
    from timm.models import group_parameters

    matcher = network.group_matcher(coarse=False)  # type: ignore[operator]
    layers: dict[str, int] = group_parameters(network, matcher, reverse=True)
    return layers


def _of_stages(network: nn.Module) -> dict[str, int]:
    layers: dict[str, int] = {}
    number = 0
    for name, module in _stages(network):
        own = [f"{name}{each}" for each, _ in module.named_parameters()]
        number += bool(own and layers and not isinstance(module, _NORMS))
        layers |= dict.fromkeys(own, number)
    return {name: layers.get(name, 0) for name, _ in network.named_parameters()}


def _stages(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules that are stages, in order, with the beginning of their parameters' names."""
    for name, child in module.named_children():
        if name in _CONTAINERS and any(child.children()):
            yield from _stages(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}.", child
