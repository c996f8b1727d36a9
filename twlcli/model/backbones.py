"""Torchvision's classification networks with a head of our own."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from twlcli.errors import ModelError, RecipeError
from twlcli.model.backbone_names import unknown_backbone

# Both have auxiliary heads that only their own training recipe uses, and weights that expect
# inputs in -1..1, which `transform_input` makes of normalised ones.
_INCEPTION = {"aux_logits": False, "transform_input": True, "init_weights": False}
_OPTIONS: dict[str, dict[str, Any]] = {"googlenet": _INCEPTION, "inception_v3": _INCEPTION}


LEAST_SHARE = 0.5  # of a backbone's parameters; weights with fewer are another network's


@dataclass(frozen=True)
class WeightsReport:
    """What of a weights file went into a network.

    Attributes:
        fitted: number of tensors that were copied.
        missing: the network's tensors that the file has not, or has in another shape; they
            keep their random values. The head's are not listed: they are always new.
        unused: tensors of the file that the network has not; a file's own head is not listed.
    """

    fitted: int
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def backbone_names() -> list[str]:
    """The names that `build_backbone` takes."""
    return list(models.list_models(module=models))


def build_backbone(name: str, label_count: int, *, image_size: int) -> nn.Module:
    """A torchvision classification network whose last layer gives one logit per label.

    Args:
        name: as `torchvision.models.list_models` names it, such as `resnet50`.
        label_count: C, the outputs of the new last layer.
        image_size: side of the square images that it will see, pixels.

    Raises:
        RecipeError: no such network, or one that does not take that image size.
    """
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
    head_name, head = _last_layer(network)
    parent = network.get_submodule(head_name.rpartition(".")[0])
    setattr(parent, head_name.rpartition(".")[2], _resized(head, label_count))
    return network


def head_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters of the last layer of a network from `build_backbone`."""
    return list(_last_layer(network)[1].parameters())


def load_weights(network: nn.Module, name: str, weights: str) -> WeightsReport | None:
    """Copy pretrained weights into a network, all but the head.

    Args:
        network: from `build_backbone`.
        name: the backbone's name.
        weights: `default` for torchvision's best (downloaded once), `none`, or a file: a
            state dict saved by torch, or safetensors. No code in it is run.

    Returns:
        What fitted; None for `none`.

    Raises:
        ModelError: the file cannot be read or downloaded, or fits less than half of the backbone.
    """
    if weights == "none":
        return None
    state = _downloaded(name) if weights == "default" else _read_state(Path(weights))
    if name.startswith("vit_"):
        state = _with_positions_of(network, state)
    own = network.state_dict()
    head = _last_layer(network)[0] + "."
    fitting = {
        key: value
        for key, value in state.items()
        if not key.startswith(head) and key in own and own[key].shape == value.shape
    }
    counters = {key for key in own if key.endswith("num_batches_tracked")}  # old files lack them
    backbone = {key for key in own if not key.startswith(head)}
    share = sum(own[key].numel() for key in fitting) / sum(own[key].numel() for key in backbone)
    if share < LEAST_SHARE:
        raise ModelError(
            f"{weights}: {len(fitting)} of its {len(state)} tensors fit backbone '{name}', with "
            f"{share:.1%} of its parameters; expected at least {LEAST_SHARE:.0%}"
        )
    load_state(network, fitting, strict=False)
    return WeightsReport(
        fitted=len(fitting),
        missing=tuple(sorted(backbone - counters - fitting.keys())),
        unused=tuple(sorted(key for key in state if key not in own and not key.startswith(head))),
    )


def load_state(network: nn.Module, state: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """Copy a state without the versions that torch keeps beside its own; MNASNet asks for them.

    Raises:
        RuntimeError: the state does not fit.
    """
    versioned = OrderedDict(state)
    versioned._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    network.load_state_dict(versioned, strict=strict)


def _last_layer(network: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """The last linear layer in order of definition, or SqueezeNet's last convolution."""
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


def _downloaded(name: str) -> Mapping[str, Tensor]:
    weights = models.get_model_weights(name)
    try:
        state: Mapping[str, Tensor] = weights.DEFAULT.get_state_dict(
            progress=False, check_hash=True
        )
    except (URLError, OSError, RuntimeError) as error:
        raise ModelError(
            f"cannot download the weights of '{name}' ({error})",
            hint="{weights} can name a file, or be none for random weights",
        ) from error
    return state


def _read_state(path: Path) -> Mapping[str, Tensor]:
    """The state dict in a file, without the wrapping that trainers put around it."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path}: cannot read the weights ({error.strerror or error})") from error
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"{path}: not a file of weights that is safe to load ({first_line})"
        ) from error
    for wrapper in ("state_dict", "model", "model_state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not any(isinstance(v, Tensor) for v in loaded.values()):
        raise ModelError(f"{path}: holds no state dict (a mapping of names to tensors)")
    return {
        key.removeprefix("module."): value
        for key, value in loaded.items()
        if isinstance(value, Tensor)
    }


def _with_positions_of(network: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A vision transformer's state with its position embedding resampled to the network's."""
    if "encoder.pos_embedding" not in state:
        return state
    size, patch = getattr(network, "image_size"), getattr(network, "patch_size")  # noqa: B009
    resampled: Mapping[str, Tensor] = interpolate_embeddings(size, patch, dict(state))
    return resampled
