"""Multi-label losses of logits (N, C) and targets (N, C): pure functions, and modules beside them.

Targets are 1 present, 0 absent and -1 unknown, of bool, integer or float dtype; BCE, focal and ASL
also take those between 0 and 1, as smoothed labels are. Any other is an error. Every loss computes
in at least float32 whatever the dtype of the logits, and returns a scalar.
"""

from collections.abc import Callable

from torch import Tensor

from twlcli.losses.elementwise import asymmetric_loss, bce_loss, focal_loss
from twlcli.losses.margin import margin_loss
from twlcli.losses.modules import (
    AsymmetricLoss,
    BCELoss,
    ClassWiseLoss,
    FocalLoss,
    MarginLoss,
    RMLLoss,
    SampleWiseLoss,
    SoftmaxLoss,
    TwoWayLoss,
    WARPLoss,
    ZLPRLoss,
)
from twlcli.losses.pairwise import rml_loss, warp_loss
from twlcli.losses.softmax import softmax_loss
from twlcli.losses.two_way import class_wise_loss, sample_wise_loss, two_way_loss
from twlcli.losses.zlpr import zlpr_loss

__all__ = [
    "LOSSES",
    "AsymmetricLoss",
    "BCELoss",
    "ClassWiseLoss",
    "FocalLoss",
    "Loss",
    "MarginLoss",
    "RMLLoss",
    "SampleWiseLoss",
    "SoftmaxLoss",
    "TwoWayLoss",
    "WARPLoss",
    "ZLPRLoss",
    "asymmetric_loss",
    "bce_loss",
    "class_wise_loss",
    "focal_loss",
    "margin_loss",
    "rml_loss",
    "sample_wise_loss",
    "softmax_loss",
    "two_way_loss",
    "warp_loss",
    "zlpr_loss",
]

Loss = Callable[..., Tensor]  # loss(logits, targets, *, options) -> scalar

LOSSES: dict[str, Loss] = {
    "two-way": two_way_loss,
    "sample-wise": sample_wise_loss,
    "class-wise": class_wise_loss,
    "margin": margin_loss,
    "softmax": softmax_loss,
    "bce": bce_loss,
    "focal": focal_loss,
    "asl": asymmetric_loss,
    "warp": warp_loss,
    "rml": rml_loss,
    "zlpr": zlpr_loss,
}
