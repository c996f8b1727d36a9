"""Backbones with a head of twl's beside them: ML-Decoder, and any head over a user's network."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from twlcli.errors import RecipeError, needs_extra
from twlcli.model.user_code import kind_of, no_exit
from twlcli.recipe.names import HeadName, is_code

# What of a torchvision network comes before the mean over its feature map.
_BEFORE_POOLING: dict[type[nn.Module], tuple[str, ...]] = {
    models.ResNet: (
        *("conv1", "bn1", "relu", "maxpool"),
        *("layer1", "layer2", "layer3", "layer4"),
    ),
    models.RegNet: ("stem", "trunk_output"),
    models.ShuffleNetV2: ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"),
    models.SwinTransformer: ("features", "norm", "permute"),
    models.MNASNet: ("layers",),
    models.ConvNeXt: ("features",),
    models.DenseNet: ("features",),
    models.EfficientNet: ("features",),
    models.MobileNetV2: ("features",),
    models.MobileNetV3: ("features",),
    models.SqueezeNet: ("features",),
    models.VGG: ("features",),
    models.AlexNet: ("features",),
}


class Headed(nn.Module):
    """A backbone, and a head that makes logits of its features.

    A linear head takes the mean over the places of a feature map, or over tokens; ML-Decoder takes
    all of them.

    Attributes:
        backbone: images (N, 3, H, W) to features: (N, F), (N, F, h, w) or tokens (N, T, F). A
            network with `forward_features`, as those of timm have, gives those to ML-Decoder.
        head: features to logits (N, C).
        name: of the backbone, for error messages.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, name: str = "") -> None:
        super().__init__()
        self.name = name
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to logits (N, C)."""
        spatial = not isinstance(self.head, nn.Linear)
        features = _features(self.backbone, self.name, images, spatial=spatial)
        logits: Tensor = self.head(features if spatial else _pooled(features))
        return logits


def with_head(
    backbone: nn.Module, name: str, head: HeadName, label_count: int, *, image_size: int
) -> Headed:
    """A new head over a backbone, as wide as the features that it gives for two images.

    Parameters that those features do not depend on, such as of layers after the pooling, are not
    trained: several ranks would wait for their gradients.

    Args:
        backbone: see `Headed`.
        name: of the backbone, for error messages.
        head: what kind of head.
        label_count: C.
        image_size: side of the square images that it will see, pixels.

    Raises:
        RecipeError: the backbone's output is not of a form that the head takes.
        MissingExtraError: ML-Decoder without timm.
    """
    spatial = head != "linear"
    # Shapes alone, which take neither time nor memory; code of the user's may do what they do not.
    device = torch.device("cpu" if is_code(name) else "meta")
    tried = backbone if is_code(name) else copy.deepcopy(backbone).to(device)
    images = torch.zeros(2, 3, image_size, image_size, device=device)
    tried.eval()
    with torch.enable_grad():
        features = _features(tried, name, images, spatial=spatial)
    tried.train()
    forms = {3: "tokens (N, T, F)", 4: "a feature map (N, F, h, w)"}
    if not spatial:
        forms[2] = "features (N, F)"
    is_tensor = isinstance(features, Tensor)
    if not is_tensor or features.ndim not in forms or len(features) != len(images):
        shape = tuple(features.shape) if is_tensor else kind_of(features)
        raise RecipeError(
            f"backbone '{name}' gives {shape} for N = {len(images)} images; the head '{head}' "
            f"expects {' or '.join(forms.values())}"
        )
    if features.requires_grad:
        used = set(map(id, _behind(features)))
        for parameter, each in zip(backbone.parameters(), tried.parameters(), strict=True):
            parameter.requires_grad_(parameter.requires_grad and id(each) in used)
    width = features.shape[1] if features.ndim == 4 else features.shape[-1]
    if spatial:
        return Headed(backbone, ml_decoder(width, label_count), name)
    return Headed(backbone, nn.Linear(width, label_count), name)


def ml_decoder(features: int, label_count: int) -> nn.Module:
    """ML-Decoder of timm (Ridnik et al., 2021): up to 100 queries, each for a group of labels.

    Args:
        features: F of the feature map (N, F, h, w) or tokens (N, T, F).
        label_count: C.

    Raises:
        MissingExtraError: timm is not installed.
    """
    with needs_extra("the head 'ml-decoder'", "timm"):
        module: Any = import_module("timm.layers.ml_decoder")
    head: Any = module.MLDecoder(num_classes=label_count, initial_num_features=features)
    head.decoder = _Layers(head.decoder.layers)
    return head  # type: ignore[no-any-return]


class _Layers(nn.Module):
    """The layers of a decoder, one after the other.

    nn.TransformerDecoder since torch 2.1 asks its layers for a `self_attn`, which those of timm's
    ML-Decoder do without.
    """

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Queries (Q, N, D) that attended to the memory (T, N, D)."""
        for layer in self.layers:
            queries = layer(queries, memory)
        return queries


def before_pooling(network: nn.Module, name: str) -> nn.Module:
    """The part of a torchvision network that gives its feature map or tokens.

    Its state has the names that it has in the whole network.

    Raises:
        RecipeError: the network has no such part.
    """
    if isinstance(network, models.VisionTransformer):
        return _Tokens(network)
    for kind, names in _BEFORE_POOLING.items():
        if isinstance(network, kind):
            parts = OrderedDict((each, getattr(network, each)) for each in names)
            if isinstance(network, models.ConvNeXt):
                parts["classifier"] = nn.Sequential(network.classifier[0])  # its last norm
            if isinstance(network, models.DenseNet):
                parts["relu"] = nn.ReLU()
            return nn.Sequential(parts)
    raise RecipeError(f"backbone '{name}' has no feature map for the head 'ml-decoder'")


class _Tokens(nn.Module):
    """A vision transformer of torchvision up to its tokens, that of the class among them."""

    def __init__(self, network: models.VisionTransformer) -> None:
        super().__init__()
        self.image_size, self.patch_size = network.image_size, network.patch_size
        self.class_token = network.class_token
        self.conv_proj = network.conv_proj
        self.encoder = network.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to tokens (N, T, F)."""
        patches = self.conv_proj(images).flatten(2).transpose(1, 2)
        first = self.class_token.expand(len(patches), -1, -1)
        tokens: Tensor = self.encoder(torch.cat((first, patches), dim=1))
        return tokens


def _features(backbone: nn.Module, name: str, images: Tensor, *, spatial: bool) -> Tensor:
    with no_exit(f"backbone '{name}'"):
        if not (spatial and hasattr(backbone, "forward_features")):
            features: Tensor = backbone(images)
            return features
        features = backbone.forward_features(images)  # type: ignore[operator]
    last = getattr(backbone, "output_fmt", None) == "NHWC" and features.ndim == 4
    return features.permute(0, 3, 1, 2) if last else features


def _pooled(features: Tensor) -> Tensor:
    """The mean over the places of a feature map or over tokens: (N, F)."""
    if features.ndim == 4:
        return features.mean((2, 3))
    return features.mean(1) if features.ndim == 3 else features


def _behind(output: Tensor) -> Iterator[Tensor]:
    """The parameters that an output depends on."""
    nodes, seen = [output.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        nodes += [each for each, _ in node.next_functions]
