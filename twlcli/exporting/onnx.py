"""A run or checkpoint to one ONNX file that carries everything a user needs."""

from __future__ import annotations

import copy
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from twlcli.errors import ModelError, TwlError
from twlcli.exporting.decision_graph import TAGS, finish
from twlcli.io import check_free, put, write_errors
from twlcli.model.checkpoint import load_checkpoint
from twlcli.model.decisions import calibration_of, decide, probabilities, thresholds_of
from twlcli.model.onnx import data_beside, names_data
from twlcli.model.onnx_writer import OPSET, TRACED_BATCH, graph_of, save
from twlcli.model.spec import ModelSpec
from twlcli.model.torch import normalise, to_unit

CHECKED_BATCHES = (1, 2, 5)
# Float32 sums in another order: a deep network's logits may differ by this share of their size.
TOLERANCE = 1e-3
ROUNDINGS = 16  # how many times its own rounding error in torch a network may differ
_LARGEST_DIFFERENCE = 1e-5  # of a probability, between the graph and numpy


@dataclass(frozen=True)
class Exported:
    """What `export` made.

    Attributes:
        path: the ONNX file.
        size: of the file, bytes; with that of the weights beside it where it is very large.
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
    """The exported graph as far as torch makes it: pixels in, logits out."""

    def __init__(self, network: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.network = network
        self.spec = spec

    def forward(self, images: Tensor) -> Tensor:
        """Uint8 RGB images (N, H, W, 3) to logits (N, C)."""
        logits: Tensor = self.network(normalise(to_unit(images), self.spec.preprocessing))
        return logits


def export(
    source: Path | str,
    out: Path | str | None = None,
    *,
    tags: bool = False,
    threshold: str | float | None = None,
    opset: int = OPSET,
    force: bool = False,
    allow_code: bool = False,
) -> Exported:
    """Export a run folder or checkpoint, and check it against torch before it is moved into place.

    The graph takes `images`, uint8 (N, crop, crop, 3) RGB with any N, and gives `margins`, `logits`
    and `probabilities`, float32 (N, C). A label is given where its margin is above 0. The spec is
    JSON in the metadata under `twl.spec`, and the labels also, by themselves, under `names`; keys
    that begin with `model_info` are for OpenVINO's `model_api`. A model with more than 2 GiB of
    weights has them in a file beside it, `out` with `.data` at its end.

    Args:
        source: run folder or `.safetensors` checkpoint.
        out: the ONNX file to write; None is `model.onnx` in the run folder.
        tags: add an output `tags`, bool (N, C): probabilities >= thresholds.
        threshold: which thresholds `tags` and `margins` have; see `thresholds_of`.
        opset: version of ONNX's operators, 18 to 25.
        force: replace an existing file.
        allow_code: import a backbone `module:function` that the checkpoint names. The exported file
            needs none.

    Raises:
        ModelError: there is no checkpoint, it names code that is not allowed, torch and ONNX
            Runtime do not agree, or the network cannot be written in that opset.
        TwlError: the file exists or cannot be written there, or an option has no meaning.
    """
    source = Path(source)
    out = beside(source, "model.onnx") if out is None else Path(out)
    check_out(out, force=force)
    network, spec = load_trained(source, allow_code=allow_code)
    wish = None if threshold is None else str(threshold)
    thresholds_of(spec, wish)  # before the work
    model = Deployable(network, spec).eval()
    with replacing_model(out, force=force) as temporary:
        write_model(model, spec, temporary, tags=tags, threshold=wish, opset=opset)
        difference, scale = _largest_difference(model, spec, temporary, tags=tags, threshold=wish)
        allowed = TOLERANCE * max(1.0, scale)
        if difference > allowed:  # rare: a network that was hardly trained may round as much itself
            allowed = max(allowed, ROUNDINGS * _rounding(model, spec))
        if not difference <= allowed:
            raise ModelError(
                f"{source}: the exported model differs from torch by {difference:.2g} "
                f"in logits of up to {scale:.2g}; nothing was written"
            )
    return Exported(out, size_of(out), spec, difference, scale)


def write_model(
    model: Deployable,
    spec: ModelSpec,
    path: Path,
    *,
    tags: bool = False,
    threshold: str | None = None,
    opset: int = OPSET,
) -> None:
    """Write the whole graph with its metadata; see `export`."""
    side = spec.preprocessing.crop
    images = torch.zeros((TRACED_BATCH, side, side, 3), dtype=torch.uint8)
    proto = graph_of(model, images, name="images", outputs=["logits"], opset=opset)
    finish(proto, spec, tags=tags, threshold=threshold)
    save(proto, path)


def replace_spec(
    model: Path, spec: ModelSpec, *, tags: bool = False, threshold: str | float | None = None
) -> None:
    """Put a spec into a model's metadata, and its calibration and thresholds into the graph.

    Args:
        model: an ONNX file of twl's, or one that has an output `logits`.
        spec: it.
        tags: whether `tags` is an output.
        threshold: which thresholds `tags` and `margins` have.

    Raises:
        ModelError: the graph does not decide as the spec says then, in any batch.
    """
    wish = None if threshold is None else str(threshold)
    proto = onnx.load(model)
    finish(proto, spec, tags=tags, threshold=wish)
    save(proto, model)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for images in checked_images(spec):
        check_decisions(session, images, spec, tags=tags, threshold=wish)


@contextmanager
def replacing_model(out: Path, *, force: bool) -> Iterator[Path]:
    """A new ONNX file, perhaps with weights beside it, moved into place when the block ends well.

    It is written in a folder of its own under the name that it will have, which is part of that
    of its weights. They are moved before it, and those of a model that it replaces are removed.

    Raises:
        TwlError: it cannot be written, or a file of its weights is there and may not be replaced.
    """
    made = out.absolute().parent / f".twl-{secrets.token_hex(8)}.tmp"
    with write_errors(out):
        made.mkdir()
        try:
            yield made / out.name
            data, own = data_beside(out), data_beside(made / out.name)
            if own.exists():
                check_free(data, force=force)
                put(own, data)
                put(made / out.name, out)
            else:
                had_data = out.is_file() and data.is_file() and names_data(out)
                put(made / out.name, out)
                if had_data:
                    data.unlink()
        finally:
            shutil.rmtree(made, ignore_errors=True)


def size_of(model: Path) -> int:
    """Bytes of a model that was written, with its weights."""
    data = data_beside(model)
    return model.stat().st_size + (data.stat().st_size if names_data(model) else 0)


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


def _largest_difference(
    model: Deployable, spec: ModelSpec, path: Path, *, tags: bool, threshold: str | None
) -> tuple[float, float]:
    """The largest difference between torch and ONNX Runtime, and the largest logit."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    difference = scale = 0.0
    for images in checked_images(spec):
        with torch.inference_mode():
            logits = model(torch.from_numpy(images)).numpy()
        if not np.isfinite(logits).all():
            raise ModelError("the network gives logits that are not finite numbers")
        found = check_decisions(session, images, spec, tags=tags, threshold=threshold)
        difference = max(difference, float(np.abs(found - logits).max()))
        scale = max(scale, float(np.abs(logits).max()))
    return difference, scale


def check_decisions(
    session: onnxruntime.InferenceSession,
    images: NDArray[np.uint8],
    spec: ModelSpec,
    *,
    tags: bool,
    threshold: str | None,
) -> NDArray[np.float32]:
    """The logits of a graph, after a look at what it makes of them.

    Raises:
        ModelError: probabilities, margins or tags are not those of the spec, or of another shape.
    """
    names = ["logits", "probabilities", "margins", *([TAGS] if tags else [])]
    logits, *others = session.run(names, {"images": images})
    shape = len(images), len(spec.vocabulary)
    if any(output.shape != shape for output in (logits, *others)):
        raise ModelError(f"exported outputs have shape {logits.shape}; expected {shape}")
    expected = probabilities(logits, calibration_of(spec))
    if not np.abs(others[0] - expected).max() <= _LARGEST_DIFFERENCE:
        raise ModelError("the exported probabilities are not those of the calibration")
    given = decide(others[0], thresholds_of(spec, threshold))
    if any(not np.array_equal(given, each) for each in (others[1] > 0, *others[2:])):
        raise ModelError("the exported margins are not those of the thresholds")
    return np.asarray(logits, dtype=np.float32)


def _rounding(model: Deployable, spec: ModelSpec) -> float:
    """The largest difference of a logit in torch between float32 and float64."""
    precise = copy.deepcopy(model.network).double()
    images = torch.from_numpy(next(checked_images(spec)))
    with torch.inference_mode():
        pixels = normalise(to_unit(images), spec.preprocessing)
        difference = (precise(pixels.double()) - model.network(pixels)).abs().max()
    return float(difference)


def checked_images(spec: ModelSpec) -> Iterator[NDArray[np.uint8]]:
    """Batches of noise on which the exported model has to agree, the same each time."""
    generator = np.random.default_rng(0)
    side = spec.preprocessing.crop
    for batch in CHECKED_BATCHES:
        yield generator.integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
