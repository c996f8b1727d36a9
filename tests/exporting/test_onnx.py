import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file

from twlcli.errors import ModelError, TwlError
from twlcli.exporting import onnx as module
from twlcli.exporting.int8_graph import in_float
from twlcli.exporting.onnx import export
from twlcli.labels import Vocabulary
from twlcli.model.backbones import build_backbone
from twlcli.model.checkpoint import load_checkpoint, write_checkpoint
from twlcli.model.decisions import probabilities
from twlcli.model.onnx import OnnxPredictor
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import SPEC_KEY, Calibration, ModelSpec, Thresholds
from twlcli.model.torch import TorchPredictor

LABELS = ("cat", "dog | hound", "été")
FAMILIES = [
    "resnet18",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "convnext_tiny",
    "regnet_y_400mf",
    "vit_b_32",
    "swin_t",
    "swin_v2_t",
    "maxvit_t",
    "densenet121",
    "googlenet",
    "inception_v3",
    "mnasnet0_5",
    "resnext50_32x4d",
    "squeezenet1_1",
    "vgg11_bn",
    "alexnet",
    "timm:resnet10t",
    "timm:convnext_atto",
    "timm:efficientnet_lite0",
    "timm:mobilenetv4_conv_small",
    "timm:vit_tiny_patch16_224",
    "timm:vit_small_patch14_dinov2",
    "timm:vit_small_patch16_dinov3",
    "timm:vit_base_patch16_siglip_224",
    "timm:eva02_tiny_patch14_224",
    "timm:swin_tiny_patch4_window7_224",
]
SIZES = {
    "inception_v3": 96,
    "maxvit_t": 224,
    "timm:vit_small_patch14_dinov2": 56,
    "timm:eva02_tiny_patch14_224": 56,
}


def checkpoint(folder: Path, backbone: str, *, calibrated: bool = True, seed: int = 0) -> Path:
    """A checkpoint with random weights, whose logits are of the usual size."""
    torch.manual_seed(seed)
    size = SIZES.get(backbone, 64)
    network = build_backbone(backbone, len(LABELS), image_size=size)
    spec = ModelSpec(
        Vocabulary(LABELS),
        backbone,
        Preprocessing(resize=size + 8, crop=size),
        Calibration((1.0, 0.5, 2.0), (0.0, -1.0, 1.0)) if calibrated else None,
        Thresholds((0.5, 0.4, 0.3), {"0.9": (0.9, 0.8, 1.01)}),
        {"data": "test"},
    )
    path = folder / "model.safetensors"
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(state, path, metadata={SPEC_KEY: spec.to_json()})
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    source = checkpoint(folder, "squeezenet1_1")
    return source, export(source, folder / "model.onnx")


def test_exported_model_carries_everything(exported):
    source, result = exported
    spec = TorchPredictor.load(source, device="cpu").spec
    assert OnnxPredictor(result.path).spec == spec == result.spec
    graph = onnx.load(result.path)
    assert [each.version for each in graph.opset_import if each.domain == ""] == [18]
    assert [value.name for value in graph.graph.input] == ["images"]
    assert [value.name for value in graph.graph.output] == ["margins", "logits", "probabilities"]
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert json.loads(metadata[SPEC_KEY])["labels"] == list(LABELS)
    assert metadata["names"].split("\n") == list(LABELS)
    assert result.size == result.path.stat().st_size
    assert {path.name for path in result.path.parent.iterdir()} == {
        "model.safetensors",
        "model.onnx",
    }


def test_exported_model_does_not_tell_where_it_was_made(exported):
    content = exported[1].path.read_bytes()
    assert b".py" not in content
    assert str(Path(module.__file__).parents[2]).encode() not in content


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_any_batch_gives_the_logits_of_torch(exported, batch):
    source, result = exported
    images = np.random.default_rng(batch).integers(0, 256, (batch, 64, 64, 3), dtype=np.uint8)
    logits = TorchPredictor.load(source, device="cpu")(images)
    np.testing.assert_allclose(OnnxPredictor(result.path)(images), logits, atol=1e-4, rtol=1e-4)
    assert result.difference < 1e-4


def test_probabilities_are_calibrated(exported):
    import onnxruntime

    _, result = exported
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(result.path, providers=["CPUExecutionProvider"])
    logits, found = session.run(["logits", "probabilities"], {"images": images})
    assert result.spec.calibration is not None
    expected = probabilities(logits, result.spec.calibration)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_model_that_differs_from_torch_is_not_written(tmp_path, exported, monkeypatch):
    source = checkpoint(tmp_path, "squeezenet1_1", seed=1)
    other = exported[1].path.read_bytes()
    monkeypatch.setattr(
        module, "write_model", lambda model, spec, path, **_: path.write_bytes(other)
    )
    with pytest.raises(ModelError, match=r"differs from torch by .* nothing was written"):
        export(source, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.slow
def test_a_network_may_differ_as_much_as_it_rounds(tmp_path):
    """After a few steps, statistics of batch norm may be far from those of the data."""
    source = checkpoint(tmp_path, "mobilenet_v2")
    network, spec = load_checkpoint(source)
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.mul_(0.05)
    write_checkpoint(network, spec, source)
    exported = export(source, tmp_path / "model.onnx")
    assert exported.difference > module.TOLERANCE * max(1.0, exported.scale)


def test_existing_file_and_other_suffix_are_refused(tmp_path, exported):
    source, result = exported
    before = result.path.read_bytes()
    with pytest.raises(TwlError, match=r"model\.onnx: exists already.*`force`"):
        export(source, result.path)
    assert result.path.read_bytes() == before
    with pytest.raises(TwlError, match=r"expected a name that ends in \.onnx"):
        export(source, tmp_path / "model.pt")


def test_checkpoint_that_cannot_be_exported_says_why(tmp_path):
    with pytest.raises(ModelError, match="no such model"):
        export(tmp_path / "none.safetensors", tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="has no calibration"):
        export(checkpoint(tmp_path, "resnet18", calibrated=False), tmp_path / "a.onnx")
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(ModelError, match="not a safetensors checkpoint"):
        export(tmp_path / "text.safetensors", tmp_path / "a.onnx")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=r"has no 'twl\.spec' metadata"):
        export(tmp_path / "other.safetensors", tmp_path / "a.onnx")


@pytest.mark.parametrize(
    "labels", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 20, 300))]
)
def test_ml_decoder_is_exported_for_any_batch(tmp_path, labels):
    torch.manual_seed(0)
    network = build_backbone("resnet18", labels, image_size=64, head="ml-decoder")
    spec = ModelSpec(
        Vocabulary(tuple(f"label {number}" for number in range(labels))),
        "resnet18",
        Preprocessing(resize=64, crop=64),
        Calibration((1.0,) * labels, (0.0,) * labels),
        Thresholds((0.5,) * labels),
        head="ml-decoder",
    )
    write_checkpoint(network, spec, tmp_path / "m.safetensors")
    result = export(tmp_path / "m.safetensors", tmp_path / "m.onnx")
    assert result.difference < 1e-4
    images = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)
    exported, saved = (
        OnnxPredictor(result.path),
        TorchPredictor.load(tmp_path / "m.safetensors", device="cpu"),
    )
    np.testing.assert_allclose(exported(images), saved(images), atol=1e-4, rtol=1e-4)
    assert exported.spec.head == "ml-decoder"
    graph = onnx.load(result.path).graph
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    convolutions = [node.name for node in layers if node.op_type == "Conv"]
    in_int8 = {node.name for node in layers} - set(in_float(graph))
    assert in_int8 == set(convolutions[1:])  # the backbone without its first layer


@pytest.mark.slow
@pytest.mark.parametrize("backbone", FAMILIES)
def test_every_family_exports(tmp_path, backbone):
    result = export(checkpoint(tmp_path, backbone), tmp_path / "model.onnx")
    assert result.difference <= module.TOLERANCE * max(1.0, result.scale)
    predictor = OnnxPredictor(result.path)
    size = SIZES.get(backbone, 64)
    assert predictor(np.zeros((3, size, size, 3), np.uint8)).shape == (3, len(LABELS))
