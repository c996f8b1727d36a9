"""Checkpoints: a network's weights with its spec, in one safetensors file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from twlcli.errors import ModelError
from twlcli.io import write_whole
from twlcli.model.backbones import build_backbone, last_layer, load_state, replace_head
from twlcli.model.spec import SPEC_KEY, ModelSpec

CHECKPOINT_NAME = "model.safetensors"  # in a run folder
_DIGEST_KEY = "twl.digest"  # of the weights, which safetensors itself does not check


def write_checkpoint(network: nn.Module, spec: ModelSpec, path: Path) -> None:
    """Write a network's weights and its spec; the file is whole or as it was before."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    data = save(tensors, metadata={SPEC_KEY: spec.to_json(), _DIGEST_KEY: _digest(tensors)})
    write_whole(path, lambda file: file.write(data))


def load_checkpoint(path: Path) -> tuple[nn.Module, ModelSpec]:
    """The network and spec in a run folder or `.safetensors` file, on the CPU.

    Raises:
        ModelError: no checkpoint is there, or it is damaged or not twl's.
    """
    file, spec, state = _read(path, with_weights=True)
    labels = len(spec.vocabulary)
    with torch.random.fork_rng(devices=[]):  # new weights are drawn, and then replaced
        # A spec can ask for any number of labels: the head is made once their weights are there.
        network = build_backbone(spec.backbone, 1, image_size=spec.preprocessing.crop)
        head = last_layer(network)[0] + "."
        shapes = {
            name: (labels, *value.shape[1:]) if name.startswith(head) else tuple(value.shape)
            for name, value in network.state_dict().items()
        }
        if shapes != {name: tuple(value.shape) for name, value in state.items()}:
            raise ModelError(f"{file}: its weights do not fit a {spec.backbone}")
        replace_head(network, labels)
    load_state(network, state)
    return network.eval(), spec


def is_checkpoint(path: Path) -> bool:
    """Whether a path is a run folder, or a safetensors file that twl wrote."""
    if path.is_dir():
        return True
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as opened:
            return SPEC_KEY in (opened.metadata() or {})
    except SafetensorError:
        return False


def read_checkpoint(path: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    """The spec and weights in a run folder or file; errors are those of `load_checkpoint`."""
    _, spec, state = _read(path, with_weights=True)
    return spec, state


def read_spec(path: Path) -> ModelSpec:
    """The spec in a run folder or `.safetensors` file; errors are those of `load_checkpoint`."""
    return _read(path, with_weights=False)[1]


def _read(path: Path, *, with_weights: bool) -> tuple[Path, ModelSpec, dict[str, Tensor]]:
    file = path / CHECKPOINT_NAME if path.is_dir() else path
    if not file.is_file():
        what = "run has no checkpoint yet" if path.is_dir() else "no such model"
        raise ModelError(f"{file}: {what}")
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            names = opened.keys() if with_weights else ()
            state = {name: opened.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ModelError(f"{file}: not a safetensors checkpoint ({error})") from error
    if SPEC_KEY not in metadata:
        raise ModelError(f"{file}: has no '{SPEC_KEY}' metadata; was it written by twl?")
    if with_weights and _DIGEST_KEY in metadata and metadata[_DIGEST_KEY] != _digest(state):
        raise ModelError(f"{file}: is damaged: its weights are not those that were written")
    check_finite(state, file)
    return file, ModelSpec.from_json(metadata[SPEC_KEY], source=file), state


def check_finite(state: Mapping[str, Tensor], file: Path) -> None:
    """Raise ModelError where a weight is no finite number."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{file}: '{name}' holds numbers that are not finite")


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
