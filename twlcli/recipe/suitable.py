"""What suits the data and the loss where a recipe leaves it open."""

from __future__ import annotations

import math

from twlcli.recipe.losses import LossRecipe
from twlcli.recipe.names import is_code


def suitable_batch_size(images: int) -> int:
    """The largest power of two with a hundred batches in an epoch, from 64 to the authors' 512.

    Example:
        >>> [suitable_batch_size(images) for images in (2_500, 20_000, 82_000)]
        [64, 128, 512]
    """
    batches = max(1, images // 100)
    return min(512, max(64, 1 << (batches.bit_length() - 1)))


def suitable_rate(loss: LossRecipe, *, labels: int, batch_size: int) -> float:
    """The learning rate of the head that suits a loss and a batch.

    It grows with the root of the batch up to 256 images, the most that was measured: the best rates
    of a grid by threes were between 0.0033 and 0.01 at 16, 0.01 at 64 and 0.03 at 256, for the
    two-way loss and BCE alike. A loss that is a mean over labels too has gradients `labels` times
    smaller, a sum over images `batch_size` times larger.

    Args:
        loss: with its options.
        labels: C.
        batch_size: images per step.

    Example:
        >>> from twlcli.recipe import LOSS_RECIPES
        >>> suitable_rate(LOSS_RECIPES["bce"](), labels=80, batch_size=256)
        0.02
    """
    rate = loss.learning_rate * math.sqrt(min(batch_size, 256) / 64)
    known = not is_code(loss.name)  # what options of other functions mean nobody knows here
    reduction = loss.options.get("reduction") if known else None
    if reduction == "mean":
        return rate * labels
    return rate / batch_size if reduction == "sum" else rate
