"""The sections of a recipe but for `[loss]`: type, range, default and meaning of every key.

The defaults are those of the authors of the two-way loss (SGD with Nesterov momentum, cosine
schedule, 224 pixels, crop, flip, colour jitter, lighting), with a warm-up and a bound on the
gradient that keep the loss from collapsing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
)

from twlcli.recipe.base import Section
from twlcli.recipe.names import HeadName

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MAX_RESIZE = 8192  # pixels; twlcli.model.spec takes no more


def _of_unicode(text: str) -> str:
    """Refuse what TOML cannot hold, such as the name of a file that is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("text of valid Unicode") from None
    return text


Text = Annotated[str, AfterValidator(_of_unicode)]


def _number_as_text(value: Any) -> Any:
    """A number as TOML reads `--set data.train_split=0`, as the name of a split."""
    return str(value) if type(value) is int else value


SplitNames = Annotated[Text, BeforeValidator(_number_as_text)]


def _tuple(values: Any) -> Any:
    """A list as TOML has it, or a text alone, as a tuple."""
    if isinstance(values, list):
        return tuple(values)
    return (values,) if isinstance(values, str) and values else values


Texts = Annotated[tuple[Text, ...], BeforeValidator(_tuple)]


Colour = Annotated[tuple[float, float, float], BeforeValidator(_tuple)]  # of red, green and blue


class DataRecipe(Section):
    """What is trained on."""

    section: ClassVar[str] = "data"

    path: Text = Field(
        default="", description="Label file or folder; `twl data show` says what is in it."
    )
    format: Text = Field(
        default="", description="Format of the labels, such as csv or coco; empty detects it."
    )
    images: Text = Field(
        default="",
        description="Folder that image paths are relative to; empty is that of the label file.",
    )
    coco_images: Text = Field(
        default="", description="Folder of a COCO file's images; empty is the usual place."
    )
    separator: Text = Field(
        default="", description="What separates the labels in a table's cell; empty detects it."
    )
    join_rows: bool = Field(
        default=False,
        description="Whether an image may have several rows of a table, which list its labels "
        "together.",
    )
    image_column: Text = Field(
        default="",
        description="Column of a table, or key in JSON, of the images; empty goes by the header.",
    )
    labels_column: Text = Field(
        default="", description="Column or key of the lists of labels; empty goes by the header."
    )
    label_columns: Text = Field(
        default="",
        description="Columns of a label each: names, ranges `first:last` and patterns such as "
        "`label_*`, separated by commas; empty goes by the cells.",
    )
    ignore_columns: Text = Field(
        default="", description="Columns that are not read, in the form of `label_columns`."
    )
    split_column: Text = Field(
        default="", description="Column or key of the splits; empty goes by the header."
    )
    group_column: Text = Field(
        default="",
        description="Column or key of what images belong to, such as a patient. Held-out images "
        "are drawn so that no group is parted.",
    )
    ignore_labels: Texts = Field(
        default=(),
        description="Labels that are left out, or patterns of them with `*` and `?`.",
    )
    min_images: int = Field(
        default=0,
        ge=0,
        le=10**9,
        description="Labels that fewer images have are left out; 0 is 20 for keywords of "
        "photographs, and 1 otherwise.",
    )
    blank: Literal["auto", "absent", "unknown"] = Field(
        default="auto",
        description="What empty cells mean in columns of labels; auto is unknown in columns with a "
        "0, and absent in others.",
    )
    minus_one: Literal["auto", "absent", "unknown"] = Field(
        default="auto",
        description="What -1 means in columns of labels; auto is unknown in tables with a 0, and "
        "absent in others.",
    )
    extension: Text = Field(
        default="", description="Ending of image names that have none, such as .jpg."
    )
    names: Text = Field(
        default="", description="File of the names of labels that are numbers; empty for none."
    )
    people: bool = Field(
        default=False,
        description="Whether, among keywords of photographs, the people in them are labels too.",
    )
    own_keywords: bool = Field(
        default=False,
        description="Whether, among keywords of photographs, those that twl added count too.",
    )
    val_data: Text = Field(
        default="",
        description="Label file or folder of the validation split; empty where `path` holds it.",
    )
    test_data: Text = Field(default="", description="Likewise of the test split.")
    corrections: Text = Field(
        default="",
        description="Table of image, label and verdict (present, absent or unknown): labels that "
        "were corrected; empty for none.",
    )
    train_split: SplitNames = Field(
        default="train",
        description="The split to train on, or several with commas between; a number is the fold "
        "of that number.",
    )
    validation_split: SplitNames = Field(
        default="val",
        description="The split, or splits, scored while training, and to which calibration and "
        "thresholds are fitted.",
    )
    splits: Text = Field(
        default="",
        description="A table of image and split, or a run folder whose split is used again; images "
        "that it does not name are for training. Empty goes by the labels.",
    )
    holdout: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Share of the training images that is held out where there is no validation "
        "split: the same images for a seed, in whatever order they come.",
    )
    unlabelled: Literal["negative", "drop"] = Field(
        default="negative",
        description="Images without labels: negative trains on them with every label absent, drop "
        "leaves them out.",
    )
    missing_positives: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Share of the absent labels that may be present all the same, as where labels "
        "are keywords: so many of a batch, those with the highest logits, take no part in the "
        "loss. It grows from 0 to this over the training.",
    )


class ModelRecipe(Section):
    """What is trained."""

    section: ClassVar[str] = "model"

    backbone: Text = Field(
        default="resnet50",
        description="A torchvision classification network, which `twl doctor --backbones` lists; "
        "`timm:NAME` for one of timm, `hf-hub:ORG/NAME` for one of timm on the Hugging Face hub, "
        "or `module:function` for one of your own.",
    )
    head: HeadName = Field(
        default="linear",
        description="What makes logits of the backbone's features: linear is one layer over their "
        "mean; ml-decoder is timm's, in which each label attends to the places of the feature map.",
    )
    weights: Text = Field(
        default="default",
        description="Initial weights: default downloads torchvision's or timm's, none is random, "
        "`hf-hub:ORG/NAME` is of the Hugging Face hub, and anything else is a file.",
    )
    frozen: bool = Field(
        default=False,
        description="Whether the backbone stays as it is. Then images go through it once, and the "
        "head is found to convergence, as `[frozen]` says; `[augment]`, `[optimizer]` and "
        "`[schedule]` do nothing.",
    )


class FrozenRecipe(Section):
    """How the head of a frozen backbone is found."""

    section: ClassVar[str] = "frozen"

    views: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Views of each training image: its centre, and random crops of which every "
        "other is a mirror image.",
    )
    folds: int = Field(
        default=5,
        ge=2,
        le=100,
        description="Parts of the training images; heads that are found without one of them say "
        "which penalty is best, and give the logits that calibration and thresholds are fitted to.",
    )
    penalty: float = Field(
        default=0.0,
        ge=0,
        le=1e9,
        description="Half of it times the square of the head's weights is added to the loss; 0 "
        "picks the one with the best mAP@class of a descending sequence.",
    )
    tolerance: float = Field(
        default=3e-4,
        ge=1e-6,
        le=0.1,
        description="Norm of the gradient at which a head is found, as a share of its norm for a "
        "head of zeros.",
    )


def _usual_resize(size: int) -> int:
    """8/7 of the network's size, as 256 is of 224."""
    return (16 * size + 7) // 14  # rounded; never a tie


class ImageRecipe(Section):
    """How images become the network's input."""

    section: ClassVar[str] = "image"

    size: int = Field(
        default=224,
        ge=8,
        le=4096,
        description="Side of the square that the network sees, in pixels.",
    )
    resize: int = Field(
        default_factory=lambda values: _usual_resize(values.get("size", 0)),
        ge=8,
        le=_MAX_RESIZE,
        description="Shorter side before the centre crop of evaluation, in pixels; at least "
        "`size`, and 8/7 of it where only `size` is given.",
    )
    interpolation: Literal["bilinear", "bicubic"] = Field(
        default="bilinear",
        description="How images are resized, in training and wherever the model runs later.",
    )
    mean: Colour = Field(
        default=IMAGENET_MEAN,
        description="Mean of red, green and blue in 0..1 that is taken from an image's.",
    )
    std: Colour = Field(
        default=IMAGENET_STD,
        description="Standard deviation that they are divided by. A backbone of timm brings the "
        "values of this section that it was pretrained with, for those that are not given.",
    )

    @field_validator("mean", "std")
    @classmethod
    def _is_of_an_image(cls, values: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        least = 0.0 if info.field_name == "mean" else 1e-3
        if not all(least <= value <= 1 for value in values):
            raise ValueError(f"three numbers from {least:g} to 1")
        return values

    @field_validator("resize")
    @classmethod
    def _covers_the_crop(cls, resize: int, info: ValidationInfo) -> int:
        size: int = info.data.get("size", 0)
        if resize < size:
            raise ValueError(f"a whole number from {size} to {_MAX_RESIZE}")
        return resize

    def kept(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """With a new size, `resize` follows again."""
        kept = super().kept(given)
        if "size" in given:
            kept.pop("resize", None)
        return kept


class AugmentRecipe(Section):
    """Random changes of training images."""

    section: ClassVar[str] = "augment"

    min_scale: float = Field(
        default=0.08,
        ge=1e-3,
        le=1,
        description="Smallest share of an image's area that a random crop keeps.",
    )
    max_stretch: float = Field(
        default=4 / 3,
        ge=1,
        le=10,
        description="Largest change of a crop's aspect ratio; 1 keeps every crop square.",
    )
    flip: float = Field(default=0.5, ge=0, le=1, description="Probability of a mirror image.")
    jitter: float = Field(
        default=0.4,
        ge=0,
        le=1,
        description="Brightness, contrast and saturation each change by up to this share.",
    )
    lighting: float = Field(
        default=0.1,
        ge=0,
        le=10,
        description="Standard deviation of AlexNet's colour noise along the principal components "
        "of ImageNet's colours.",
    )
    rand_augment: int = Field(
        default=0,
        ge=0,
        le=10,
        description="Operations of RandAugment on each image, drawn among shifts, shears, "
        "rotations and changes of tone; 0 does none.",
    )
    magnitude: int = Field(
        default=9,
        ge=0,
        le=30,
        description="How strong the operations of RandAugment are.",
    )
    erasing: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Probability that a rectangle of an image, 2 % to 33 % of it, is erased.",
    )


class OptimizerRecipe(Section):
    """How weights follow the gradient."""

    section: ClassVar[str] = "optimizer"

    name: Literal["sgd", "adamw"] = Field(
        default="sgd",
        description="SGD with Nesterov momentum, or AdamW, which does not decay biases and "
        "normalisation.",
    )
    learning_rate: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="Highest learning rate of the new head; 0 picks one to suit loss and batch.",
    )
    backbone_rate: float = Field(
        default=0.1,
        ge=0,
        le=1e3,
        description="The backbone's learning rate as a share of the head's.",
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="The learning rate of each layer of the backbone as a share of that of the "
        "layer above it; 1 gives all the same.",
    )
    momentum: float = Field(
        default=0.9, ge=0, lt=1, description="Momentum of SGD; the first beta of AdamW."
    )
    weight_decay: float = Field(default=1e-4, ge=0, le=1e3, description="Weight decay.")
    clip: float = Field(
        default=20.0,
        ge=0,
        le=1e9,
        description="Largest norm of the gradient, which is scaled down to it; 0 does not clip.",
    )


class ScheduleRecipe(Section):
    """How long, and in what batches; the rate falls as a cosine after a linear warm-up."""

    section: ClassVar[str] = "schedule"

    epochs: int = Field(default=40, ge=1, le=10**6, description="Passes over the training images.")
    batch_size: int = Field(
        default=0,
        ge=0,
        le=2**31,
        description="Images per step, over all ranks together; 0 picks one to suit the data.",
    )
    micro_batch: Annotated[int, Field(ge=0, le=2**31)] | Literal["auto"] = Field(
        default=0,
        description="Images in a rank's memory at once, with the exact gradient of the whole "
        "batch; 0 is the rank's whole share, and auto tries how many a GPU has memory for.",
    )
    warmup: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of all steps over which the learning rate rises from 0.",
    )
    validate_every: int = Field(
        default=1,
        ge=1,
        le=10**6,
        description="Epochs from one validation to the next; the last epoch always has one.",
    )


class TrainRecipe(Section):
    """The run itself."""

    section: ClassVar[str] = "train"

    seed: int = Field(
        default=0,
        ge=0,
        le=2**63 - 1,
        description="Random seed of the held-out split, shuffling, augmentation and new weights.",
    )
    precision: Literal["auto", "float32", "bf16"] = Field(
        default="auto",
        description="Precision of the network in training; auto is bf16 where the device has it.",
    )
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decay per step of a moving average of the weights, which is then the model; "
        "0 keeps none.",
    )
    compile: bool = Field(
        default=False,
        description="Compile the network, and the changes of colour before it, with torch.compile.",
    )
    checkpoint_activations: bool = Field(
        default=False,
        description="Keep only what goes into each block of the network, and compute the block "
        "again in the backward pass: less memory, more time, and the same gradient.",
    )
    sync_batch_norm: bool = Field(
        default=False,
        description="Take batch norm's statistics over the images of all ranks, each of which "
        "needs a GPU; otherwise over those of each rank.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Threads of torch on a CPU, on each rank; 0 leaves the choice to torch.",
    )
    save_minutes: float = Field(
        default=10.0,
        ge=0,
        le=10**6,
        description="Minutes of an epoch after which the state is saved, besides at the end of "
        "each; 0 saves only there.",
    )
    workers: int = Field(
        default=-1,
        ge=-1,
        le=1024,
        description="Image loading processes on each rank; -1 picks a number to suit the machine.",
    )
