"""The weights that a training begins with: pretrained ones, or those of another run."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from twlcli.errors import ModelError
from twlcli.io import check_not_compressed
from twlcli.model import timm_networks
from twlcli.model.backbone_names import HUB, TIMM
from twlcli.model.backbones import last_layer, load_state
from twlcli.model.checkpoint import CHECKPOINT_NAME, check_finite, is_checkpoint, read_checkpoint

# Files may hold twice the precision, moving averages and an optimizer's state too.
_TIMES_AS_LARGE = 10
_AND = 1 << 28  # bytes

LEAST_SHARE = 0.9  # of a backbone's parameters; weights with fewer are another network's


@dataclass(frozen=True)
class WeightsReport:
    """What of the weights went into a network.

    Attributes:
        fitted: number of tensors that were copied.
        missing: the backbone's tensors that the file has not, or has in another shape; they keep
            their random values.
        unused: tensors of the file that the backbone has not.
        labels_kept: labels whose part of the head was copied; None where the file is no model of
            twl's, whose head is then new.
        labels_new: the other labels.
    """

    fitted: int
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    labels_kept: tuple[str, ...] | None = None
    labels_new: tuple[str, ...] = ()


def load_weights(
    network: nn.Module,
    name: str,
    weights: str,
    labels: Sequence[str] = (),
    *,
    image_size: int = 224,
) -> WeightsReport | None:
    """Copy weights into a network.

    From a run or a checkpoint of twl's, the head takes the rows of the labels that both have.

    Args:
        network: from `build_backbone`.
        name: the backbone's name.
        weights: `default` for torchvision's best, or those of timm's name, and `hf-hub:ORG/NAME`
            for those of the hub, all downloaded once; `none`; or a path: a run folder, a state dict
            saved by torch, or safetensors. No code in it is run.
        labels: the network's, in the order of its outputs.
        image_size: side of the square images that it will see, pixels; for networks of timm.

    Returns:
        What fitted; None for `none`.

    Raises:
        ModelError: the file cannot be read or downloaded, is of another backbone, or fits less
            than nine tenths of this one.
    """
    if weights == "none":
        return None
    theirs: Sequence[str] | None = None
    _check_size(Path(weights), network)
    if name.startswith(TIMM) and (weights == "default" or weights.startswith(HUB)):
        state = timm_networks.pretrained_state(name, weights, image_size=image_size)
    elif weights == "default":
        state = _downloaded(name)
    elif is_checkpoint(Path(weights)):
        state, theirs = _of_a_model(Path(weights), name)
    else:
        state = _read_state(Path(weights))
        check_finite(state, Path(weights))
    if name.startswith(TIMM):
        state = timm_networks.fitted_state(network, state)
    elif name.startswith("vit_"):
        state = _with_positions_of(network, state)
    own = network.state_dict()
    head = last_layer(network)[0] + "."
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
    kept = None if theirs is None else tuple(label for label in labels if label in theirs)
    if theirs is not None and kept:
        rows, their_rows = [labels.index(x) for x in kept], [theirs.index(x) for x in kept]
        for key in (key for key in own if key.startswith(head)):
            fitting[key] = own[key].clone()
            fitting[key][rows] = state[key][their_rows]
    load_state(network, fitting, strict=False)
    return WeightsReport(
        fitted=len(fitting),
        missing=tuple(sorted(backbone - counters - fitting.keys())),
        unused=tuple(sorted(key for key in state if key not in own and not key.startswith(head))),
        labels_kept=kept,
        labels_new=tuple(label for label in labels if label not in (kept or ())),
    )


def origin_of(name: str, weights: str) -> dict[str, str] | None:
    """Where the weights that a training begins with come from; None for random ones.

    Args:
        name: the backbone's.
        weights: as for `load_weights`.
    """
    if weights == "none":
        return None
    if name.startswith(TIMM) and (weights == "default" or weights.startswith(HUB)):
        return timm_networks.origin(name, weights)
    if weights == "default":
        return {"source": models.get_model_weights(name).DEFAULT.url}
    return {"source": Path(weights).name}


def _of_a_model(path: Path, name: str) -> tuple[Mapping[str, Tensor], Sequence[str]]:
    """The state and the labels of a run or checkpoint."""
    spec, state = read_checkpoint(path)
    if spec.backbone != name:
        raise ModelError(
            f"{path}: its backbone is {spec.backbone}, not {name}",
            hint=f"{{backbone}} {spec.backbone}",
        )
    return state, spec.vocabulary.names


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


def _check_size(path: Path, network: nn.Module) -> None:
    """Raise ModelError for a file of far more weights than the network has.

    A file with holes may claim to hold any number and take no room on the disk.
    """
    file = path / CHECKPOINT_NAME if path.is_dir() else path
    if not file.is_file():
        return  # a name, or told later
    own = sum(each.numel() * each.element_size() for each in network.state_dict().values())
    size, most = file.stat().st_size, _TIMES_AS_LARGE * own + _AND
    if size > most:
        raise ModelError(
            f"{path}: has {size >> 20:,} MiB; expected at most {most >> 20:,} for this backbone"
        )


def _read_state(path: Path) -> Mapping[str, Tensor]:
    """The state dict in a file, without the wrapping that trainers put around it."""
    if path.exists() and not path.is_file():
        raise ModelError(f"{path}: is not a regular file; expected weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if zipfile.is_zipfile(path):  # else of an older torch
            check_not_compressed(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path}: cannot read the weights ({error.strerror or error})") from error
    except Exception as error:  # what is no weights makes torch's reader raise nearly anything
        raise ModelError(
            f"{path}: not a file of weights alone; expected tensors as torch.save or safetensors "
            "write them, of which nothing has to be run to read them"
        ) from error
    for wrapper in ("state_dict", "model", "model_state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not any(isinstance(v, Tensor) for v in loaded.values()):
        raise ModelError(f"{path}: holds no state dict (a mapping of names to tensors)")
    return {
        key.removeprefix("module."): value
        for key, value in loaded.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }


def _with_positions_of(network: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A vision transformer's state with its position embedding resampled to the network's."""
    if "encoder.pos_embedding" not in state:
        return state
    size, patch = getattr(network, "image_size"), getattr(network, "patch_size")  # noqa: B009
    resampled: Mapping[str, Tensor] = interpolate_embeddings(size, patch, dict(state))
    return resampled
