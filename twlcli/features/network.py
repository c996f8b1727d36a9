"""A network without its head, as what gives features."""

from __future__ import annotations

import copy
import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from twlcli.errors import ModelError, RecipeError
from twlcli.features.about import About
from twlcli.io import replacing
from twlcli.labels import Vocabulary
from twlcli.model.backbones import last_layer
from twlcli.model.onnx import OnnxPredictor
from twlcli.model.onnx_writer import write_onnx
from twlcli.model.predictor import Predictor
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.model.torch import TorchPredictor, normalise, to_unit
from twlcli.recipe.names import is_code

TOLERANCE = 1e-3  # of the largest feature: float32 sums in another order


def head_of(network: nn.Module, backbone: str) -> nn.Linear:
    """The last layer of a network, which has to be a linear one.

    Raises:
        RecipeError: it is none.
    """
    layer = last_layer(network)[1]
    if not isinstance(layer, nn.Linear):
        raise RecipeError(
            f"backbone '{backbone}' has no linear last layer, so no head can be found for it "
            "without training; expected another one"
        )
    return layer


def about(
    network: nn.Module, backbone: str, preprocessing: Preprocessing, device: torch.device
) -> About:
    """What the features of a network are known by.

    Args:
        network: with any head.
        backbone: its name.
        preprocessing: of images.
        device: that it runs on.
    """
    head = head_of(network, backbone)
    return About(
        backbone,
        _digest(network),
        preprocessing,
        str(_precision(device) or torch.float32).removeprefix("torch."),
        head.in_features,
        _response(network, head, preprocessing.crop, device) if is_code(backbone) else "",
    )


def predictor(network: nn.Module, about: About, path: Path, device: torch.device) -> Predictor:
    """What turns images into features (N, D), as a model whose logits they are.

    Args:
        network: with any head; it stays as it is.
        about: it.
        path: where its ONNX file is or will be; on a CPU ONNX Runtime runs it.
        device: that it runs on.
    """
    names = tuple(f"feature {number}" for number in range(about.width))
    spec = ModelSpec(Vocabulary(names), about.backbone, about.preprocessing, None, None)
    headless = copy.deepcopy(network)
    name, _ = last_layer(headless)
    headless.set_submodule(name, _Through(about.width, 1))
    headless.eval()
    if device.type != "cpu":
        return TorchPredictor(headless, spec, device, precision=_precision(device))
    plain = TorchPredictor(headless, spec, device)
    if path.exists():
        with suppress(ModelError):  # another network's, or damaged
            return _checked(path, plain)
    with replacing(path) as temporary:
        write_onnx(_FromPixels(headless, about.preprocessing), spec, temporary, ["logits"])
        _checked(temporary, plain)
    return OnnxPredictor(path, provider="cpu")


def _checked(path: Path, plain: Predictor) -> Predictor:
    """The network in an ONNX file.

    Raises:
        ModelError: it is damaged, or gives something else than the network in torch.
    """
    exported = OnnxPredictor(path, provider="cpu")
    if exported.spec != plain.spec:
        raise ModelError(f"{path}: is of another network")
    side = exported.spec.preprocessing.crop
    images = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    expected = plain(images)
    if not np.isfinite(expected).all():
        backbone = exported.spec.backbone
        raise ModelError(f"backbone '{backbone}' gives features that are not finite numbers")
    difference = float(np.abs(exported(images) - expected).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise ModelError(
            f"the features of {exported.spec.backbone} differ by {difference:.2g} between torch "
            "and ONNX Runtime"
        )
    return exported


class _Through(nn.Linear):
    """Gives what it gets; a linear layer, as a network may look at what kind of head it has."""

    def forward(self, features: Tensor) -> Tensor:
        return features


class _FromPixels(nn.Module):
    """The graph of features: uint8 RGB images (N, H, W, 3) in, features (N, D) out."""

    def __init__(self, headless: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.headless = headless
        self.preprocessing = preprocessing

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.headless(normalise(to_unit(images), self.preprocessing))
        return features


def _response(network: nn.Module, head: nn.Linear, side: int, device: torch.device) -> str:
    """Means and deviations of the features of two images of noise, to three digits."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, side, side, generator=generator).to(device)
    seen: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    was_training = network.training
    network.to(device).eval()
    try:
        with torch.inference_mode():
            network(images)
    finally:
        hook.remove()
        network.train(was_training)
    features = seen[0].float().flatten(1)
    deviations, means = torch.std_mean(features, 1)
    return " ".join(f"{value:.3g}" for value in torch.cat((means, deviations)).tolist())


def _precision(device: torch.device) -> torch.dtype | None:
    """The type of autocast on a device; a GPU's features differ by what bfloat16 rounds."""
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else None


def _digest(network: nn.Module) -> str:
    """SHA-256 of all parameters and buffers but for the head's, in hexadecimal."""
    head = last_layer(network)[0] + "."
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        if not name.startswith(head):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
