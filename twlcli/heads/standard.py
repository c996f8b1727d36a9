"""Features of mean 0 and deviation 1: L-BFGS takes fewer iterations over them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST = 0.01  # of the usual deviation; a feature that hardly varies is not blown up to any size


@dataclass(frozen=True)
class Standard:
    """A shift and a scale for each of D features.

    Attributes:
        mean: (D).
        scale: (D), above 0.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Standard:
        """That of features (N, D)."""
        variance, mean = torch.var_mean(features, 0, correction=0)
        least = _LEAST * variance.mean().sqrt()
        scale = variance.sqrt().clamp(min=float(least))
        return cls(mean, scale.where(scale > 0, 1))

    def apply_(self, features: Tensor) -> Tensor:
        """Standardise features (N, D) in place."""
        return features.sub_(self.mean).div_(self.scale)

    def folded(self, head: Tensor) -> Tensor:
        """The head (D + 1, C) for the features as they were that does what one does for these."""
        weights = head[:-1] / self.scale[:, None]
        return torch.cat((weights, head[-1:] - self.mean[None] @ weights))
