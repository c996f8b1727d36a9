"""What follows the logits in every exported graph."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from twlcli.exporting.decision_graph import finish, unfinish
from twlcli.labels import Vocabulary
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import SPEC_KEY, Calibration, ModelSpec, Thresholds

FLOATS = st.floats(-1e4, 1e4, width=32)
NAMES = ["margins", "logits", "probabilities", "tags"]


def bare(count: int, opset: int = 18) -> onnx.ModelProto:
    """A graph whose logits are its input."""
    shape: list[str | int | None] = ["batch", count]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["logits"])],
        "bare",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def spec_of(slope, offset, thresholds, f2=None) -> ModelSpec:
    names = tuple(f"label {number}" for number in range(len(slope)))
    return ModelSpec(
        Vocabulary(names),
        "x",
        Preprocessing(8, 8),
        Calibration(tuple(slope), tuple(offset)),
        Thresholds(tuple(thresholds), f_beta={} if f2 is None else {"2": tuple(f2)}),
    )


def run(model: onnx.ModelProto, logits) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [each.name for each in session.get_outputs()]
    values = session.run(names, {"images": np.array(logits, dtype=np.float32)})
    return dict(zip(names, values, strict=True))


@given(st.data())
def test_tags_are_where_the_probability_reaches_the_threshold(data):
    count = data.draw(st.integers(1, 4))

    def drawn(elements):
        return data.draw(st.lists(elements, min_size=count, max_size=count))

    thresholds = drawn(st.floats(-0.5, 1.5, width=32))
    spec = spec_of(drawn(st.floats(2**-10, 128, width=32)), drawn(FLOATS), thresholds)
    model = bare(count)
    finish(model, spec, tags=True)
    found = run(model, [drawn(FLOATS) for _ in range(5)])
    expected = np.zeros((5, count), dtype=bool)
    for row in range(5):
        for column in range(count):
            threshold = np.float32(thresholds[column])
            expected[row, column] = found["probabilities"][row, column] >= threshold
    np.testing.assert_array_equal(found["tags"], expected)
    np.testing.assert_array_equal(found["margins"] > 0, expected)
    scores = 1 / (1 + np.exp(-found["margins"].clip(-80, 80)))  # as model_api has it, in float32
    np.testing.assert_array_equal(scores > 0.5, expected)


def test_a_threshold_that_is_reached_exactly_is_enough():
    model = bare(1)
    finish(model, spec_of([1.0], [0.0], [0.5]), tags=True)
    found = run(model, [[0.0], [-1e-6]])
    assert found["tags"].tolist() == [[True], [False]]
    assert (found["margins"] > 0).tolist() == [[True], [False]]


@pytest.mark.parametrize("opset", [11, 18, 25])
def test_finishing_again_replaces_what_was_there(opset):
    model = bare(2, opset)
    finish(model, spec_of([1, 1], [0, 0], [0.5, 0.5], f2=[0.1, 0.9]), tags=True, threshold="f2")
    assert [each.name for each in model.graph.output] == NAMES
    assert run(model, [[0, 0]])["tags"].tolist() == [[True, False]]
    second = spec_of([2, 3], [1, -1], [0.2, 0.8])
    finish(model, second)
    fresh = bare(2, opset)
    finish(fresh, second)
    assert model == fresh
    assert [each.name for each in model.graph.output] == NAMES[:3]
    keys = {each.key for each in model.metadata_props if not each.key.startswith("model_info ")}
    assert keys == {SPEC_KEY, "names"}
    unfinish(model)
    model.ClearField("metadata_props")
    assert model == bare(2, opset)
