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
from twlcli.model.backbones import backbone_of, last_layer, load_state
from twlcli.model.checkpoint import CHECKPOINT_NAME, check_finite, is_checkpoint, read_checkpoint
from twlcli.recipe.names import is_code

# Files may hold twice the precision, moving averages and an optimizer's state too.
_TIMES_AS_LARGE = 10
_AND = 1 << 28  # bytes

_GROUPS = 100  # labels above which those of ML-Decoder share queries
_OF_LABELS = ("query_embed.weight", "duplicate_pooling", "duplicate_pooling_bias")
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
            saved by torch, or safetensors. No code in it is run. The function of a network of the
            user's has loaded its `default` itself.
        labels: the network's, in the order of its outputs.
        image_size: side of the square images that it will see, pixels; for networks of timm.

    Returns:
        What fitted; None for `none`, and for the `default` of a network of the user's.

    Raises:
        ModelError: the file cannot be read or downloaded, is of another backbone, or fits less
            than nine tenths of this one.
    """
    if weights == "none" or (weights == "default" and is_code(name)):
        return None
    backbone, prefix = backbone_of(network)
    theirs: Sequence[str] | None = None
    their_head: Mapping[str, Tensor] = {}
    _check_size(Path(weights), network)
    if name.startswith(TIMM) and (weights == "default" or weights.startswith(HUB)):
        state = timm_networks.pretrained_state(name, weights, image_size=image_size)
    elif weights == "default":
        state = _downloaded(name)
    elif is_checkpoint(Path(weights)):
        state, their_head, theirs = _of_a_model(Path(weights), name, network)
    else:
        state = _read_state(Path(weights))
        check_finite(state, Path(weights))
    if name.startswith(TIMM):
        state = timm_networks.fitted_state(backbone, state)
    elif name.startswith("vit_"):
        state = _with_positions_of(backbone, state)
    state = {prefix + key: value for key, value in state.items()}
    own = network.state_dict()
    head = last_layer(network)[0] + "."
    fitting = {
        key: value
        for key, value in state.items()
        if not key.startswith(head) and key in own and own[key].shape == value.shape
    }
    counters = {key for key in own if key.endswith("num_batches_tracked")}  # old files lack them
    below = {key for key in own if not key.startswith(head)}
    share = sum(own[key].numel() for key in fitting) / sum(own[key].numel() for key in below)
    if share < LEAST_SHARE:
        raise ModelError(
            f"{weights}: {len(fitting)} of its {len(state)} tensors fit backbone '{name}', with "
            f"{share:.1%} of its parameters; expected at least {LEAST_SHARE:.0%}"
        )
    kept: tuple[str, ...] | None = None
    if theirs is not None:
        own_head = {key.removeprefix(head): own[key] for key in own if key.startswith(head)}
        taken, kept = _of_known_labels(own_head, their_head, labels, theirs)
        fitting |= {head + key: value for key, value in taken.items()}
    load_state(network, fitting, strict=False)
    unused = (key for key in state if key not in own and not key.startswith(head))
    return WeightsReport(
        fitted=len(fitting),
        missing=tuple(sorted(below - counters - fitting.keys())),
        unused=tuple(sorted(key.removeprefix(prefix) for key in unused)),
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
    if weights == "default" and is_code(name):
        return {"source": name}
    if weights == "default":
        return {"source": models.get_model_weights(name).DEFAULT.url}
    return {"source": Path(weights).name}


def _of_known_labels(
    own: Mapping[str, Tensor],
    their: Mapping[str, Tensor],
    labels: Sequence[str],
    theirs: Sequence[str],
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """A head with what another one of its kind learned of the labels that both have.

    ML-Decoder's labels share queries where there are more than a hundred; then they are known
    where all labels are the same alone.

    Returns:
        The head's tensors that are to be set, and the labels that are kept.
    """
    if not their:
        return {}, ()
    if list(labels) == list(theirs):
        return dict(their), tuple(labels)
    is_decoder = any(key in own for key in _OF_LABELS)
    shared = {key: their[key] for key in own if is_decoder and key not in _OF_LABELS}
    if is_decoder and max(len(labels), len(theirs)) > _GROUPS:
        return shared, ()
    kept = tuple(label for label in labels if label in theirs)
    rows, their_rows = [labels.index(x) for x in kept], [theirs.index(x) for x in kept]
    for key in (key for key in own if kept and key not in shared):
        shared[key] = own[key].clone()
        shared[key][rows] = their[key][their_rows]
    return shared, kept


def _of_a_model(
    path: Path, name: str, network: nn.Module
) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor], Sequence[str]]:
    """The backbone, the head where it is of the network's kind, and the labels of a checkpoint."""
    spec, state = read_checkpoint(path)
    if spec.backbone != name:
        raise ModelError(
            f"{path}: its backbone is {spec.backbone}, not {name}",
            hint=f"{{backbone}} {spec.backbone}",
        )
    own, layer = last_layer(network)
    same = isinstance(layer, nn.Linear | nn.Conv2d) is (spec.head == "linear")
    head = {
        key.removeprefix(f"{own}."): value
        for key, value in state.items()
        if same and key.startswith(f"{own}.")
    }
    if spec.head != "linear" or is_code(name):  # the backbone is a part of its own
        state = {
            key.removeprefix("backbone."): value
            for key, value in state.items()
            if key.startswith("backbone.")
        }
    return state, head, spec.vocabulary.names


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
