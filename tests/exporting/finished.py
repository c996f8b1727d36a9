"""Checkpoints as of a training that has ended, for the tests of bundles."""

from pathlib import Path

import torch

from twlcli.labels import Vocabulary
from twlcli.model.backbones import build_backbone, last_layer
from twlcli.model.checkpoint import write_checkpoint
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import Calibration, ModelSpec, Thresholds

LABELS = ("cat", "dog | hound", "<été>, *red*", "never", "always")
THRESHOLDS = (0.5, 0.4, 0.9, 1.01, 0.0)
SIDE, RESIZE = 64, 72


def finished(
    folder: Path,
    backbone: str,
    *,
    labels: tuple[str, ...] = LABELS,
    preprocessing: Preprocessing | None = None,
    thresholds: tuple[float, ...] = THRESHOLDS,
    scale: float = 30,
    **changes,
) -> Path:
    """A checkpoint with random weights, and logits that differ from image to image."""
    torch.manual_seed(0)
    network = build_backbone(
        backbone, len(labels), image_size=SIDE, head=changes.get("head", "linear")
    )
    with torch.no_grad():
        for parameter in last_layer(network)[1].parameters():
            parameter.mul_(scale)
    count = len(labels)
    spec = ModelSpec(
        Vocabulary(labels),
        backbone,
        preprocessing or Preprocessing(RESIZE, SIDE, "bicubic"),
        Calibration((1.0, 0.5, 2.0, 1.0, 1.0)[:count], (0.0, -1.0, 1.0, 9.0, -9.0)[:count]),
        Thresholds(thresholds[:count]),
        {"twl": "0.1.0", "validation": {"map_class": 0.5, "map_sample": 0.625}},
        **changes,
    )
    write_checkpoint(network, spec, folder / "model.safetensors")
    return folder / "model.safetensors"
