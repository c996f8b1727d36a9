"""A torch network as a predictor."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from twlcli.errors import ModelError
from twlcli.spec import SPEC_KEY, ModelSpec
from twlcli.training.augment import normalise, to_unit
from twlcli.training.backbones import build_backbone, load_state
from twlcli.training.devices import pick_device

CHECKPOINT_NAME = "model.safetensors"


class TorchPredictor:
    """Uint8 images to logits with a network, in float32 and evaluation mode."""

    def __init__(self, network: nn.Module, spec: ModelSpec, device: torch.device) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.device = device
        self._spec = spec
        self._one_at_a_time = threading.Lock()

    @property
    def spec(self) -> ModelSpec:
        """Labels, preprocessing, calibration and thresholds of the model."""
        return self._spec

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Uint8 RGB images (N, H, W, 3) to logits (N, C) float32."""
        with self._one_at_a_time, torch.inference_mode():
            self.network.eval()
            batch = to_unit(torch.from_numpy(images).to(self.device))
            logits = self.network(normalise(batch, self.spec.preprocessing))
            result: NDArray[np.float32] = logits.float().cpu().numpy()
        return result

    @classmethod
    def load(cls, path: Path, *, device: str = "auto") -> TorchPredictor:
        """Load a run folder, or a checkpoint that twl wrote.

        Raises:
            ModelError: no checkpoint is there, or it is damaged or not twl's.
            DeviceError: the device is not there.
        """
        network, spec = load_checkpoint(path)
        return cls(network, spec, pick_device(device))


def load_checkpoint(path: Path) -> tuple[nn.Module, ModelSpec]:
    """The network and spec in a run folder or `.safetensors` file, on the CPU.

    Raises:
        ModelError: no checkpoint is there, or it is damaged or not twl's.
    """
    file, spec, state = _read(path, with_weights=True)
    network = build_backbone(
        spec.backbone, len(spec.vocabulary), image_size=spec.preprocessing.crop
    )
    try:
        load_state(network, state)
    except RuntimeError as error:
        raise ModelError(f"{file}: its weights do not fit a {spec.backbone}") from error
    return network.eval(), spec


def read_spec(path: Path) -> ModelSpec:
    """The spec in a run folder or `.safetensors` file; errors are those of `load_checkpoint`."""
    return _read(path, with_weights=False)[1]


def _read(path: Path, *, with_weights: bool) -> tuple[Path, ModelSpec, dict[str, Tensor]]:
    file = path / CHECKPOINT_NAME if path.is_dir() else path
    if not file.is_file():
        what = "run has no checkpoint yet" if path.is_dir() else "no such model"
        raise ModelError(f"{file}: {what}")
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            names = opened.keys() if with_weights else ()
            state = {name: opened.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ModelError(f"{file}: not a safetensors checkpoint ({error})") from error
    if SPEC_KEY not in metadata:
        raise ModelError(f"{file}: has no '{SPEC_KEY}' metadata; was it written by twl?")
    return file, ModelSpec.from_json(metadata[SPEC_KEY], source=file), state
