"""The names of losses and heads: what the command line's help needs, without pydantic."""

from __future__ import annotations

import re
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
HeadName = Literal["linear", "ml-decoder"]
HEAD_NAMES: tuple[HeadName, ...] = get_args(HeadName)

_CODE = re.compile(r"(?!timm:)[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_code(name: str) -> bool:
    """Whether the name of a network or loss is `module:function`, code of the user's own.

    Example:
        >>> [is_code(name) for name in ("my.nets:small", "resnet50", "timm:resnet18")]
        [True, False, False]
    """
    return _CODE.fullmatch(name) is not None
