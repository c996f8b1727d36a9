"""The optimizer of a recipe and its learning rate at every step."""

from __future__ import annotations

import math

import torch
from torch import nn

from twlcli.model.backbones import head_parameters
from twlcli.model.layers import depths
from twlcli.recipe import Recipe

_FUSED = ("cpu", "cuda", "mps")  # devices for which torch has fused SGD and AdamW


def build_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or AdamW over the head, and over the backbone at `backbone_rate` of its learning rate.

    Each parameter group keeps its highest rate as `peak`. SGD decays every parameter, as the
    authors do; AdamW leaves out biases and normalisation, as is usual with it. With a `layer_decay`
    d, layers that are n below the head learn at d to the power of n times their rate, as in BEiT
    (Bao et al., 2021). Parameters without a gradient are in no group. All are changed by one kernel
    where torch has it.
    """
    options = recipe.optimizer
    peak = options.learning_rate
    head = {id(parameter) for parameter in head_parameters(network)}
    below = depths(network) if options.layer_decay < 1 else {}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = peak if id(parameter) in head else peak * options.backbone_rate
        rate *= options.layer_decay ** below.get(name, 0)
        decays = options.name == "sgd" or parameter.ndim > 1
        weight_decay = options.weight_decay if decays else 0.0
        groups.setdefault((rate, weight_decay), []).append(parameter)
    tables = [
        {"params": parameters, "lr": rate, "peak": rate, "weight_decay": weight_decay}
        for (rate, weight_decay), parameters in groups.items()
    ]
    fused = all(
        parameter.is_floating_point() and parameter.device.type in _FUSED
        for parameter in network.parameters()
    )
    if options.name == "adamw":
        return torch.optim.AdamW(tables, betas=(options.momentum, 0.999), fused=fused)
    nesterov = options.momentum > 0
    return torch.optim.SGD(tables, momentum=options.momentum, nesterov=nesterov, fused=fused)


def set_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, step: int, steps: int) -> None:
    """Set every group's learning rate for one of `steps` steps: `peak` times `rate_share`."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * rate_share(step, steps, warmup=recipe.schedule.warmup)


def rate_share(step: int, steps: int, *, warmup: float) -> float:
    """The share of the highest learning rate at a step counted from 0, in 0..1.

    Rises linearly over the first `warmup` of the steps, then falls as a half cosine to 0.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2
