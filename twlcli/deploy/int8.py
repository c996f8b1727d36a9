"""The graph of an exported model in int8, by ONNX Runtime's static quantisation.

Every layer between the first and the head gets int8 weights, one scale for each output channel,
and uint8 activations, as pairs of QuantizeLinear and DequantizeLinear around float operators (QDQ),
which a runtime fuses into integer ones. All choices were measured on a MobileNetV2 at 128 pixels
with a head for VOC2007, on its 2,510 validation images, on a CPU with AVX2 and without VNNI, one
thread, ranges from 256 images; float32 has 72.03 mAP@class:

- weights of 7 bits: 71.74. With 8 bits 69.39: without VNNI two products of uint8 and int8 are added
  in 16 bits and saturate. A model of 7 bits gives the same logits on every CPU;
- int8 activations lose as much and are slower than float32; uint8 weights are 3.6 times slower;
- one scale for a whole tensor loses another 3.6 points (a quarter of the images);
- the first layer in float32: 1.5 times float32's speed instead of 1.3, as int8 gains nothing on
  three channels;
- the head in float32: 0.4 points more, and half a percent of the time;
- a range is the mean over batches of 16 of the batch's extremes: 71.82. Overall extremes give
  71.62, the 99.999th percentile 71.76 for 3 times the time and every activation in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from twlcli.deploy.export import CHECKED_BATCHES, set_spec
from twlcli.errors import ModelError
from twlcli.images.preprocess import load
from twlcli.scoring.calibration import calibration_of, probabilities
from twlcli.spec import ModelSpec, Preprocessing

_LAYERS = ("Conv", "Gemm", "MatMul")
_FUSED = ("Relu", "Clip")  # into the layer before them
_BATCH = 16  # images whose activations are in memory at once
_LARGEST_DIFFERENCE = 1e-5  # of a probability, between the graph and numpy


def write_int8(
    model: Path, out: Path, images: Sequence[Path], preprocessing: Preprocessing
) -> None:
    """Quantise an exported model; only a batch of the images is in memory at any time.

    Args:
        model: what `export` wrote.
        out: the ONNX file to write; still with the other's spec, calibration and thresholds.
        images: files whose activations give the ranges.
        preprocessing: the model's, from its spec.

    Raises:
        ImageError: an image cannot be read.
    """
    # Shapes alone: the exporter has folded batch norms into the layers before them already.
    quant_pre_process(model, out, skip_optimization=True, skip_symbolic_shape=True)
    layers = [node.name for node in onnx.load(out).graph.node if node.op_type in _LAYERS]
    quantize_static(
        out,
        out,
        _Batches(images, preprocessing),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=[*_LAYERS, *_FUSED],
        nodes_to_exclude=[layers[0], layers[-1]],
        per_channel=True,
        reduce_range=True,  # weights of 7 bits
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={"CalibMovingAverage": True, "MatMulConstBOnly": True},
    )


def replace_spec(model: Path, spec: ModelSpec) -> None:
    """Put a spec into a model's metadata, and its calibration into the graph.

    Raises:
        ModelError: the graph does not give the spec's probabilities then, in any batch.
    """
    proto = onnx.load(model)
    calibration = calibration_of(spec)
    constants = {each.name: each for each in proto.graph.initializer}
    for name, values in (("slope", calibration.slope), ("offset", calibration.offset)):
        array = np.array(values, dtype=np.float32)
        constants[name].CopyFrom(onnx.numpy_helper.from_array(array, name))
    set_spec(proto, spec)
    onnx.save(proto, model)
    _check(model, spec)


class _Batches:
    """Feeds image files to ONNX Runtime, which calls `get_next` until it gives None."""

    def __init__(self, images: Sequence[Path], preprocessing: Preprocessing) -> None:
        self.images = images
        self.preprocessing = preprocessing
        self.first = 0

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next batch by the name of the model's input."""
        paths = self.images[self.first : self.first + _BATCH]
        self.first += _BATCH
        if not paths:
            return None
        return {"images": np.stack([load(path, self.preprocessing) for path in paths])}


def _check(path: Path, spec: ModelSpec) -> None:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    side = spec.preprocessing.crop
    for batch in CHECKED_BATCHES:
        images = generator.integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
        logits, found = session.run(["logits", "probabilities"], {"images": images})
        expected = probabilities(logits, calibration_of(spec))
        if found.shape != (batch, len(spec.vocabulary)):
            raise ModelError(f"the int8 model's outputs are {found.shape} for {batch} images")
        if not np.abs(found - expected).max() <= _LARGEST_DIFFERENCE:
            raise ModelError("the int8 model's probabilities are not those of its calibration")
