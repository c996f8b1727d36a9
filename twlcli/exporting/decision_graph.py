"""What follows `logits` in every exported graph: calibration, thresholds, and what they decide."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from twlcli.exporting.openvino import model_info
from twlcli.model.decisions import calibration_of, thresholds_of
from twlcli.model.onnx_writer import set_spec
from twlcli.model.spec import ModelSpec

TAGS = "tags"
_OWN = "twl/decision/"  # begins the names of the nodes and constants
_SMALLEST = np.float32(1e-6)  # of a margin: its sigmoid is another float32 than that of 0
_LARGEST = 40.0  # of the logit of a threshold; beyond, float32 has no probability but 0 and 1


def finish(
    model: onnx.ModelProto, spec: ModelSpec, *, tags: bool = False, threshold: str | None = None
) -> None:
    """Add what a graph with the output `logits` gives besides, and its metadata.

    `probabilities` are sigmoid(slope * logits + offset). `tags` are probabilities >= thresholds.
    `margins` are the calibrated logits less those of the thresholds, and above 0 exactly where
    `tags` are true. They come first, since OpenVINO's model_api takes the sigmoid of the first
    output, and compares it with one threshold for all labels.

    Args:
        model: of opset 11 or later; what a call before this one has added is replaced.
        spec: with calibration and thresholds.
        tags: whether `tags` is an output too.
        threshold: which thresholds; see `thresholds_of`.

    Raises:
        ModelError: the model has no such thresholds.
        TwlError: the threshold is not understood.
    """
    unfinish(model)
    graph, calibration = model.graph, calibration_of(spec)
    thresholds = thresholds_of(spec, threshold)
    constants = {
        "slope": np.array(calibration.slope, dtype=np.float32),
        "offset": np.array(calibration.offset, dtype=np.float32),
        "thresholds": thresholds,
        "cuts": cuts(thresholds),
        "smallest": _SMALLEST,
    }
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(values), _OWN + name)
        for name, values in constants.items()
    )
    # Each by the name of what it gives. GreaterOrEqual would need opset 12.
    steps = [
        ("scaled", "Mul", "logits", "slope"),
        ("calibrated", "Add", "scaled", "offset"),
        ("probabilities", "Sigmoid", "calibrated"),
        ("above", "Greater", "probabilities", "thresholds"),
        ("equal", "Equal", "probabilities", "thresholds"),
        (TAGS, "Or", "above", "equal"),
        ("difference", "Sub", "calibrated", "cuts"),
        ("distance", "Abs", "difference"),
        ("positive", "Max", "distance", "smallest"),
        ("negative", "Neg", "positive"),
        ("margins", "Where", TAGS, "positive", "negative"),
    ]
    given = {"logits", "probabilities", "margins", *([TAGS] if tags else [])}

    def name(each: str) -> str:
        return each if each in given else _OWN + each

    graph.node.extend(
        helper.make_node(kind, [*map(name, taken)], [name(made)], name=_OWN + made)
        for made, kind, *taken in steps
    )
    (logits,) = (each for each in graph.output if each.name == "logits")
    shape = [each.dim_param or each.dim_value for each in logits.type.tensor_type.shape.dim]

    def output(name: str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    outputs = [output("margins"), output("logits"), output("probabilities")]
    del graph.output[:]
    graph.output.extend([*outputs, output(TAGS, TensorProto.BOOL)] if tags else outputs)
    set_spec(model, spec, model_info(spec))


def unfinish(model: onnx.ModelProto) -> None:
    """Take away what `finish` has added to a graph; `logits` remains."""
    graph = model.graph
    for things in (graph.node, graph.initializer, graph.value_info):
        kept = [each for each in things if not each.name.startswith(_OWN)]
        if len(kept) < len(things):
            del things[:]
            things.extend(kept)
    (logits,) = (each for each in graph.output if each.name == "logits")
    del graph.output[:]
    graph.output.append(logits)
    for place, each in reversed([*enumerate(graph.value_info)]):
        if each.name in ("probabilities", "margins", TAGS):
            del graph.value_info[place]


def cuts(thresholds: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logits of thresholds, finite where those are 0 or less, or 1 or more.

    Example:
        >>> cuts(np.array([0.5, 0.0, 1.25], dtype=np.float32)).tolist()
        [0.0, -40.0, 40.0]
    """
    wide = thresholds.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        logits = np.log(wide) - np.log1p(-wide)
    logits = np.where(wide <= 0, -_LARGEST, np.where(wide >= 1, _LARGEST, logits))
    return logits.clip(-_LARGEST, _LARGEST).astype(np.float32)
