"""`[loss]`: each loss with its options and its learning rate.

The rates are those of the new head at a batch of 64, for SGD with Nesterov momentum 0.9, the
gradient's norm bounded at 20, and losses that are sums over labels and means over images. Measured
with `twl compare` on VOC2007 (MobileNetV2, 96 pixels, three epochs; mAP@class on held-out training
images at a third of the rate, at the rate, and at three times it): two-way 57.8, 63.5, 57.8;
sample-wise 51.2, 58.0, 46.5; softmax 49.4, 54.5, 45.0; BCE 51.5, 61.0, 57.7; ASL 49.5, 58.7, 52.3;
ZLPR 46.2, 61.7, 58.8; WARP 47.3, 52.1, 44.4; RML 44.7, 56.2, 54.8. Class-wise, margin and focal
were measured on frozen features only, where their best rates were those of two-way and sample-wise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

from pydantic import ConfigDict, Discriminator, Field, Tag

from twlcli.errors import did_you_mean
from twlcli.recipe.base import KeyRefused, Section, shown
from twlcli.recipe.names import LossName, is_code

Option = float | bool | str | None
Margin = Annotated[
    float,
    Field(ge=-1e6, le=1e6, description="By how much positives are to exceed negatives."),
]
Reduction = Annotated[
    Literal["image", "mean", "sum"],
    Field(
        description="How entries become one number: image sums over labels and takes the mean over "
        "images, mean takes the mean over all entries, sum their sum."
    ),
]


class Differs(NamedTuple):
    """The default of the function in `twlcli.losses`, and why the recipe's is another."""

    function: Option
    reason: str


class LossRecipe(Section):
    """The loss that is minimised, and its options; each loss has its own."""

    section: ClassVar[str] = "loss"
    learning_rate: ClassVar[float] = 0.01  # of the head at a batch of 64
    differs: ClassVar[Mapping[str, Differs]] = {}

    name: LossName = Field(
        default="two-way",
        description="The loss, or `module:function` for one of your own; another one has other "
        "options, and its own learning rate.",
    )
    class_scope: Literal["global", "local"] = Field(
        default="global",
        description="Where samples are compared with each other: global over the batch of all "
        "ranks, local within each rank's part of it.",
    )

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """The keys beside the name and the class scope."""
        return tuple(key for key in cls.model_fields if key not in LossRecipe.model_fields)

    @property
    def options(self) -> dict[str, Option]:
        """What the loss's function takes, by keyword."""
        return {key: getattr(self, key) for key in self.option_names()}

    def kept(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Another loss has options of its own."""
        if given.get("name", self.name) == self.name:
            return dict(self)
        return {"class_scope": self.class_scope}

    @classmethod
    def _no_key(cls, name: str) -> str:
        loss = cls.model_fields["name"].default
        known = ", ".join(cls.option_names()) or "none"
        hint = did_you_mean(name, cls.model_fields) or f" (it has {known})"
        return f"'{name}' is not an option of the loss '{loss}'{hint}"


class _Temperatures(LossRecipe):
    positive_temperature: float = Field(
        default=4.0,
        ge=1e-6,
        le=1e6,
        description="T_P: the higher, the more evenly all positives count, not the lowest alone.",
    )
    negative_temperature: float = Field(
        default=1.0,
        ge=1e-6,
        le=1e6,
        description="T_N: the higher, the more evenly all negatives count, not the highest alone.",
    )
    margin: Margin = 0.0
    anchor: bool = Field(
        default=False,
        description="Whether positives are also to exceed 0, and negatives to stay below it.",
    )


class TwoWayRecipe(_Temperatures):
    """The two-way loss of Kobayashi, CVPR 2023: sample-wise plus class-wise."""

    name: Literal["two-way"] = "two-way"


class SampleWiseRecipe(_Temperatures):
    """The sample-wise half of two-way: an image's present labels exceed its absent ones."""

    name: Literal["sample-wise"] = "sample-wise"


class ClassWiseRecipe(_Temperatures):
    """The class-wise half of two-way: images with a label exceed those without it."""

    name: Literal["class-wise"] = "class-wise"


class MarginRecipe(LossRecipe):
    """The margin-bias loss: sample-wise with both temperatures 1."""

    name: Literal["margin"] = "margin"
    margin: Margin = 1.0


class SoftmaxRecipe(LossRecipe):
    """Softmax over an image's labels, with the target spread evenly over the present ones."""

    name: Literal["softmax"] = "softmax"


def _reduction_of(function: str) -> Differs:
    return Differs(
        function,
        "image is what the relative losses do, so that one learning rate serves any batch size "
        "and any number of labels",
    )


class BceRecipe(LossRecipe):
    """Binary cross-entropy."""

    name: Literal["bce"] = "bce"
    positive_weight: float = Field(
        default=1.0,
        ge=0,
        le=1e6,
        description="Weight of present labels; 1 leaves the loss as it is.",
    )
    reduction: Reduction = "image"
    differs: ClassVar[Mapping[str, Differs]] = {
        "positive_weight": Differs(None, "TOML has no such value, and 1 is the same loss"),
        "reduction": _reduction_of("mean"),
    }


class FocalRecipe(LossRecipe):
    """The focal loss of Lin et al., ICCV 2017."""

    name: Literal["focal"] = "focal"
    gamma: float = Field(
        default=2.0,
        ge=0,
        le=100,
        description="The higher, the less labels count that are already right; 0 is binary "
        "cross-entropy.",
    )
    alpha: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Weight of present labels, and 1 less it of absent ones; left out, both are 1.",
    )
    reduction: Reduction = "image"
    differs: ClassVar[Mapping[str, Differs]] = {"reduction": _reduction_of("mean")}


class AslRecipe(LossRecipe):
    """The asymmetric loss (ASL) of Ridnik et al., ICCV 2021."""

    name: Literal["asl"] = "asl"
    gamma_negative: float = Field(
        default=4.0,
        ge=0,
        le=100,
        description="The higher, the less absent labels count that are already right.",
    )
    gamma_positive: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="The higher, the less present labels count that are already right.",
    )
    clip: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Absent labels with a probability up to this one add nothing.",
    )
    focus_gradient: bool = Field(
        default=True, description="Whether the factors with a gamma have a gradient of their own."
    )
    reduction: Reduction = "image"
    differs: ClassVar[Mapping[str, Differs]] = {
        "focus_gradient": Differs(
            False,
            "the recipe follows the authors' optimised class and timm, the function the authors' "
            "script; the learning rate was measured with true",
        ),
        "reduction": _reduction_of("sum"),
    }


class WarpRecipe(LossRecipe):
    """WARP of Gong et al., 2014: pairs, weighted by the rank of the present label."""

    name: Literal["warp"] = "warp"
    learning_rate: ClassVar[float] = 0.006
    sampled: bool = Field(
        default=False, description="Whether the rank is estimated by drawing, as the authors do."
    )


class RmlRecipe(LossRecipe):
    """The robust multi-label loss (RML) of Cevikalp et al., 2019: WARP with a bounded hinge."""

    name: Literal["rml"] = "rml"
    learning_rate: ClassVar[float] = 0.006
    ramp: float = Field(
        default=-5.0,
        ge=-1e6,
        lt=1,
        description="Where the hinge turns flat: entries further on the wrong side teach nothing.",
    )
    kappa: float = Field(
        default=2.0, ge=0, le=1e6, description="Weight of the sum over labels beside that of pairs."
    )
    differs: ClassVar[Mapping[str, Differs]] = {
        "ramp": Differs(
            -0.8,
            "measured like the learning rates, -0.8 gives mAP@class 52.9 and mAP@sample 60.7, and "
            "-5 gives 57.1 and 77.3",
        )
    }


class ZlprRecipe(LossRecipe):
    """ZLPR of Su et al., 2022: present labels above 0, absent ones below."""

    name: Literal["zlpr"] = "zlpr"


class UserLossRecipe(LossRecipe):
    """A function `loss(logits, targets, **options) -> scalar` of your own, called with the options
    that the recipe gives it.
    """

    model_config = ConfigDict(extra="allow")

    name: str  # type: ignore[assignment]
    __pydantic_extra__: dict[str, bool | int | float | str]

    @property
    def options(self) -> dict[str, Option]:
        """What the function takes, by keyword."""
        return dict(self.model_extra or {})

    @classmethod
    def _refusal(
        cls, kind: str, place: tuple[int | str, ...], error: Mapping[str, Any]
    ) -> KeyRefused:
        if place and place[0] not in cls.model_fields:
            key = f"{cls.section}.{place[0]}"
            value = shown(error["input"])
            return KeyRefused(key, f"{key} is {value}, expected a number, a text, true or false")
        return super()._refusal(kind, place, error)


_KnownLoss = Annotated[
    TwoWayRecipe
    | SampleWiseRecipe
    | ClassWiseRecipe
    | MarginRecipe
    | SoftmaxRecipe
    | BceRecipe
    | FocalRecipe
    | AslRecipe
    | WarpRecipe
    | RmlRecipe
    | ZlprRecipe,
    Field(discriminator="name"),
]


def _whose(loss: Any) -> str:
    name = loss.get("name") if isinstance(loss, Mapping) else getattr(loss, "name", None)
    return "user" if isinstance(name, str) and is_code(name) else "twl"


AnyLoss = Annotated[
    Annotated[_KnownLoss, Tag("twl")] | Annotated[UserLossRecipe, Tag("user")],
    Discriminator(_whose),
]
LOSS_RECIPES: Mapping[str, type[LossRecipe]] = {
    loss.model_fields["name"].default: loss for loss in get_args(get_args(_KnownLoss)[0])
}
