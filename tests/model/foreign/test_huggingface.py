"""Folders of timm and transformers, against timm's own transforms and the processors' steps."""

import json
import re
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from tests.images.encoded import encode, noise, picture
from tests.model.foreign.graphs import write_graph
from twlcli.errors import ModelError
from twlcli.inference.tagger import load_model
from twlcli.model.foreign.predictor import ForeignPredictor
from twlcli.model.load import load_predictor

SIDE = 64
LABELS = ["cat", "dog", "tree"]
IMAGES = {"wide": picture(300, 130), "tall": noise(90, 211), "small": picture(40, 33)}
TIMM: dict[str, Any] = {
    "architecture": "resnet18",
    "num_classes": 3,
    "label_names": LABELS,
    "pretrained_cfg": {
        "input_size": [3, SIDE, SIDE],
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.25, 0.3],
    },
}
CONFIG: dict[str, Any] = {"id2label": {"0": "cat", "1": "dog", "2": "tree"}}
WHOLE: dict[str, Any] = {"size": {"height": SIDE, "width": SIDE}}
NORMAL: dict[str, Any] = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3]}


def write(folder, config, processor=None, *, name="model.onnx"):
    write_graph(folder / name, labels=3, side=SIDE, channels_first=True, scale=0.1)
    (folder / "config.json").write_text(json.dumps(config))
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def run(model, values):
    session = onnxruntime.InferenceSession(model)
    return session.run(None, {"input": values[None].astype(np.float32)})[0][0]


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def softmax(values):
    values = np.exp(values - values.max())
    return values / values.sum()


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize(
    "changes", [{}, {"crop_pct": 1.0, "interpolation": "bilinear"}, {"crop_mode": "squash"}]
)
def test_probabilities_are_those_of_timms_transforms(name, changes, tmp_path):
    timm_data = pytest.importorskip("timm.data")
    settings = TIMM["pretrained_cfg"] | changes
    config = TIMM | {"pretrained_cfg": settings, "problem_type": "multi_label_classification"}
    folder = write(tmp_path / "model", config)
    (tmp_path / "a.png").write_bytes(encode(IMAGES[name], "PNG"))
    transform = timm_data.create_transform(
        **settings | {"input_size": tuple(settings["input_size"])}, is_training=False
    )
    expected = sigmoid(run(folder / "model.onnx", transform(IMAGES[name]).numpy()))
    found = load_model(folder).predict_proba([tmp_path / "a.png"])[0]
    assert np.abs(found - expected).max() < 1e-3


def test_classes_that_exclude_each_other_share_a_probability_of_one(tmp_path):
    folder = write(tmp_path / "model", TIMM)
    images = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    values = (images / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.25, 0.3]
    found = sigmoid(load_predictor(folder)(images))
    for row, each in zip(found, values.transpose(0, 3, 1, 2), strict=True):
        np.testing.assert_allclose(row, softmax(run(folder / "model.onnx", each)), atol=1e-4)
        assert row.sum() == pytest.approx(1, abs=1e-4)


def cut(image: Image.Image, resize: int, crop: int, resampling) -> Image.Image:
    scale = resize / min(image.size)
    image = image.resize((int(image.width * scale), int(image.height * scale)), resampling)
    left, top = round((image.width - crop) / 2), round((image.height - crop) / 2)
    return image.crop((left, top, left + crop, top + crop))


BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
PROCESSORS: dict[str, tuple[dict[str, Any], Any]] = {
    "ViT": (
        {"image_processor_type": "ViTImageProcessor", "size": {"height": SIDE, "width": SIDE}},
        lambda image: image.resize((SIDE, SIDE), BILINEAR),
    ),
    "ViT, as it was": (
        {"feature_extractor_type": "ViTFeatureExtractor", "size": SIDE, "resample": 3},
        lambda image: image.resize((SIDE, SIDE), BICUBIC),
    ),
    "CLIP": (
        {"size": {"shortest_edge": 72}, "do_center_crop": True, "crop_size": SIDE, "resample": 3},
        lambda image: cut(image, 72, SIDE, BICUBIC),
    ),
    "DeiT": (
        {
            "size": {"height": 80, "width": 80},
            "do_center_crop": True,
            "crop_size": {"height": SIDE, "width": SIDE},
        },
        lambda image: image.resize((80, 80), BILINEAR).crop((8, 8, 72, 72)),
    ),
    "ConvNeXT": (
        {"size": {"shortest_edge": SIDE}, "crop_pct": 0.875, "resample": 3},
        lambda image: cut(image, int(SIDE / 0.875), SIDE, BICUBIC),
    ),
}


@pytest.mark.parametrize("kind", PROCESSORS)
@pytest.mark.parametrize("name", IMAGES)
def test_probabilities_are_those_of_the_processors_steps(kind, name, tmp_path):
    processor, prepared = PROCESSORS[kind]
    config = CONFIG | {"problem_type": "multi_label_classification"}
    folder = write(tmp_path / "model", config, NORMAL | processor, name="onnx/model.onnx")
    (tmp_path / "a.png").write_bytes(encode(IMAGES[name], "PNG"))
    values = (np.asarray(prepared(IMAGES[name])) / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.25, 0.3]
    expected = sigmoid(run(folder / "onnx/model.onnx", values.transpose(2, 0, 1)))
    found = load_model(folder).predict_proba([tmp_path / "a.png"])[0]
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize(
    ("settings", "scale", "shift"),
    [
        ({"do_normalize": False}, 1 / 255, 0.0),
        ({"do_normalize": False, "do_rescale": False}, 1.0, 0.0),
        (
            {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
            1 / 127.5,
            -1,
        ),
    ],
)
def test_values_are_scaled_as_the_processor_says(settings, scale, shift, tmp_path):
    config = CONFIG | {"problem_type": "multi_label_classification"}
    folder = write(tmp_path, config, NORMAL | WHOLE | settings)
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    values = images.transpose(0, 3, 1, 2) * scale + shift
    expected = np.stack([run(folder / "model.onnx", each) for each in values])
    np.testing.assert_allclose(load_predictor(folder)(images), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("config", "processor", "message"),
    [
        (
            TIMM | {"label_names": None},
            None,
            "config.json: cannot be used: there is no key 'id2label'",
        ),
        (
            TIMM | {"pretrained_cfg": TIMM["pretrained_cfg"] | {"interpolation": "lanczos"}},
            None,
            "interpolation is 'lanczos'; expected bilinear or bicubic",
        ),
        (
            TIMM | {"pretrained_cfg": TIMM["pretrained_cfg"] | {"crop_mode": "border"}},
            None,
            "crop_mode is 'border'; expected center or squash",
        ),
        (CONFIG, None, "preprocessor_config.json: cannot be read"),
        (
            CONFIG,
            NORMAL | {"size": {"height": 64, "width": 32}},
            "images are 64 x 32; expected a square",
        ),
        (CONFIG, NORMAL | {"size": {"shortest_edge": 64}}, "expected a square"),
        (CONFIG, NORMAL | {"size": {"height": 32, "width": 32}}, "expected 32 pixels"),
        ([], None, "expected an object of JSON"),
        (
            CONFIG | {"id2label": {"0": "cat", "2": "dog"}},
            NORMAL | WHOLE,
            "there is no key 1",
        ),
        (
            CONFIG | {"id2label": {"0": "a", "1": "b"}},
            NORMAL | {"size": {"height": 64, "width": 64}},
            "2 labels",
        ),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(config, processor, message, tmp_path):
    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        load_predictor(write(tmp_path, config, processor))
    assert "\n" not in str(caught.value)


def test_thresholds_beside_count_where_there_is_one_for_each_label(tmp_path):
    folder = write(tmp_path / "model", TIMM)
    file = folder / "thresholds.json"

    def found(text: str):
        file.write_text(text)
        model = load_predictor(folder)
        assert isinstance(model, ForeignPredictor) and model.spec.thresholds is not None
        return model.spec.thresholds.best_f1, file in model.files

    assert found('{"dog": 0.25, "tree": 1.01, "cat": 1, "more": "x"}') == ((1.0, 0.25, 1.01), True)
    others = ['{"cat": 0.25}', '{"cat": true, "dog": 0, "tree": 0}', '{"general": {"cat": 0.1}}']
    for text in (*others, '{"cat": NaN, "dog": 0, "tree": 0}'):
        assert found(text) == ((0.5,) * 3, False)
    with pytest.raises(ModelError, match=r"thresholds\.json: cannot be read"):
        found("[")
