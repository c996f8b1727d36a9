"""ONNX models of a few nodes that do what no model should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.tagging.models import SPEC
from twlcli.labels import Vocabulary
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import SPEC_KEY, Calibration, Thresholds

SIDE = 8
TWO_LABELS = replace(
    SPEC,
    vocabulary=Vocabulary(("a", "b")),
    preprocessing=Preprocessing(resize=SIDE, crop=SIDE),
    calibration=Calibration((1.0, 1.0), (0.0, 0.0)),
    thresholds=Thresholds((0.5, 0.5)),
)


def constant(name: str, values: object, dtype: type = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)


def graph(
    *nodes: onnx.NodeProto,
    constants: Sequence[onnx.TensorProto] = (),
    output: onnx.ValueInfoProto | None = None,
) -> onnx.ModelProto:
    """A model whose nodes begin with `two` (N, 2), the mean of every image, and end in `logits`."""
    mean = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["two"]),
    ]
    made = helper.make_graph(
        [*mean, *nodes],
        "hostile",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [output or helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [
            constant("axes", [1, 2]),
            constant("weights", np.full((3, 2), 0.01), np.float32),
            *constants,
        ],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {SPEC_KEY: TWO_LABELS.to_json()})
    return model


def node(kind: str, inputs: str, output: str = "logits", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def endless() -> onnx.ModelProto:
    """A loop of 2^62 rounds."""
    scalar = [
        helper.make_tensor_value_info("round", TensorProto.INT64, []),
        helper.make_tensor_value_info("again", TensorProto.BOOL, []),
    ]
    before, after = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy"
    )
    still = helper.make_tensor_value_info("still", TensorProto.BOOL, [])
    body = helper.make_graph(
        [node("Identity", "again", "still"), node("Add", "x x", "y")],
        "body",
        [*scalar, before],
        [still, after],
    )
    constants = constant("rounds", 2**62), constant("begin", True, np.bool_)
    return graph(node("Loop", "rounds begin two", body=body), constants=constants)


def enormous() -> onnx.ModelProto:
    """4 TB on the way to its logits."""
    return graph(
        node("Expand", "one size", "many"),
        node("ReduceSum", "many", "sum", keepdims=0),
        node("Add", "two sum"),
        constants=[constant("one", [1], np.float32), constant("size", [10**12])],
    )


def write(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path
