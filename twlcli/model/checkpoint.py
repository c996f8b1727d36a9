"""Checkpoints: a network's weights with its spec, in one safetensors file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from twlcli.errors import ModelError, reason_of
from twlcli.io import write_whole
from twlcli.model.backbones import build_backbone, last_layer, load_state, replace_head, resized
from twlcli.model.spec import SPEC_KEY, ModelSpec
from twlcli.model.user_code import check_allowed

CHECKPOINT_NAME = "model.safetensors"  # in a run folder
_DIGEST_KEY = "twl.digest"  # of the weights, which safetensors itself does not check


def write_checkpoint(network: nn.Module, spec: ModelSpec, path: Path) -> None:
    """Write a network's weights and its spec; the file is whole or as it was before."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    data = save(tensors, metadata={SPEC_KEY: spec.to_json(), _DIGEST_KEY: _digest(tensors)})
    write_whole(path, lambda file: file.write(data))


def load_checkpoint(path: Path, *, allow_code: bool = False) -> tuple[nn.Module, ModelSpec]:
    """The network and spec in a run folder or `.safetensors` file, on the CPU.

    Args:
        path: of the folder or file.
        allow_code: where its backbone is `module:function`, import it; never without.

    Raises:
        ModelError: no checkpoint is there, or it is damaged or not twl's; or it names code that is
            not allowed.
    """
    with torch.random.fork_rng(devices=[]):  # new weights are drawn, and then replaced
        made: list[nn.Module] = []
        build = partial(_built, allow_code=allow_code)
        _, spec, state = _read(path, with_weights=True, fits=lambda *has: made.append(build(*has)))
        (network,) = made
        replace_head(network, len(spec.vocabulary))
    load_state(network, state)
    return network.eval(), spec


def _built(
    file: Path, spec: ModelSpec, shapes: Mapping[str, Sequence[int]], *, allow_code: bool
) -> nn.Module:
    """A network with a single label whose other weights are those of a file, before they are read.

    A spec can ask for any number of labels, and a file hold any weights.

    Raises:
        ModelError: the file's weights are of another network.
    """
    check_allowed(spec.backbone, f"{file}: its backbone", allowed=allow_code)
    size = spec.preprocessing.crop
    network = build_backbone(
        spec.backbone, 1, image_size=size, head=spec.head, allow_code=allow_code
    )
    name, head = last_layer(network)
    with torch.device("meta"):  # shapes alone
        wanted = resized(head, len(spec.vocabulary)).state_dict(prefix=f"{name}.")
    expected = {key: [*value.shape] for key, value in (network.state_dict() | wanted).items()}
    if expected != {name: [*shape] for name, shape in shapes.items()}:
        raise ModelError(f"{file}: its weights do not fit a {spec.backbone}")
    return network


def is_checkpoint(path: Path) -> bool:
    """Whether a path is a run folder, or a safetensors file that twl wrote."""
    if path.is_dir():
        return True
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    _check_readable(path)
    try:
        with safe_open(path, framework="pt") as opened:
            return SPEC_KEY in (opened.metadata() or {})
    except SafetensorError:
        return False


def _check_readable(file: Path) -> None:
    """Raise ModelError for a file that is kept closed; safetensors says it is not there."""
    try:
        with file.open("rb"):
            return
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({reason_of(error)})") from error


def read_checkpoint(path: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    """The spec and weights in a run folder or file; errors are those of `load_checkpoint`."""
    _, spec, state = _read(path, with_weights=True)
    return spec, state


def read_spec(path: Path) -> ModelSpec:
    """The spec in a run folder or `.safetensors` file; errors are those of `load_checkpoint`."""
    return _read(path, with_weights=False)[1]


def _read(
    path: Path,
    *,
    with_weights: bool,
    fits: Callable[[Path, ModelSpec, Mapping[str, Sequence[int]]], object] | None = None,
) -> tuple[Path, ModelSpec, dict[str, Tensor]]:
    file = path / CHECKPOINT_NAME if path.is_dir() else path
    if not file.is_file():
        what = "run has no checkpoint yet" if path.is_dir() else "no such model"
        raise ModelError(f"{file}: {what}")
    _check_readable(file)
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            if SPEC_KEY not in metadata:
                raise ModelError(f"{file}: has no '{SPEC_KEY}' metadata; was it written by twl?")
            spec = ModelSpec.from_json(metadata[SPEC_KEY], source=file)
            names = opened.keys() if with_weights else ()
            if fits is not None:
                fits(file, spec, {name: opened.get_slice(name).get_shape() for name in names})
            state = {name: opened.get_tensor(name) for name in names}
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"{file}: not a safetensors checkpoint ({error})") from error
    if with_weights and _DIGEST_KEY in metadata and metadata[_DIGEST_KEY] != _digest(state):
        raise ModelError(f"{file}: is damaged: its weights are not those that were written")
    check_finite(state, file)
    return file, spec, state


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
