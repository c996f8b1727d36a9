"""Batch norm whose statistics are those of all ranks together."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from twlcli.errors import DeviceError, RecipeError
from twlcli.recipe import TrainRecipe
from twlcli.training.devices import Ranks

_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def check_sync_norm(train: TrainRecipe, ranks: Ranks) -> None:
    """Raise where several ranks cannot share batch norm's statistics.

    Raises:
        DeviceError: the ranks are on CPUs, whose tensors torch's SyncBatchNorm does not take.
        RecipeError: the network is to be compiled.
    """
    if not train.sync_batch_norm or ranks.world == 1:
        return
    if ranks.device.type != "cuda":
        raise DeviceError(
            f"train.sync_batch_norm needs a CUDA GPU for each of {ranks.world} ranks; they are on "
            f"{ranks.device.type}; leave it out there"
        )
    if train.compile:
        raise RecipeError(
            "train.sync_batch_norm and train.compile do not go together; leave one out"
        )


def synchronised(network: nn.Module, group: dist.ProcessGroup) -> nn.Module:
    """The network with every batch norm replaced by one that takes statistics over a group.

    Parameters, buffers and their names stay. In evaluation it is batch norm, and asks no group.

    Args:
        network: changed in place, unless it is a batch norm itself.
        group: of the ranks, each with the network on its own GPU.

    Raises:
        RecipeError: a batch norm has code of its own, which torch's conversion would drop.
    """
    others = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) and type(module) not in _PLAIN
    }
    for name, module in others.items():
        if not _is_of_timm(module):
            raise RecipeError(
                f"train.sync_batch_norm does not take layer '{name}', a {type(module).__name__}; "
                "expected torch's own batch norm"
            )
    library: Any = import_module("timm.layers") if others else nn.SyncBatchNorm
    converted: nn.Module = library.convert_sync_batchnorm(network, group)
    return converted


def _is_of_timm(norm: nn.Module) -> bool:
    """Whether it is timm's batch norm with an activation, for which timm has a conversion."""
    return type(norm).__module__ == "timm.layers.norm_act"
