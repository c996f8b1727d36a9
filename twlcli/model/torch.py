"""A torch network as a predictor."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from twlcli.errors import DeviceError
from twlcli.model.checkpoint import load_checkpoint
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec

BATCH = 32  # images; more hardly help a CPU, and fit every GPU


class TorchPredictor:
    """Uint8 images to logits with a network in evaluation mode, in float32 unless told otherwise.

    Args:
        network: in any mode.
        spec: of the network.
        device: to run it on.
        precision: the type of autocast; None is none.
    """

    def __init__(
        self,
        network: nn.Module,
        spec: ModelSpec,
        device: torch.device,
        *,
        precision: torch.dtype | None = None,
    ) -> None:
        self.precision = precision
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.device = device
        self._spec = spec
        self._one_at_a_time = threading.Lock()

    @property
    def spec(self) -> ModelSpec:
        """Labels, preprocessing, calibration and thresholds of the model."""
        return self._spec

    @property
    def batch_size(self) -> int:
        """How many images suit one call."""
        return BATCH

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Uint8 RGB images (N, H, W, 3) to logits (N, C) float32."""
        with self._one_at_a_time, torch.inference_mode():
            self.network.eval()
            unit = to_unit(torch.from_numpy(images).to(self.device))
            batch = normalise(unit, self.spec.preprocessing)
            with torch.autocast(self.device.type, self.precision, enabled=bool(self.precision)):
                logits = self.network(batch)
            result: NDArray[np.float32] = logits.float().cpu().numpy()
        return result

    @classmethod
    def load(cls, path: Path, *, device: str = "auto", allow_code: bool = False) -> TorchPredictor:
        """Load a run folder, or a checkpoint that twl wrote.

        Raises:
            ModelError: no checkpoint is there, it is damaged or not twl's, or names code that is
                not allowed.
            DeviceError: the device is not available.
        """
        network, spec = load_checkpoint(path, allow_code=allow_code)
        return cls(network, spec, pick_device(device))


def pick_device(name: str = "auto") -> torch.device:
    """`auto` (a CUDA GPU, else Apple's, else the CPU), `cuda`, `cuda:1`, `mps` or `cpu`.

    Raises:
        DeviceError: the device is not one of these, or is not available.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((kind for kind, there in available.items() if there), "cpu"))
    kind, _, number = name.partition(":")
    if kind not in (*available, "cpu") or (number and not number.isdecimal()):
        raise DeviceError(f"device '{name}' is not known; expected auto, cuda, cuda:N, mps or cpu")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if not available.get(kind, True) or int(number or 0) >= count:
        there = [kind for kind, usable in available.items() if usable] + ["cpu"]
        raise DeviceError(f"device '{name}' is not available here (available: {', '.join(there)})")
    return torch.device(name)


def to_unit(images: Tensor) -> Tensor:
    """Uint8 images (N, H, W, 3) as float32 (N, 3, H, W) in 0..1, in channels-last memory."""
    return images.permute(0, 3, 1, 2).to(torch.float32) / 255


def normalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Images (N, 3, H, W) in 0..1 less the mean, over the standard deviation."""
    mean = images.new_tensor(preprocessing.mean).view(1, 3, 1, 1)
    std = images.new_tensor(preprocessing.std).view(1, 3, 1, 1)
    return (images - mean) / std
