"""Activation checkpointing: what a block of a network made is computed again when it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from twlcli.errors import RecipeError
from twlcli.recipe import Recipe
from twlcli.training.buffers import kept_buffers

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_OF_STAGES = ("blocks", "layers")  # what modules that are stages call their blocks


def recompute_blocks(network: nn.Module, recipe: Recipe) -> None:
    """Have the blocks of a network keep their inputs alone, and compute the rest once more.

    The backward pass runs a block's forward pass again before it goes through it: with the same
    random numbers and precision, and without counting in running statistics. So gradients are what
    they are otherwise, bit for bit where the device repeats its results. Names of modules and of
    parameters stay.

    Args:
        network: changed in place; it cannot be copied afterwards.
        recipe: that asks for it.

    Raises:
        RecipeError: the network has no blocks, or is to be compiled.
    """
    if recipe.train.compile:
        raise RecipeError(
            "train.checkpoint_activations and train.compile do not go together; leave one out"
        )
    blocks = {id(block): block for block in blocks_of(network)}
    if not blocks:
        raise RecipeError(
            f"train.checkpoint_activations finds no blocks in backbone '{recipe.model.backbone}'; "
            "expected modules of several layers in an nn.Sequential or nn.ModuleList",
            hint="{micro_batch} saves memory with any network",
        )
    for block in blocks.values():
        _recompute(block)


def blocks_of(module: nn.Module) -> Iterator[nn.Module]:
    """The blocks in a network: modules of several layers, not the stages that they are in."""
    in_container = isinstance(module, _CONTAINERS)
    for child in module.children():
        if not _has_layers(child):
            continue
        if in_container and not _is_stage(child):
            yield child
            continue
        inner = list(blocks_of(child))
        yield from inner
        if not inner and not isinstance(child, _CONTAINERS):
            yield child


def _has_layers(module: nn.Module) -> bool:
    """Whether it is made of others; timm's batch norm has an activation inside, and is a layer."""
    return any(module.children()) and not isinstance(module, _BatchNorm)


def _is_stage(module: nn.Module) -> bool:
    named = (child for name, child in module.named_children() if name in _OF_STAGES)
    return _holds_blocks(module) or any(map(_holds_blocks, named))


def _holds_blocks(module: nn.Module) -> bool:
    return isinstance(module, _CONTAINERS) and any(map(_has_layers, module.children()))


def _recompute(block: nn.Module) -> None:
    """Replace a block's forward pass by one that is computed again."""
    forward = block.forward

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), kept_buffers(block)

    def once_more(*inputs: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*inputs, **named)
        given = _with_own_lists(inputs)
        return checkpoint(computed, *given, use_reentrant=False, context_fn=contexts, **named)

    def computed(*inputs: Any, **named: Any) -> Any:
        return forward(*_with_own_lists(inputs), **named)

    block.forward = once_more


def _with_own_lists(inputs: Iterable[Any]) -> list[Any]:
    """Inputs whose lists nobody else changes: DenseNet's and HRNet's blocks do.

    Where a tensor is changed in place, torch's checkpoint says so.
    """
    return [list(each) if isinstance(each, list) else each for each in inputs]
