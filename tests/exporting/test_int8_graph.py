import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.exporting.drawn import SIZE
from tests.exporting.test_onnx import FAMILIES, LABELS, SIZES, checkpoint
from tests.images.arrays import load
from twlcli.errors import ModelError
from twlcli.exporting import int8_graph as module
from twlcli.exporting import onnx as exporting
from twlcli.exporting.int8_graph import write_int8
from twlcli.exporting.onnx import export, replace_spec
from twlcli.images.sandbox import LocalDecoder
from twlcli.model.decisions import probabilities
from twlcli.model.onnx import OnnxPredictor
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import SPEC_KEY, Calibration, Thresholds

PREPROCESSING = Preprocessing(resize=SIZE, crop=SIZE)


def photographs_of(table: Path) -> list[Path]:
    return sorted(table.parent.glob("*.png"))


@pytest.fixture(scope="module")
def models(tmp_path_factory, photographs, small_export):
    """A float32 model, and the int8 one that was made of it with its spec."""
    out = tmp_path_factory.mktemp("int8") / "int8.onnx"
    write_int8(small_export.path, out, photographs_of(photographs), PREPROCESSING)
    replace_spec(out, small_export.spec)
    return small_export.path, out


def layers_of(path: Path) -> list[tuple[onnx.NodeProto, dict[str, onnx.NodeProto]]]:
    """Every node with weights, and what gives each of its inputs."""
    graph = onnx.load(path).graph
    weights = {each.name for each in graph.initializer}
    giver = {name: node for node in graph.node for name in node.output}

    def constant(name: str) -> bool:
        return name in weights or (name in giver and giver[name].input[0] in weights)

    return [
        (node, {name: giver[name] for name in node.input if name in giver})
        for node in graph.node
        if node.op_type in ("Conv", "Gemm", "MatMul") and constant(node.input[1])
    ]


def test_all_layers_but_the_first_and_the_head_are_int8_per_channel(models):
    constants = {
        each.name: onnx.numpy_helper.to_array(each)
        for each in onnx.load(models[1]).graph.initializer
    }
    layers = layers_of(models[1])
    assert len(layers) == 26
    assert [node.input[1] in givers for node, givers in layers] == [False, *[True] * 24, False]
    for node, givers in layers[1:-1]:
        images, weights = (givers[name] for name in node.input[:2])
        assert (images.op_type, weights.op_type) == ("DequantizeLinear", "DequantizeLinear")
        values, scale = constants[weights.input[0]], constants[weights.input[1]]
        assert values.dtype == np.int8
        assert np.abs(values).max() <= 64
        assert scale.shape == (len(values),)
        assert constants[images.input[2]].dtype == np.uint8


def test_logits_are_nearly_those_of_float32(models, photographs):
    images = np.stack([load(path, PREPROCESSING) for path in photographs_of(photographs)])
    before, after = (OnnxPredictor(path)(images) for path in models)
    assert not np.array_equal(before, after)
    for label in range(3):
        assert np.corrcoef(before[:, label], after[:, label])[0, 1] > 0.99


def test_any_batch_gives_the_same(models):
    images = np.random.default_rng(0).integers(0, 256, (7, SIZE, SIZE, 3), dtype=np.uint8)
    predictor = OnnxPredictor(models[1])
    together = predictor(images)
    for size in (1, 3):
        parts = [predictor(images[first : first + size]) for first in range(0, 7, size)]
        np.testing.assert_allclose(np.concatenate(parts), together, atol=1e-5)


def test_file_is_smaller_and_tells_nothing_of_how_it_was_made(models):
    content = models[1].read_bytes()
    assert len(content) < 0.32 * models[0].stat().st_size
    assert str(models[1].parent).encode() not in content
    metadata = onnx.load(models[1]).metadata_props
    keys = {entry.key for entry in metadata if not entry.key.startswith("model_info ")}
    assert keys == {SPEC_KEY, "names"}


def test_replaced_spec_is_in_metadata_and_graph(models, tmp_path):
    path = tmp_path / "other.onnx"
    path.write_bytes(models[1].read_bytes())
    spec = replace(
        OnnxPredictor(path).spec,
        calibration=Calibration((3.0, 0.25, 7.0), (-1.5, 0.0, 2.0)),
        thresholds=Thresholds((0.1, 0.2, 0.3)),
    )
    replace_spec(path, spec)
    assert OnnxPredictor(path).spec == spec
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert metadata["names"] == "blue\ngreen\nred"
    assert json.loads(metadata[SPEC_KEY])["thresholds"]["best_f1"] == [0.1, 0.2, 0.3]
    images = np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits, found = session.run(["logits", "probabilities"], {"images": images})
    assert spec.calibration is not None
    np.testing.assert_allclose(found, probabilities(logits, spec.calibration), atol=1e-6)


def test_graph_with_another_calibration_is_refused(models, tmp_path, monkeypatch):
    path = tmp_path / "other.onnx"
    path.write_bytes(models[1].read_bytes())
    monkeypatch.setattr(exporting, "probabilities", lambda logits, _: np.full_like(logits, 0.123))
    with pytest.raises(ModelError, match="are not those of the calibration"):
        replace_spec(path, OnnxPredictor(path).spec)


def test_images_are_read_a_batch_at_a_time(photographs):
    paths = photographs_of(photographs)
    batches = module._Batches(paths, PREPROCESSING, LocalDecoder())
    read: list[np.ndarray] = []
    while (batch := batches.get_next()) is not None:
        assert len(batch["images"]) <= 16
        read.extend(batch["images"])
    np.testing.assert_array_equal(read, [load(path, PREPROCESSING) for path in paths])


@pytest.mark.slow
@pytest.mark.parametrize("backbone", FAMILIES)
def test_every_family_becomes_int8(tmp_path, backbone, photographs, caplog, capfd):
    size = SIZES.get(backbone, 64)
    spec = export(checkpoint(tmp_path, backbone), tmp_path / "float32.onnx").spec
    caplog.clear()
    capfd.readouterr()
    write_int8(
        tmp_path / "float32.onnx",
        tmp_path / "int8.onnx",
        photographs_of(photographs),
        spec.preprocessing,
    )
    replace_spec(tmp_path / "int8.onnx", spec)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    predictor = OnnxPredictor(tmp_path / "int8.onnx")
    assert predictor(np.zeros((3, size, size, 3), np.uint8)).shape == (3, len(LABELS))
    layers = layers_of(tmp_path / "int8.onnx")
    assert [node.input[1] in givers for node, givers in layers].count(False) == 2
