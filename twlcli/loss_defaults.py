"""Each loss's best-known options and learning rate, in one place and without torch.

The rates are those of the new head at a batch of 64, for SGD with Nesterov momentum 0.9, the
gradient's norm bounded at 20, and losses that are sums over labels and means over images. Measured
with `twl compare` on VOC2007 (MobileNetV2, 96 pixels, three epochs; mAP@class on held-out training
images at a third of the rate, at the rate, and at three times it): two-way 57.8, 63.5, 57.8;
sample-wise 51.2, 58.0, 46.5; softmax 49.4, 54.5, 45.0; BCE 51.5, 61.0, 57.7; ASL 49.5, 58.7, 52.3;
ZLPR 46.2, 61.7, 58.8; WARP 47.3, 52.1, 44.4; RML 44.7, 56.2, 54.8. Class-wise, margin and focal
were measured on frozen features only, where their best rates were those of two-way and sample-wise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from twlcli.errors import RecipeError, did_you_mean

Option = float | bool | str | None
Reduction = Literal["image", "mean", "sum"]


@dataclass(frozen=True)
class LossDefaults:
    """What a loss is trained with unless told otherwise."""

    learning_rate: float
    options: Mapping[str, Option]


_TEMPERATURES: dict[str, Option] = {
    "positive_temperature": 4.0,
    "negative_temperature": 1.0,
    "margin": 0.0,
    "anchor": False,
}
LOSS_DEFAULTS: dict[str, LossDefaults] = {
    "two-way": LossDefaults(0.01, _TEMPERATURES),
    "sample-wise": LossDefaults(0.01, _TEMPERATURES),
    "class-wise": LossDefaults(0.01, _TEMPERATURES),
    "margin": LossDefaults(0.01, {"margin": 1.0}),
    "softmax": LossDefaults(0.01, {}),
    "bce": LossDefaults(0.01, {"positive_weight": 1.0, "reduction": "image"}),
    "focal": LossDefaults(0.01, {"gamma": 2.0, "alpha": None, "reduction": "image"}),
    "asl": LossDefaults(
        0.01,
        {
            "gamma_negative": 4.0,
            "gamma_positive": 0.0,
            "clip": 0.05,
            "focus_gradient": True,
            "reduction": "image",
        },
    ),
    "warp": LossDefaults(0.006, {"sampled": False}),
    # Flat only far on the wrong side: measured as above, a ramp of -0.8 gives mAP@class 52.9 and
    # mAP@sample 60.7, one of -5 gives 57.1 and 77.3.
    "rml": LossDefaults(0.006, {"ramp": -5.0, "kappa": 2.0}),
    "zlpr": LossDefaults(0.01, {}),
}
# The range of every option that is a number.
_RANGES: dict[str, tuple[float, float]] = {
    "positive_temperature": (1e-6, 1e6),
    "negative_temperature": (1e-6, 1e6),
    "margin": (-1e6, 1e6),
    "positive_weight": (0, 1e6),
    "gamma": (0, 100),
    "alpha": (0, 1),
    "gamma_negative": (0, 100),
    "gamma_positive": (0, 100),
    "clip": (0, 1 - 1e-9),
    "ramp": (-1e6, 1),
    "kappa": (0, 1e6),
}


def defaults_of(loss: str, place: str = "loss.name") -> LossDefaults:
    """The defaults of a loss.

    Raises:
        RecipeError: there is no such loss.
    """
    if loss not in LOSS_DEFAULTS:
        hint = did_you_mean(loss, LOSS_DEFAULTS) or f" ({', '.join(LOSS_DEFAULTS)})"
        raise RecipeError(f"{place} is '{loss}', which is not a loss{hint}")
    return LOSS_DEFAULTS[loss]


def checked_option(loss: str, key: str, value: object, place: str) -> Option:
    """A loss's option as the type that it takes.

    Raises:
        RecipeError: the loss has no such option, or the value does not fit.
    """
    known = defaults_of(loss).options
    if key not in known:
        hint = did_you_mean(key, known) or f" (it has {', '.join(known) or 'none'})"
        raise RecipeError(f"{place}: '{key}' is not an option of the loss '{loss}'{hint}")
    place = f"{place}: loss.{key} is {value!r}"
    if key == "reduction":
        if value not in get_args(Reduction):
            raise RecipeError(f"{place}, expected {', '.join(get_args(Reduction))}")
        return str(value)
    if key not in _RANGES:
        if not isinstance(value, bool):
            raise RecipeError(f"{place}, expected true or false")
        return value
    low, high = _RANGES[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise RecipeError(f"{place}, expected a number from {low:g} to {high:g}")
    return float(value)


def suitable_rate(
    loss: str, options: Mapping[str, Option], *, labels: int, batch_size: int
) -> float:
    """The learning rate of the head that suits a loss and a batch.

    It grows with the root of the batch up to 256 images, the most that was measured: the best rates
    of a grid by threes were between 0.0033 and 0.01 at 16, 0.01 at 64 and 0.03 at 256, for the
    two-way loss and BCE alike. A loss that is a mean over labels too has gradients `labels` times
    smaller, a sum over images `batch_size` times larger.

    Args:
        loss: a name in `LOSS_DEFAULTS`.
        options: the loss's.
        labels: C.
        batch_size: images per step.
    """
    rate = defaults_of(loss).learning_rate * math.sqrt(min(batch_size, 256) / 64)
    reduction = options.get("reduction", "image")
    if reduction == "mean":
        return rate * labels
    return rate / batch_size if reduction == "sum" else rate
