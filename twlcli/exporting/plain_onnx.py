"""A network as an ONNX file for programs that know nothing of twl: float images, one output."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from twlcli.errors import ModelError
from twlcli.exporting.onnx import CHECKED_BATCHES, ROUNDINGS, TOLERANCE
from twlcli.model.onnx_writer import TRACED_BATCH, graph_of


def write_plain(
    source: Path,
    model: nn.Module,
    path: Path,
    *,
    images: Callable[[int], Tensor],
    names: tuple[str, str],
    labels: Sequence[str],
) -> None:
    """Write a graph without a spec, and check it against torch.

    Args:
        source: of the network, for the error.
        model: in evaluation mode, with one output (N, C).
        path: the file.
        images: makes N images as the model takes them.
        names: of the input and the output.
        labels: go into the metadata under `names`, as in what `export` writes.

    Raises:
        ModelError: torch and ONNX Runtime do not agree.
    """
    given, output = names
    proto = graph_of(model, images(TRACED_BATCH), name=given, outputs=[output])
    onnx.helper.set_model_props(proto, {"names": "\n".join(labels)})
    onnx.save(proto, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in CHECKED_BATCHES:
        batch = images(count)
        (found,) = session.run([output], {given: batch.numpy()})
        check_same(source, model, batch, torch.from_numpy(found), "the ONNX graph")


def check_same(source: Path, model: nn.Module, batch: Tensor, found: Tensor, what: str) -> None:
    """Raise ModelError where something else gives other values than a network does.

    They may differ by as much as `export` allows: by float32 sums in another order.

    Args:
        source: of the network, for the error.
        model: the network.
        batch: N images as it takes them.
        found: (N, C), what the other gives for them.
        what: the other, in words.
    """
    with torch.inference_mode():
        expected = model(batch)
    if found.shape != expected.shape:
        raise ModelError(f"{source}: {what} gives values of shape {tuple(found.shape)}")
    difference = float((found - expected).abs().max())
    allowed = TOLERANCE * max(1.0, float(expected.abs().max()))
    if difference > allowed:  # rare: a network that was hardly trained may round as much itself
        with torch.inference_mode():
            precise = copy.deepcopy(model).double()(batch.double())
        allowed = max(allowed, ROUNDINGS * float((precise - expected).abs().max()))
    if not difference <= allowed:  # NaN too
        raise ModelError(
            f"{source}: {what} differs from the model by {difference:.2g}; nothing was written"
        )


def noise(count: int, side: int) -> Tensor:
    """Uint8 RGB images (N, side, side, 3), the same each time."""
    generator = np.random.default_rng(count)
    return torch.from_numpy(generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8))


class Calibrated(nn.Module):
    """A network whose logits are calibrated: their sigmoid is the probability."""

    slope: Tensor
    offset: Tensor

    def __init__(self, network: nn.Module, slope: Sequence[float], offset: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("slope", torch.tensor(slope))
        self.register_buffer("offset", torch.tensor(offset))

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) to calibrated logits (N, C)."""
        logits: Tensor = self.slope * self.network(images) + self.offset
        return logits
