"""Small ONNX files as other programs write theirs: a linear map of a shrunken image."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CELLS = 4  # the image is averaged over 4 x 4 cells


def write_graph(
    path: Path,
    *,
    labels: int,
    side: int,
    channels_first: bool,
    ending: str = "",
    batch: int | str = "N",
    metadata: dict[str, str] | None = None,
    scale: float = 1.0,
    seed: int = 0,
) -> Path:
    """A model of so many labels; `ending` is an operator on its output, such as Sigmoid."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(3 * CELLS * CELLS, labels)).astype(np.float32) * scale
    shape: list[Any] = [batch, 3, side, side] if channels_first else [batch, side, side, 3]
    size = side // CELLS
    constants = {
        "weights": weights,
        "flat": np.array([0, 3 * CELLS * CELLS]),
    }
    nodes = []
    source = "input"
    if not channels_first:
        nodes.append(helper.make_node("Transpose", [source], ["first"], perm=[0, 3, 1, 2]))
        source = "first"
    nodes += [
        helper.make_node(
            "AveragePool", [source], ["cells"], kernel_shape=[size, size], strides=[size, size]
        ),
        helper.make_node("Reshape", ["cells", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weights"], ["sums" if ending else "output"]),
    ]
    if ending:
        attributes: dict[str, Any] = {"axis": 1} if ending == "Softmax" else {}
        nodes.append(helper.make_node(ending, ["sums"], ["output"], **attributes))
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, labels])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    helper.set_model_props(model, metadata or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path
