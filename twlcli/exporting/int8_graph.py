"""The graph of an exported model in int8, by ONNX Runtime's static quantisation.

Every layer between the first and the head gets int8 weights, one scale for each output channel,
and uint8 activations, as pairs of QuantizeLinear and DequantizeLinear around float operators (QDQ),
which a runtime fuses into integer ones. Everything else stays float32. Measured on a MobileNetV2
for VOC2007 at 192 pixels, on the 2,508 validation images, ranges from 256 of them, on a CPU with
AVX2 and without VNNI; float32 has 79.73 mAP@class, and this 79.71 at 1.4 times the speed of one
thread:

- weights of 8 bits instead of 7: 79.56, and no faster. Without VNNI two products of uint8 and int8
  are added in 16 bits, which saturates;
- one scale for a whole tensor: 78.42. At 128 pixels with a head alone trained, where float32 has
  70.55 and this 70.45, it has 64.72, and 8 bits 69.74;
- int8 activations: 79.74, but no faster than float32; uint8 weights: 79.70 at 0.3 times its speed;
- the first layer in int8 too: 79.69 at 1.2 times its speed; int8 gains nothing on three channels;
- the head in int8 too: 79.38, and hardly faster; of ML-Decoder, all of which is the head, at 96
  pixels on 418 of the images: 55.6 instead of 64.3, where float32 has 64.8;
- also what else ONNX Runtime would quantise, such as sums: the same here, but it takes layer norms
  and softmax too: untrained transformers keep 0.9986 (ViT) and 0.999 (Swin) as the correlation of
  their logits with those of float32, where that gives 0.948 and 0.997;
- a range is the mean over batches of 16 of their extremes, so that one odd image does not set it.
  Here the extremes of all are as good: 79.76.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from twlcli.exporting.decision_graph import unfinish
from twlcli.images.image_file import ImageFile
from twlcli.images.sandbox import Decoder, decoder_processes
from twlcli.model.onnx import names_data
from twlcli.model.onnx_writer import save
from twlcli.model.preprocessing import Preprocessing

_LAYERS = ("Conv", "Gemm", "MatMul")
_FUSED = ("Relu", "Clip")  # into the layer before them
_DECODER = "network.head.embed_standart.bias"  # what is added after the first layer of ML-Decoder
_BATCH = 16  # images whose activations are in memory at once


def write_int8(
    model: Path, out: Path, images: Sequence[Path], preprocessing: Preprocessing
) -> None:
    """Quantise an exported model; only a batch of the images is in memory at any time.

    Args:
        model: what `export` wrote.
        out: the ONNX file to write, without calibration and spec: it gives `logits` alone.
        images: files whose activations give the ranges.
        preprocessing: the model's, from its spec.

    Raises:
        ImageError: an image cannot be read.
    """
    proto = onnx.load(model)
    unfinish(proto)
    excluded = in_float(proto.graph)
    with TemporaryDirectory(prefix="twl-int8-") as folder:
        bare = Path(folder, "bare.onnx")
        save(proto, bare)
        large = names_data(bare)
        # Shapes alone: the exporter has folded batch norms into the layers before them already.
        quant_pre_process(
            bare,
            bare,
            skip_optimization=True,
            skip_symbolic_shape=True,
            save_as_external_data=large,
            all_tensors_to_one_file=True,
        )
        with decoder_processes(1) as (decoder,):
            quantize_static(
                bare,
                out,
                _Batches(images, preprocessing, decoder),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=[*_LAYERS, *_FUSED],
                nodes_to_exclude=excluded,
                per_channel=True,
                reduce_range=True,  # weights of 7 bits
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                use_external_data_format=large,
                extra_options={"CalibMovingAverage": True, "MatMulConstBOnly": True},
            )


def in_float(graph: onnx.GraphProto) -> list[str]:
    """The names of the layers that stay float32: the first, and the head, all of ML-Decoder's."""
    layers = [node for node in graph.node if node.op_type in _LAYERS]
    begins = next((node.input[0] for node in graph.node if _DECODER in node.input), None)
    outputs = [layer.output[0] for layer in layers]
    head = outputs.index(begins) if begins in outputs else len(layers) - 1
    return [layer.name for layer in (layers[0], *layers[head:])]


class _Batches:
    """Feeds image files to ONNX Runtime, which calls `get_next` until it gives None."""

    def __init__(
        self, images: Sequence[Path], preprocessing: Preprocessing, decoder: Decoder
    ) -> None:
        self.images = images
        self.preprocessing = preprocessing
        self.decoder = decoder
        self.first = 0

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next batch by the name of the model's input."""
        paths = self.images[self.first : self.first + _BATCH]
        self.first += _BATCH
        if not paths:
            return None
        side = self.preprocessing.crop
        crops = np.empty((len(paths), side, side, 3), dtype=np.uint8)
        for path, crop in zip(paths, crops, strict=True):
            self.decoder.decode(ImageFile(path, path.name), self.preprocessing, crop)
        return {"images": crops}
