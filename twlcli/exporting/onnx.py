"""A run or checkpoint to one ONNX file that carries everything a user needs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from twlcli.errors import ModelError, TwlError
from twlcli.io import check_free, replacing
from twlcli.model.checkpoint import load_checkpoint
from twlcli.model.onnx_writer import write_onnx
from twlcli.model.spec import ModelSpec
from twlcli.model.torch import normalise, to_unit

CHECKED_BATCHES = (1, 2, 5)
# Float32 sums in another order: a deep network's logits may differ by this share of their size.
TOLERANCE = 1e-3
ROUNDINGS = 16  # how many times its own rounding error in torch a network may differ


@dataclass(frozen=True)
class Exported:
    """What `export` made.

    Attributes:
        path: the ONNX file.
        size: of the file, bytes.
        spec: that it carries.
        difference: largest absolute difference of a logit between torch and ONNX Runtime.
        scale: largest absolute logit, to judge the difference by.
    """

    path: Path
    size: int
    spec: ModelSpec
    difference: float
    scale: float


class Deployable(nn.Module):
    """The exported graph: pixels in, logits and calibrated probabilities out."""

    def __init__(self, network: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        assert spec.calibration is not None
        self.register_buffer("slope", torch.tensor(spec.calibration.slope))
        self.register_buffer("offset", torch.tensor(spec.calibration.offset))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Uint8 RGB images (N, H, W, 3) to logits and probabilities (N, C)."""
        logits = self.network(normalise(to_unit(images), self.spec.preprocessing))
        return logits, torch.sigmoid(self.slope * logits + self.offset)


def export(
    source: Path | str,
    out: Path | str | None = None,
    *,
    force: bool = False,
    allow_code: bool = False,
) -> Exported:
    """Export a run folder or checkpoint, and check it against torch before it is moved into place.

    The graph takes `images`, uint8 (N, crop, crop, 3) RGB with any N, and gives `logits` and
    `probabilities`, float32 (N, C). The spec is JSON in the metadata under `twl.spec`, and the
    labels also, by themselves, under `names`.

    Args:
        source: run folder or `.safetensors` checkpoint.
        out: the ONNX file to write; None is `model.onnx` in the run folder.
        force: replace an existing file.
        allow_code: import a backbone `module:function` that the checkpoint names. The exported file
            needs none.

    Raises:
        ModelError: there is no checkpoint, it names code that is not allowed, or torch and ONNX
            Runtime do not agree.
        TwlError: the file exists, or cannot be written there.
    """
    source = Path(source)
    out = beside(source, "model.onnx") if out is None else Path(out)
    check_out(out, force=force)
    network, spec = load_trained(source, allow_code=allow_code)
    model = Deployable(network, spec).eval()
    with replacing(out) as temporary:
        write_onnx(model, spec, temporary, ("logits", "probabilities"))
        difference, scale = _largest_difference(model, spec, temporary)
        allowed = TOLERANCE * max(1.0, scale)
        if difference > allowed:  # rare: a network that was hardly trained may round as much itself
            allowed = max(allowed, ROUNDINGS * _rounding(model, spec))
        if not difference <= allowed:
            raise ModelError(
                f"{source}: the exported model differs from torch by {difference:.2g} "
                f"in logits of up to {scale:.2g}; nothing was written"
            )
    return Exported(out, out.stat().st_size, spec, difference, scale)


def load_trained(source: Path, *, allow_code: bool) -> tuple[nn.Module, ModelSpec]:
    """The network and spec of a run or checkpoint, with calibration and thresholds.

    Raises:
        ModelError: as `load_checkpoint`, or it has none.
    """
    network, spec = load_checkpoint(source, allow_code=allow_code)
    if spec.calibration is None or spec.thresholds is None:
        raise ModelError(f"{source}: has no calibration; it was not written by `twl train`")
    return network, spec


def beside(source: Path, name: str) -> Path:
    """A file in the folder of a run or checkpoint."""
    return (source if source.is_dir() else source.parent) / name


def check_out(out: Path, *, force: bool) -> None:
    """Raise TwlError where an exported model may not be written."""
    check_free(out, force=force)
    if out.suffix != ".onnx":
        raise TwlError(f"{out}: expected a name that ends in .onnx")


def _largest_difference(model: Deployable, spec: ModelSpec, path: Path) -> tuple[float, float]:
    """The largest difference between torch and ONNX Runtime, and the largest logit."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    difference = scale = 0.0
    for images in _checked_images(spec):
        with torch.inference_mode():
            logits, probabilities = (output.numpy() for output in model(torch.from_numpy(images)))
        outputs = session.run(["logits", "probabilities"], {"images": images})
        if any(output.shape != logits.shape for output in outputs):
            raise ModelError(
                f"exported outputs have shape {outputs[0].shape} for a batch of {len(images)}"
            )
        if not np.isfinite(logits).all():
            raise ModelError("the network gives logits that are not finite numbers")
        of_logits = float(np.abs(outputs[0] - logits).max())
        of_probabilities = float(np.abs(outputs[1] - probabilities).max())
        difference = max(difference, of_logits, of_probabilities)
        scale = max(scale, float(np.abs(logits).max()))
    return difference, scale


def _rounding(model: Deployable, spec: ModelSpec) -> float:
    """The largest difference of a logit in torch between float32 and float64."""
    precise = copy.deepcopy(model.network).double()
    images = torch.from_numpy(next(_checked_images(spec)))
    with torch.inference_mode():
        pixels = normalise(to_unit(images), spec.preprocessing)
        difference = (precise(pixels.double()) - model.network(pixels)).abs().max()
    return float(difference)


def _checked_images(spec: ModelSpec) -> Iterator[NDArray[np.uint8]]:
    """Batches of noise on which the exported model has to agree, the same each time."""
    generator = np.random.default_rng(0)
    side = spec.preprocessing.crop
    for batch in CHECKED_BATCHES:
        yield generator.integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
