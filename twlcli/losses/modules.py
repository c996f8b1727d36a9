"""The losses as modules, for code that builds a loss once and calls it as `loss(logits, targets)`.

Each has the keywords of its function, with the same defaults, and checks them when it is built. The
options are attributes that can be changed; there are no parameters. Mathematics, shapes and errors
are those of the functions. A module can be copied and pickled unless it has a `group`.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

from twlcli.losses.elementwise import Reduction, asymmetric_loss, bce_loss, focal_loss
from twlcli.losses.lines import ClassScope
from twlcli.losses.margin import margin_loss
from twlcli.losses.pairwise import rml_loss, warp_loss
from twlcli.losses.softmax import softmax_loss
from twlcli.losses.two_way import class_wise_loss, sample_wise_loss, two_way_loss
from twlcli.losses.zlpr import zlpr_loss


class LossModule(nn.Module):
    """A loss with its options.

    Raises:
        TypeError: when built, there is no such option.
        ValueError: when built, an option is out of its range.
    """

    function: ClassVar[Any]

    def __new__(cls, *positional: Any, **options: Any) -> Self:
        """Refuse an option that the loss does not have, by the name of the loss that was built."""
        if positional or options:  # there are none when a module is copied
            signature = inspect.signature(cls.__init__)
            try:
                signature.bind(None, *positional, **options)
            except TypeError as error:
                known = ", ".join(list(signature.parameters)[1:])
                raise TypeError(f"{cls.__name__}: {error}; its keywords are {known}") from None
        return super().__new__(cls)

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._names = tuple(options)
        for name, value in options.items():
            if isinstance(value, Tensor):  # moves with the module; an option is no state to save
                self.register_buffer(name, value, persistent=False)
            else:
                setattr(self, name, value)
        self._check()

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of logits (N, C) and targets (N, C), a scalar."""
        loss: Tensor = self.function(logits, targets, **self.options)
        return loss

    @property
    def options(self) -> dict[str, Any]:
        """What the function is called with beside logits and targets."""
        return {name: getattr(self, name) for name in self._names}

    def extra_repr(self) -> str:
        """The options, as `print` shows them; a tensor by its shape."""
        shown = {
            name: f"tensor of {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
            for name, value in self.options.items()
            if name != "group" or value is not None
        }
        return ", ".join(f"{name}={text}" for name, text in shown.items())

    def _check(self, labels: int = 1) -> None:
        """Let the function say what is wrong with its options, by a batch without images."""
        nothing = torch.zeros(0, labels, device="cpu")
        self.function(nothing, nothing, **{**self.options, "group": None})


class _OfColumns(LossModule):
    """What the losses share that compare images."""

    def __init__(
        self,
        *,
        positive_temperature: float = 4.0,
        negative_temperature: float = 1.0,
        margin: float = 0.0,
        anchor: bool = False,
        class_scope: ClassScope = "global",
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__(
            positive_temperature=positive_temperature,
            negative_temperature=negative_temperature,
            margin=margin,
            anchor=anchor,
            class_scope=class_scope,
            group=group,
        )


class TwoWayLoss(_OfColumns):
    """Each image's labels compared with each other, and each label's images: `two_way_loss`.

        mean over rows of softplus(T_N log sum_N exp(x / T_N) + T_P log sum_P exp(-x / T_P) + m)
        + the same over columns

    Example:
        >>> loss = TwoWayLoss(positive_temperature=2.0)
        >>> loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(0.6931)
    """

    function = staticmethod(two_way_loss)


class SampleWiseLoss(LossModule):
    """Each image's present labels above its absent ones, the rows: `sample_wise_loss`.

    Example:
        >>> SampleWiseLoss()(torch.tensor([[2.0, 0.0]]), torch.tensor([[1, 0]]))
        tensor(0.1269)
    """

    function = staticmethod(sample_wise_loss)

    def __init__(
        self,
        *,
        positive_temperature: float = 4.0,
        negative_temperature: float = 1.0,
        margin: float = 0.0,
        anchor: bool = False,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__(
            positive_temperature=positive_temperature,
            negative_temperature=negative_temperature,
            margin=margin,
            anchor=anchor,
            group=group,
        )


class ClassWiseLoss(_OfColumns):
    """The images that have a label above those that have not, the columns: `class_wise_loss`.

    Example:
        >>> ClassWiseLoss()(torch.tensor([[2.0], [0.0]]), torch.tensor([[1], [0]]))
        tensor(0.1269)
    """

    function = staticmethod(class_wise_loss)


class MarginLoss(LossModule):
    """softplus(log sum_N exp(x) + log sum_P exp(-x) + margin), averaged over images: `margin_loss`.

    Example:
        >>> MarginLoss(margin=0.0)(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(0.6931)
    """

    function = staticmethod(margin_loss)

    def __init__(self, *, margin: float = 1.0, group: dist.ProcessGroup | None = None) -> None:
        super().__init__(margin=margin, group=group)


class SoftmaxLoss(LossModule):
    """-1 / |P| sum_P log softmax(x), averaged over images: `softmax_loss`.

    Example:
        >>> SoftmaxLoss()(torch.zeros(1, 4), torch.tensor([[1, 0, 0, -1]]))
        tensor(1.0986)
    """

    function = staticmethod(softmax_loss)

    def __init__(self, *, group: dist.ProcessGroup | None = None) -> None:
        super().__init__(group=group)


class BCELoss(LossModule):
    """-(w t log p + (1 - t) log(1 - p)) with p = sigmoid(x) and t from 0 to 1: `bce_loss`.

    Unlike `torch.nn.BCELoss` it takes logits.

    Example:
        >>> loss = BCELoss(positive_weight=torch.tensor([3.0, 1.0]))
        >>> loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(1.3863)
    """

    function = staticmethod(bce_loss)

    def __init__(
        self,
        *,
        positive_weight: Tensor | float | None = None,
        reduction: Reduction = "mean",
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__(positive_weight=positive_weight, reduction=reduction, group=group)

    def _check(self, labels: int = 1) -> None:
        weight = self.options["positive_weight"]
        if isinstance(weight, Tensor):
            if not (weight >= 0).all():
                raise ValueError(f"expected a positive_weight >= 0, got {weight.min().item()}")
            labels = weight.numel()
        super()._check(labels)


class FocalLoss(LossModule):
    """-(1 - p_t)^gamma log p_t, the cross-entropy that fades where it is small: `focal_loss`.

    Example:
        >>> FocalLoss(gamma=0.0)(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(0.6931)
    """

    function = staticmethod(focal_loss)

    def __init__(
        self,
        *,
        gamma: float = 2.0,
        alpha: float | None = None,
        reduction: Reduction = "mean",
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__(gamma=gamma, alpha=alpha, reduction=reduction, group=group)


class AsymmetricLoss(LossModule):
    """-(1 - p)^g log p of present labels, -p_m^h log(1 - p_m) of absent ones: `asymmetric_loss`.

    g and h are `gamma_positive` and `gamma_negative`, and p_m = max(p - clip, 0).

    Example:
        >>> AsymmetricLoss(reduction="mean")(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(0.3588)
    """

    function = staticmethod(asymmetric_loss)

    def __init__(
        self,
        *,
        gamma_negative: float = 4.0,
        gamma_positive: float = 0.0,
        clip: float = 0.05,
        focus_gradient: bool = False,
        reduction: Reduction = "sum",
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__(
            gamma_negative=gamma_negative,
            gamma_positive=gamma_positive,
            clip=clip,
            focus_gradient=focus_gradient,
            reduction=reduction,
            group=group,
        )


class WARPLoss(LossModule):
    """sum_P sum_N L(r_j) max(0, 1 - x_j + x_k), averaged over images: `warp_loss`.

    Example:
        >>> WARPLoss()(torch.zeros(1, 3), torch.tensor([[1, 0, 0]]))
        tensor(3.)
    """

    function = staticmethod(warp_loss)

    def __init__(self, *, sampled: bool = False, group: dist.ProcessGroup | None = None) -> None:
        super().__init__(sampled=sampled, group=group)


class RMLLoss(LossModule):
    """WARP with a hinge that is bounded, and one for each label beside it: `rml_loss`.

    Example:
        >>> RMLLoss(kappa=0.0)(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(1.)
    """

    function = staticmethod(rml_loss)

    def __init__(
        self, *, ramp: float = -0.8, kappa: float = 2.0, group: dist.ProcessGroup | None = None
    ) -> None:
        super().__init__(ramp=ramp, kappa=kappa, group=group)


class ZLPRLoss(LossModule):
    """log(1 + sum_N exp(x)) + log(1 + sum_P exp(-x)), averaged over images: `zlpr_loss`.

    Example:
        >>> ZLPRLoss()(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(1.3863)
    """

    function = staticmethod(zlpr_loss)

    def __init__(self, *, group: dist.ProcessGroup | None = None) -> None:
        super().__init__(group=group)
