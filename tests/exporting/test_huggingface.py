"""Folders for timm and transformers, loaded by them and by twl."""

import contextlib
import io
import json
import math
import re
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.exporting.finished import LABELS, RESIZE, SIDE, THRESHOLDS, finished
from tests.images.encoded import noise, picture
from twlcli.errors import MissingExtraError, ModelError
from twlcli.exporting import huggingface, plain_onnx
from twlcli.exporting.bundle import export_bundle
from twlcli.exporting.huggingface import crop_share
from twlcli.inference.tagger import load_model
from twlcli.model.preprocessing import Preprocessing

timm = pytest.importorskip("timm")

# The shorter side is as long as the model wants it, so that nobody's resampling is compared.
IMAGES = [noise(RESIZE, RESIZE), noise(RESIZE, 101), picture(90, RESIZE), picture(RESIZE, RESIZE)]


@pytest.fixture(
    scope="module",
    params=[
        "resnet18",
        "timm:test_vit",
        pytest.param("timm:test_resnet.r160_in1k", marks=pytest.mark.slow),
    ],
)
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hf")
    source = finished(folder, request.param)
    return source, export_bundle(source, "hf", folder / "bundle")


def test_timm_gives_the_probabilities_of_twl(made):
    source, bundle = made
    model = timm.create_model(f"local-dir:{bundle.folder}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    with torch.inference_mode():
        found = model(torch.stack([transform(image) for image in IMAGES])).sigmoid().numpy()
    expected = load_model(source, device="cpu").predict_proba(IMAGES)
    assert np.ptp(expected[:, :3], axis=0).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert tuple(model.pretrained_cfg["label_names"]) == LABELS


def test_twl_reads_it_as_a_model_of_another_program(made):
    source, bundle = made
    tagger, own = load_model(bundle.folder), load_model(source, device="cpu")
    assert tagger.spec.backbone == "timm"
    assert tagger.spec.preprocessing == own.spec.preprocessing
    found, expected = tagger.predict_proba(IMAGES), own.predict_proba(IMAGES)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    tags = [each.labels for each in own.tag(IMAGES)]
    assert [each.labels for each in tagger.tag(IMAGES)] == tags
    assert all("always" in labels and "never" not in labels for labels in tags)


@pytest.mark.consumers
def test_transformers_gives_the_probabilities_of_twl(made):
    transformers = pytest.importorskip("transformers")
    source, bundle = made
    tagger = transformers.pipeline(
        "image-classification", model=str(bundle.folder), top_k=None, device="cpu"
    )
    expected = load_model(source, device="cpu").predict_proba(IMAGES)
    for image, row in zip(IMAGES, expected, strict=True):
        found = {each["label"]: each["score"] for each in tagger(image)}
        np.testing.assert_allclose([found[name] for name in LABELS], row, atol=1e-4)


def test_onnx_file_is_the_calibrated_network(made):
    _, bundle = made
    session = onnxruntime.InferenceSession(bundle.folder / "onnx/model.onnx")
    (given_,), (output,) = session.get_inputs(), session.get_outputs()
    assert (given_.name, given_.type, given_.shape[1:]) == (
        "pixel_values",
        "tensor(float)",
        [3, SIDE, SIDE],
    )
    assert (output.name, output.shape[1:]) == ("logits", [len(LABELS)])
    assert "twl.spec" not in session.get_modelmeta().custom_metadata_map


def test_quantised_file_agrees_as_the_card_says(made):
    _, bundle = made
    card = (bundle.folder / "README.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"differ from these by up to ([0-9.]+);", card)
    images = np.random.default_rng(1).normal(size=(3, 3, SIDE, SIDE)).astype(np.float32)
    found = []
    for name in ("model.onnx", "model_quantized.onnx"):
        session = onnxruntime.InferenceSession(bundle.folder / "onnx" / name)
        found.append(session.run(["logits"], {"pixel_values": images})[0])
    assert not np.array_equal(*found)
    probabilities = [1 / (1 + np.exp(-each)) for each in found]
    assert np.abs(probabilities[0] - probabilities[1]).max() <= 2 * float(said) + 0.05
    sizes = [path.stat().st_size for path in (bundle.folder / "onnx").iterdir()]
    assert min(sizes) < 0.6 * max(sizes)


def test_processor_says_the_same_as_the_config(made):
    """What transformers.js reads; of twl's readers the one for such files."""
    _, bundle = made
    config = json.loads((bundle.folder / "config.json").read_text(encoding="utf-8"))
    assert config["problem_type"] == "multi_label_classification"
    processor = json.loads((bundle.folder / "preprocessor_config.json").read_text())
    assert not {"image_processor_type", "feature_extractor_type"} & processor.keys()
    other = bundle.folder.parent / "transformers"
    (other / "onnx").mkdir(parents=True, exist_ok=True)
    (other / "onnx/model.onnx").write_bytes((bundle.folder / "onnx/model.onnx").read_bytes())
    (other / "preprocessor_config.json").write_text(json.dumps(processor))
    labels = {"id2label": dict(enumerate(LABELS)), "problem_type": config["problem_type"]}
    (other / "config.json").write_text(json.dumps(labels))
    found, expected = (load_model(folder).spec for folder in (other, bundle.folder))
    np.testing.assert_allclose(found.preprocessing.mean, expected.preprocessing.mean)
    np.testing.assert_allclose(found.preprocessing.std, expected.preprocessing.std)
    for name in ("resize", "crop", "interpolation", "fit"):
        assert getattr(found.preprocessing, name) == getattr(expected.preprocessing, name)


def test_the_lines_of_the_card_run(made, monkeypatch):
    source, bundle = made
    card = (bundle.folder / "README.md").read_text(encoding="utf-8")
    with_timm, with_transformers = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    noise(300, 200).resize((100, RESIZE)).save(bundle.folder / "image.jpg")
    monkeypatch.chdir(bundle.folder)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(with_timm, "README.md", "exec"), {})
    image = Image.open("image.jpg").convert("RGB")
    (tags,) = load_model(source, device="cpu").tag([image])
    said = {f"{label} {p:.2f}" for label, p in tags.to_dict().items()}
    assert set(printed.getvalue().splitlines()) == said
    compile(with_transformers, "README.md", "exec")


def test_card_tells_labels_scores_and_thresholds(made):
    _, bundle = made
    card = (bundle.folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: timm\n")
    assert "mAP@class 50.00, mAP@sample 62.50" in card
    rows = re.findall(r"^\| (.*) \| (.*) \|$", card, re.MULTILINE)
    assert rows[1:] == [
        ("cat", "0.500"),
        (r"dog \| hound", "0.400"),
        (r"&lt;été&gt;, \*red\*", "0.900"),
        ("never", "never given"),
        ("always", "0.000"),
    ]
    thresholds = json.loads((bundle.folder / "thresholds.json").read_text(encoding="utf-8"))
    assert list(thresholds) == list(LABELS)
    np.testing.assert_allclose(list(thresholds.values()), THRESHOLDS, rtol=1e-6)


@given(st.data())
def test_timm_makes_the_shorter_side_as_long_as_twl(data):
    resize = data.draw(st.integers(1, 8192))
    crop = data.draw(st.integers(1, resize))
    share = json.loads(json.dumps(crop_share(Preprocessing(resize, crop))))
    assert math.floor(crop / share) == resize


@pytest.mark.parametrize(
    ("backbone", "changes", "expected"),
    [
        ("mobilenet_v2", {}, r"timm has no network 'mobilenet_v2'; expected timm:NAME, or a Res"),
        (
            "efficientnet_b0",
            {},
            r"timm has another 'efficientnet_b0' than torchvision; expected timm:NAME",
        ),
        ("timm:test_resnet", {"head": "ml-decoder"}, r"has the head ml-decoder, which timm does"),
    ],
)
def test_networks_that_timm_does_not_have_are_refused(backbone, changes, expected, tmp_path):
    source = finished(tmp_path, backbone, **changes)
    with pytest.raises(ModelError, match=expected):
        export_bundle(source, "hf", tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_without_timm_it_says_what_to_install(tmp_path, monkeypatch):
    source = finished(tmp_path, "resnet18")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"bundle .* needs the 'timm' extra: pip install"):
        export_bundle(source, "hf", tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone",
    [
        *("resnet50", "resnext50_32x4d", "wide_resnet50_2", "densenet121"),
        *("timm:convnext_atto", "timm:efficientnet_lite0", "timm:mobilenetv4_conv_small"),
        *("timm:vit_base_patch16_siglip_224", "timm:swin_tiny_patch4_window7_224"),
        *("timm:deit3_small_patch16_224", "timm:vit_small_patch16_dinov3"),
    ],
)
def test_families_of_networks(backbone, tmp_path):
    source = finished(tmp_path, backbone)
    bundle = export_bundle(source, "hf", tmp_path / "bundle")
    tagger, own = load_model(bundle.folder), load_model(source, device="cpu")
    np.testing.assert_allclose(tagger.predict_proba(IMAGES), own.predict_proba(IMAGES), atol=1e-3)


def test_what_timm_loads_otherwise_is_not_written(tmp_path, monkeypatch):
    source = finished(tmp_path, "timm:test_resnet")
    monkeypatch.setattr(huggingface, "_folded", lambda source, network, calibration: network)
    with pytest.raises(ModelError, match=r"what timm loads differs from the model by .*nothing"):
        export_bundle(source, "hf", tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_graph_that_differs_from_torch_is_not_written(made, tmp_path, monkeypatch):
    source, bundle = made
    graph = onnx.load(bundle.folder / "onnx/model.onnx")
    (bias,) = (each for each in graph.graph.initializer if each.name in ("fc.bias", "head.bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 1, bias.name))
    monkeypatch.setattr(plain_onnx, "graph_of", lambda *arguments, **options: graph)
    with pytest.raises(ModelError, match=r"the ONNX graph differs from the model by 1; nothing"):
        export_bundle(source, "hf", tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []
