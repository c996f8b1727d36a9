"""Classifiers that carry the metadata of OpenVINO's model_api, beside model_api itself."""

import json
import re

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from tests.images.encoded import encode, noise, picture
from tests.model.foreign.graphs import write_graph
from twlcli.errors import ModelError
from twlcli.exporting.adopt import adopt
from twlcli.inference.tagger import load_model
from twlcli.model.decisions import thresholds_of
from twlcli.model.load import load_predictor

SIDE = 64
LABELS = ("cat", "hot_dog", "tree")
METADATA = {
    "model_info model_type": "Classification",
    "model_info task_type": "classification",
    "model_info labels": " ".join(LABELS),
    "model_info multilabel": "True",
    "model_info hierarchical": "False",
    "model_info confidence_threshold": "0.35",
    "model_info mean_values": "123.675 116.28 103.53",
    "model_info scale_values": "58.395 57.12 57.375",
    "model_info resize_type": "standard",
    "model_info pad_value": "0",
    "model_info reverse_input_channels": "False",
}
ONE_LABEL = {"model_info multilabel": "False"}
BYTES = (noise(SIDE, SIDE), picture(SIDE, SIDE), Image.new("RGB", (SIDE, SIDE), "orange"))


def write(path, changes=(), *, ending="", channels_first=True, batch="N"):
    metadata = {**METADATA, **dict(changes)}
    return write_graph(
        path,
        labels=3,
        side=SIDE,
        channels_first=channels_first,
        ending=ending,
        metadata={key: value for key, value in metadata.items() if value is not None},
        batch=batch,
    )


@pytest.mark.parametrize("reverse", ["True", "False"])
@pytest.mark.parametrize("channels_first", [True, False])
def test_probabilities_are_those_of_its_own_steps(reverse, channels_first, tmp_path):
    image = picture(200, 90)
    (tmp_path / "a.png").write_bytes(encode(image, "PNG"))
    changes = {"model_info reverse_input_channels": reverse}
    model = write(tmp_path / "model.onnx", changes, channels_first=channels_first)
    values = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float64)
    if reverse == "True":
        values = values[..., ::-1]
    values = (values - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    values = values.transpose(2, 0, 1) if channels_first else values
    session = onnxruntime.InferenceSession(model)
    (logits,) = session.run(None, {"input": values[None].astype(np.float32)})
    tagger = load_model(model)
    assert tagger.labels == LABELS
    found = tagger.predict_proba([tmp_path / "a.png"] * 3)
    np.testing.assert_allclose(found, np.repeat(1 / (1 + np.exp(-logits)), 3, 0), atol=1e-2)
    assert thresholds_of(tagger.spec, None) == pytest.approx(0.35)


@pytest.mark.parametrize("ending", ["", "Softmax"])
def test_classes_are_softmaxed_once(ending, tmp_path):
    model = write(tmp_path / "model.onnx", ONE_LABEL, ending=ending)
    expected = load_model(write(tmp_path / "other.onnx", ONE_LABEL)).predict_proba(BYTES)
    found = load_model(model).predict_proba(BYTES)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_labels_have_their_spaces_where_those_are_written(tmp_path):
    names = ["cat", "hot dog", "tree"]
    info = json.dumps({"label_names": names, "label_groups": [names]})
    model = write(tmp_path / "model.onnx", {"model_info label_info": info})
    assert load_model(model).labels == tuple(names)


def test_values_may_be_scaled_to_one_first(tmp_path):
    changes = {
        "model_info intensity_mode": "scale_to_unit",
        "model_info mean_values": "0.485 0.456 0.406",
        "model_info scale_values": "0.229 0.224 0.225",
    }
    first = load_model(write(tmp_path / "unit.onnx", changes)).predict_proba(BYTES)
    second = load_model(write(tmp_path / "bytes.onnx")).predict_proba(BYTES)
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_it_is_adopted(tmp_path):
    model = write(tmp_path / "model.onnx")
    adopted = adopt(model, tmp_path / "own.onnx")
    found, expected = (load_model(each).predict_proba(BYTES) for each in (adopted.path, model))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_info model_type": "ssd"}, "is a model for 'ssd'; expected Classification"),
        ({"model_info labels": ""}, "cannot be used: it has no labels"),
        ({"model_info labels": "cat"}, "expected 1 values for the 1 labels"),
        ({"model_info labels": "cat cat dog"}, "label 'cat' "),
        ({"model_info label_info": "{"}, "cannot be used: "),
        ({"model_info hierarchical": "True"}, "its labels are a hierarchy"),
        ({"model_info resize_type": "fit_to_window"}, "resize_type is 'fit_to_window' with pad"),
        (
            {"model_info resize_type": "fit_to_window_letterbox"},
            "with pad_value 0; expected crop, standard, or fit_to_window_letterbox with pad_value",
        ),
        ({"model_info interpolation_mode": "NEAREST"}, "interpolation_mode is 'NEAREST'"),
        ({"model_info mean_values": "1 2"}, "cannot be used: "),
        ({"model_info scale_values": "0"}, "a scale is 0"),
        ({"model_info confidence_threshold": "x"}, "cannot be used: "),
        ({"model_info confidence_threshold": "2"}, "confidence_threshold is 2; expected 0..1"),
        ({"model_info intensity_mode": "window"}, "intensity_mode is 'window'"),
    ],
)
def test_what_is_wrong_is_one_line(changes, message, tmp_path):
    model = write(tmp_path / "model.onnx", changes)
    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        load_predictor(model)
    assert "\n" not in str(caught.value)


@pytest.mark.consumers
@pytest.mark.parametrize("resize_type", ["crop", "standard", "fit_to_window_letterbox"])
@pytest.mark.parametrize("changes", [{}, ONE_LABEL, {"model_info reverse_input_channels": "True"}])
def test_model_api_says_the_same(resize_type, changes, tmp_path):
    """Images have the model's size, so that nobody's resampling is compared."""
    models = pytest.importorskip("model_api.models")
    more = {"model_info resize_type": resize_type, "model_info pad_value": "255"}
    path = write(tmp_path / "model.onnx", {**changes, **more}, batch=1)
    theirs = models.Model.create_model(str(path), configuration={"output_raw_scores": True})
    found = load_model(path).predict_proba(BYTES)
    expected = [theirs(np.asarray(image)).raw_scores.ravel() for image in BYTES]
    np.testing.assert_allclose(found, expected, atol=2e-3)
