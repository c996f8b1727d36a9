"""The graph of an exported model in float16, by ONNX Runtime's converter.

Weights and activations between the images and `logits` are float16; a few operators that lose much
by it, or do not have it, stay float32 with conversions around them. What follows `logits` is
float32, as it is in every exported model.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
from onnxruntime.transformers import float16

from twlcli.exporting.decision_graph import unfinish
from twlcli.model.onnx import names_data
from twlcli.model.onnx_writer import save


def write_fp16(model: Path, out: Path) -> None:
    """Write an exported model in float16.

    Args:
        model: what `export` wrote.
        out: the ONNX file to write, without calibration and spec: it gives `logits` alone, float32.
    """
    proto = onnx.load(model)
    unfinish(proto)
    with warnings.catch_warnings():
        # Of weights that float16 does not hold, which become the nearest that it does.
        warnings.simplefilter("ignore")
        half = float16.convert_float_to_float16(
            proto,
            keep_io_types=True,
            disable_shape_infer=names_data(model),  # it would not take so large a graph
        )
    save(half, out)
