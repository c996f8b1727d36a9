"""Folders for Triton Inference Server, by the schema of its `config.pbtxt`."""

import re
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.exporting.finished import LABELS, SIDE, finished
from twlcli.errors import ModelError
from twlcli.exporting.bundle import export_bundle
from twlcli.exporting.onnx import export

TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[\w.+-]+|[:{}\[\],])')
NAMES = {"TYPE_UINT8": "tensor(uint8)", "TYPE_FP32": "tensor(float)"}


def parsed(text: str) -> dict[str, Any]:
    """A message in the text format of protocol buffers, as far as Triton's configurations go."""
    tokens = TOKEN.findall(text)
    assert "".join(tokens) == re.sub(r"\s", "", text)
    message: dict[str, Any]
    message, rest = message_of(iter([*tokens, "}"]))
    assert list(rest) == []
    return message


def message_of(tokens):
    message: dict[str, Any] = {}
    for name in tokens:
        if name == "}":
            return message, tokens
        assert re.fullmatch(r"[a-z_]+", name)
        token = next(tokens)
        message[name] = value_of(next(tokens) if token == ":" else token, tokens)
    raise AssertionError("a message without an end")


def value_of(token, tokens):
    if token == "{":
        return message_of(tokens)[0]
    if token == "[":
        values = []
        while (token := next(tokens)) != "]":
            if token != ",":
                values.append(value_of(token, tokens))
        return values
    return token[1:-1] if token.startswith('"') else int(token) if token.isdecimal() else token


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("triton")
    source = finished(folder, "squeezenet1_1")
    return source, export_bundle(source, "triton", folder / "bundle")


def test_configuration_is_that_of_the_graph(made):
    _, bundle = made
    config = parsed((bundle.folder / "config.pbtxt").read_text())
    assert config == {
        "backend": "onnxruntime",
        "max_batch_size": 32,
        "input": [{"name": "images", "data_type": "TYPE_UINT8", "dims": [SIDE, SIDE, 3]}],
        "output": [
            {
                "name": "probabilities",
                "data_type": "TYPE_FP32",
                "dims": [len(LABELS)],
                "label_filename": "labels.txt",
            }
        ],
        "dynamic_batching": {},
    }
    session = onnxruntime.InferenceSession(bundle.folder / "1/model.onnx")
    there = {each.name: each for each in (*session.get_inputs(), *session.get_outputs())}
    for each in (*config["input"], *config["output"]):
        first, *others = there[each["name"]].shape
        assert (NAMES[each["data_type"]], each["dims"]) == (there[each["name"]].type, others)
        assert isinstance(first, str)  # any number of images
    whole = np.zeros((config["max_batch_size"], SIDE, SIDE, 3), np.uint8)
    assert session.run(["probabilities"], {"images": whole})[0].shape == (32, len(LABELS))


def test_model_is_what_twl_exports_and_labels_are_in_its_order(made):
    source, bundle = made
    exported = export(source, source.with_name("other.onnx"))
    assert (bundle.folder / "1/model.onnx").read_bytes() == exported.path.read_bytes()
    assert (bundle.folder / "labels.txt").read_text(encoding="utf-8").split("\n") == [*LABELS, ""]


def test_a_label_with_a_line_break_is_refused(tmp_path):
    source = finished(tmp_path, "squeezenet1_1", labels=("cat", "two\nlines"))
    with pytest.raises(ModelError, match=r"label 'two\\nlines' has a line break, and labels\.txt"):
        export_bundle(source, "triton", tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
