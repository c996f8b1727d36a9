"""Exported models that strangers made."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

from tests.hostile.graphs import constant, endless, enormous, graph, node, write
from tests.tagging.models import write_model
from twlcli.errors import DeviceError, ModelError
from twlcli.images.image_file import ImageFile
from twlcli.images.sandbox import LocalDecoder
from twlcli.inference.stream import stream
from twlcli.model import bounds
from twlcli.model.onnx import OnnxPredictor

IMAGES = np.full((2, 8, 8, 3), 100, dtype=np.uint8)
ONE_FLOAT = np.float32(1)


def value(kind, shape, name="logits"):
    return helper.make_tensor_value_info(name, kind, shape)


def test_what_is_right_runs(tmp_path):
    model = OnnxPredictor(write(graph(node("Identity", "two")), tmp_path / "m.onnx"))
    assert model(IMAGES) == pytest.approx(np.full((2, 2), 3.0))


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([node("ReduceMean", "two first", keepdims=1)], "logits (1, 2); expected (2, 2)"),
        ([node("Concat", "two two", axis=0)], "logits (4, 2); expected (2, 2)"),
    ],
)
def test_logits_of_another_shape_are_refused(tmp_path, nodes, said):
    """Broadcast, they would give the labels of one image to another."""
    output = value(TensorProto.FLOAT, ["m", "c"])
    model = graph(*nodes, constants=[constant("first", [0])], output=output)
    predictor = OnnxPredictor(write(model, tmp_path / "m.onnx"))
    with pytest.raises(ModelError, match="the model gives") as error:
        predictor(IMAGES)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("nodes", "output"),
    [
        ([node("ReduceMean", "two first", keepdims=0)], value(TensorProto.FLOAT, [2])),
        ([node("ReduceMean", "two", keepdims=0)], value(TensorProto.FLOAT, [])),
        ([node("Unsqueeze", "two first")], value(TensorProto.FLOAT, [1, "n", 2])),
        ([node("Cast", "two", to=TensorProto.STRING)], value(TensorProto.STRING, ["n", 2])),
        ([node("Cast", "two", to=TensorProto.BOOL)], value(TensorProto.BOOL, ["n", 2])),
        ([node("Cast", "two", to=TensorProto.INT64)], value(TensorProto.INT64, ["n", 2])),
        (
            [node("SequenceConstruct", "two")],
            helper.make_tensor_sequence_value_info("logits", TensorProto.FLOAT, None),
        ),
    ],
)
def test_logits_of_another_kind_are_refused(tmp_path, nodes, output):
    model = graph(*nodes, constants=[constant("first", [0])], output=output)
    with pytest.raises(ModelError, match=r"expected floating point of \(images, 2\)"):
        OnnxPredictor(write(model, tmp_path / "m.onnx"))


def test_memory_is_bounded(tmp_path):
    predictor = OnnxPredictor(write(enormous(), tmp_path / "m.onnx"))
    with pytest.raises(DeviceError, match="out of memory with 2 images at once on cpu"):
        predictor(IMAGES)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(bounds, "SECONDS", 0.2)
    monkeypatch.setattr(bounds, "GRACE", 0.2)


def streamed(predictor, folder, *, count=6):
    """What `stream` says of some images, three at a time in each of two threads."""
    path = folder / "a.png"
    Image.new("RGB", (20, 20)).save(path)
    groups = [[ImageFile(path, "a.png")] * 3] * (count // 3)
    return stream(groups, predictor, files_of=lambda group: group, decoders=[LocalDecoder()] * 2)


def test_a_model_without_end_is_ended(tmp_path, impatient):
    predictor = OnnxPredictor(write(endless(), tmp_path / "m.onnx"))
    with pytest.raises(ModelError, match=r"took more than 0\.6 seconds for 3 images"):
        list(streamed(predictor, tmp_path))
    assert not [each for each in threading.enumerate() if each.name.startswith("twl-model")]


def test_a_model_that_is_stopped_ends_the_stream(tmp_path):
    predictor = OnnxPredictor(write(endless(), tmp_path / "m.onnx"))
    chunks = streamed(predictor, tmp_path)
    ended: list[ModelError] = []

    def wait():
        with pytest.raises(ModelError) as error:
            next(chunks)
        ended.append(error.value)

    waits = threading.Thread(target=wait)
    waits.start()
    time.sleep(0.5)
    predictor.stop()
    waits.join(10)
    assert len(ended) == 1
    assert not [each for each in threading.enumerate() if each.name.startswith("twl-model")]


class Deaf:
    """A model in which one step takes longer than anybody waits, and cannot be stopped."""

    def __init__(self, spec):
        self.spec = spec
        self.batch_size = 1
        self.calls = bounds.Calls()
        self.end = threading.Event()

    def __call__(self, images):
        with self.calls.call(len(images)):
            self.end.wait(20)
        return np.zeros((len(images), len(self.spec.vocabulary)), dtype=np.float32)

    def stop(self, *, late=False):
        self.calls.stop(late=late)


def test_nobody_waits_for_a_model_that_cannot_be_stopped(tmp_path, impatient):
    spec = OnnxPredictor(write(graph(node("Identity", "two")), tmp_path / "m.onnx")).spec
    predictor = Deaf(spec)
    began = time.monotonic()
    try:
        with pytest.raises(ModelError, match="does not come to an end"):
            list(streamed(predictor, tmp_path))
        assert time.monotonic() - began < 15
    finally:
        predictor.end.set()


def test_loading_takes_no_longer_than_anybody_waits(impatient):
    asked = threading.Event()
    with pytest.raises(TimeoutError):
        bounds.in_time(lambda: asked.wait(20), seconds=0.1, stop=lambda: None)
    bounds.in_time(asked.set, seconds=None, stop=lambda: None)
    with pytest.raises(ZeroDivisionError):
        bounds.in_time(lambda: 1 / 0, seconds=5, stop=lambda: None)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_model_with_holes_is_not_read(tmp_path):
    """40 GB of nothing were searched for places of other files, without an end."""
    path = write_model(tmp_path / "m.onnx")
    try:
        os.truncate(path, 40 << 30)
    except OSError:
        pytest.skip("no files with holes here")
    with pytest.raises(ModelError, match=r"m\.onnx: is larger than 2 GiB"):
        OnnxPredictor(path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_a_model_without_end(tmp_path, number):
    write(endless(), tmp_path / "m.onnx")
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "twlcli", "tag", "a.png", "--model", "m.onnx", "--no-journal"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=-1, stderr=-1, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # the header: the model is loaded
    time.sleep(1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert "stopped early" in errors
    assert "Traceback" not in errors


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
def test_only_regular_files_are_models(tmp_path):
    os.mkfifo(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="is not a regular file"):
        OnnxPredictor(tmp_path / "m.onnx")


def with_weights_in(folder: Path, *places: str) -> Path:
    """A model whose weights are in another file, and perhaps a name of one that nothing uses."""
    model = graph(node("Identity", "two"))
    (weights,) = (each for each in model.graph.initializer if each.name == "weights")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, text in (("offset", "0"), ("length", "24"), *(("location", each) for each in places)):
        weights.external_data.add(key=key, value=text)
    return write(model, folder / "m.onnx")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("../w.bin", "keeps weights in another folder; expected them beside it"),
        ("/etc/passwd", "keeps weights in another folder; expected them beside it"),
        ("..", "keeps weights in another folder; expected them beside it"),
        ("link.bin", "its weights are in link.bin, which is not there"),
        ("pipe", "its weights are in pipe, which is not there"),
        ("none.bin", "its weights are in none.bin, which is not there"),
        ("l" * 200, "its weights are in lll"),
    ],
)
def test_weights_lie_beside_a_model_or_it_is_refused(tmp_path, place, message):
    (tmp_path / "w.bin").write_bytes(np.ones((3, 2), np.float32).tobytes())
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    os.mkfifo(folder / "pipe")
    with pytest.raises(ModelError, match=re.escape(message)):
        OnnxPredictor(with_weights_in(folder, place))


def test_weights_in_very_many_files_are_refused(tmp_path):
    places = [f"{number}.bin" for number in range(1002)]
    with pytest.raises(ModelError, match="keeps weights in more than 1,000 files"):
        OnnxPredictor(with_weights_in(tmp_path, *places))


def test_an_empty_file_is_no_model(tmp_path):
    (tmp_path / "m.onnx").touch()
    with pytest.raises(ModelError, match=r"m\.onnx"):
        OnnxPredictor(tmp_path / "m.onnx")
