"""Classifiers of Ultralytics, by the metadata of their ONNX files."""

import re

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from tests.images.encoded import encode, picture
from tests.model.foreign.graphs import write_graph
from twlcli.errors import ModelError
from twlcli.inference.tagger import load_model
from twlcli.model.load import load_predictor

SIDE = 64
METADATA = {
    "task": "classify",
    "names": "{0: 'cat', 1: \"dog's\", 2: 'tree'}",
    "imgsz": f"[{SIDE}, {SIDE}]",
}


def write(path, metadata=METADATA):
    return write_graph(
        path, labels=3, side=SIDE, channels_first=True, ending="Softmax", metadata=metadata, batch=1
    )


def test_probabilities_are_those_of_its_own_steps(tmp_path):
    image = picture(200, 90)
    (tmp_path / "a.png").write_bytes(encode(image, "PNG"))
    model = write(tmp_path / "yolo11n-cls.onnx")
    resized = image.resize((int(200 * SIDE / 90), SIDE), Image.Resampling.BILINEAR)
    left = round((resized.width - SIDE) / 2)
    values = np.asarray(resized.crop((left, 0, left + SIDE, SIDE)), np.float32).transpose(2, 0, 1)
    session = onnxruntime.InferenceSession(model)
    expected = session.run(None, {"input": values[None] / 255})[0][0]
    tagger = load_model(model)
    assert tagger.labels == ("cat", "dog's", "tree")
    found = tagger.predict_proba([tmp_path / "a.png"] * 3)
    assert np.abs(found - expected).max() < 1e-2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "detect"}, "is a model for 'detect'; expected one that classifies"),
        ({"names": "{0: 'cat'"}, "its metadata are damaged"),
        ({"names": "{0: 'cat', 2: 'dog'}"}, "its metadata are damaged"),
        ({"names": "__import__('os')"}, "its metadata are damaged"),
        ({"imgsz": "[64, 32]"}, "its metadata are damaged (expected a square and names)"),
        ({"names": "{0: 'cat'}"}, "expected 1 values for the 1 labels"),
        ({"imgsz": "32"}, "expected 32 pixels"),
    ],
)
def test_what_is_wrong_is_one_line(changes, message, tmp_path):
    model = write(tmp_path / "model.onnx", METADATA | changes)
    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        load_predictor(model)
    assert "\n" not in str(caught.value)


def test_a_file_of_which_nothing_is_known_is_refused(tmp_path):
    model = write(tmp_path / "model.onnx", {})
    with pytest.raises(ModelError, match=r"its labels and preprocessing are unknown; expected a"):
        load_predictor(model)
