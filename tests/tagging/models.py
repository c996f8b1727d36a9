"""A model of a few hundred bytes, built without torch: it sees mean colours."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from twlcli.labels import Vocabulary
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import SPEC_KEY, Calibration, ModelSpec, Thresholds

SPEC = ModelSpec(
    vocabulary=Vocabulary(("red", "green", "blue")),
    backbone="mean-color",
    preprocessing=Preprocessing(resize=16, crop=12),
    calibration=Calibration((1.0, 1.0, 2.0), (0.0, 0.0, 0.0)),
    thresholds=Thresholds((0.5, 0.5, 0.9), {"0.9": (0.8, 0.8, 1.1)}),
)


def spec_with_labels(*labels: str) -> ModelSpec:
    return replace(SPEC, vocabulary=Vocabulary(labels))


def logits_of(color: tuple[float, float, float]) -> np.ndarray:
    """The model in one line: 1 for every 25.5 grey levels above the middle."""
    return (np.asarray(color, dtype=np.float64) - 127.5) / 25.5


def write_model(path: Path, *, metadata: str | None = None, input_type=TensorProto.UINT8) -> Path:
    """An ONNX file whose spec is `metadata`, or `SPEC` where that is None."""

    def constant(name: str, values: object) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(values), name)

    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["mean", "middle"], ["centred"]),
        helper.make_node("Div", ["centred", "unit"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean-color",
        [helper.make_tensor_value_info("images", input_type, ["n", 12, 12, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3])
            for name in ("logits", "probabilities")
        ],
        [
            constant("axes", np.array([1, 2], dtype=np.int64)),
            constant("middle", np.float32(127.5)),
            constant("unit", np.float32(25.5)),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    text = SPEC.to_json() if metadata is None else metadata
    if text:
        helper.set_model_props(model, {SPEC_KEY: text})
    path.write_bytes(model.SerializeToString())
    return path
