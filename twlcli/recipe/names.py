"""The names of the losses: what the command line's help needs, without pydantic."""

from __future__ import annotations

from typing import Literal, get_args

LossName = Literal[
    "two-way",
    "sample-wise",
    "class-wise",
    "margin",
    "softmax",
    "bce",
    "focal",
    "asl",
    "warp",
    "rml",
    "zlpr",
]
LOSS_NAMES: tuple[LossName, ...] = get_args(LossName)
# Their gradients are not those of their values, so that there is no minimum to be found.
WITHOUT_MINIMUM: tuple[LossName, ...] = ("warp", "rml")
