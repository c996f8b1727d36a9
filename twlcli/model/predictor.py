"""The contract that torch checkpoints and ONNX sessions share."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from twlcli.model.spec import ModelSpec

THREADS = "twl-model"  # how the names begin of threads that may be left in a model


class Predictor(Protocol):
    """Anything that turns preprocessed images into logits.

    It may be called from several threads at once.
    """

    @property
    def spec(self) -> ModelSpec:
        """Labels, preprocessing, calibration and thresholds of the model."""

    @property
    def batch_size(self) -> int:
        """How many images suit one call."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Uint8 RGB images (N, H, W, 3) to logits (N, C) float32."""


@runtime_checkable
class Stoppable(Protocol):
    """A predictor that runs whatever a file says, and can be stopped."""

    def stop(self, *, late: bool = False) -> None:
        """Ask calls in other threads to end: all, or those alone that take too long.

        Raises:
            ModelError: one that was asked does not end.
        """
