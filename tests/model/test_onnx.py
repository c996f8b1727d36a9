import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest

from tests.tagging.models import SPEC, logits_of, spec_with_labels, write_model
from twlcli.errors import DeviceError, ModelError
from twlcli.model.onnx import OnnxPredictor, available_providers


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model.onnx")


def test_predictor_gives_spec_provider_and_logits(model):
    predictor = OnnxPredictor(model, provider="cpu")
    assert predictor.spec == SPEC
    assert predictor.provider == "cpu"
    images = np.zeros((2, 12, 12, 3), dtype=np.uint8)
    images[1] = [255, 0, 51]
    logits = predictor(images)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, [logits_of((0, 0, 0)), logits_of((255, 0, 51))], rtol=1e-6)


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_predictor_may_be_called_from_several_threads(model, threads):
    predictor = OnnxPredictor(model, provider="cpu", threads=threads)
    levels = np.arange(64, dtype=np.uint8)
    batches = [np.full((1, 12, 12, 3), level, dtype=np.uint8) for level in levels]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(predictor, batches))
    expected = [logits_of((level,) * 3) for level in levels.astype(float)]
    np.testing.assert_allclose(np.concatenate(results), expected, rtol=1e-5)


def test_predictor_takes_the_first_provider_that_starts(model, monkeypatch):
    there = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    real = onnxruntime.InferenceSession

    def without_cuda(path, options, providers):
        return real(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", without_cuda)
    assert available_providers() == ("cuda", "cpu")
    assert OnnxPredictor(model).provider == "cpu"
    with pytest.raises(DeviceError, match="'cuda' does not start: ONNX Runtime fell back"):
        OnnxPredictor(model, provider="cuda")

    def broken(path, options, providers):
        raise RuntimeError("libcublas.so\nnot found")

    monkeypatch.setattr(onnxruntime, "InferenceSession", broken)
    with pytest.raises(DeviceError, match=r"'cuda' does not start: libcublas\.so not found$"):
        OnnxPredictor(model, provider="cuda")


def test_predictor_refuses_a_provider_that_is_not_there(model, monkeypatch):
    only_cpu = lambda: ["CPUExecutionProvider"]  # noqa: E731
    monkeypatch.setattr(onnxruntime, "get_available_providers", only_cpu)
    with pytest.raises(DeviceError, match=r"'cuda' is not in this ONNX Runtime \(available: cpu\)"):
        OnnxPredictor(model, provider="cuda")
    with pytest.raises(DeviceError, match=r"'cdua' is not known .* did you mean 'cuda'\?"):
        OnnxPredictor(model, provider="cdua")


def test_predictor_refuses_what_is_not_a_model(tmp_path):
    text = tmp_path / "text.onnx"
    text.write_text("hello")
    (tmp_path / "run").mkdir()
    (tmp_path / "model.safetensors").touch()
    cases = {
        "gone.onnx": "gone.onnx: no such model file",
        "text.onnx": "text.onnx: is not an ONNX model, or is damaged",
        "run": "is a folder; export a run with: twl export",
        "model.safetensors": "is a checkpoint, expected an .onnx file",
    }
    for name, message in cases.items():
        with pytest.raises(ModelError) as caught:
            OnnxPredictor(tmp_path / name)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_predictor_refuses_a_model_that_is_not_twls(tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(ModelError, match=r"has no 'twl\.spec' metadata"):
        OnnxPredictor(write_model(path, metadata=""))
    with pytest.raises(ModelError, match=r"'twl\.spec' metadata is damaged"):
        OnnxPredictor(write_model(path, metadata='{"version": 1}'))
    path.write_bytes(write_model(path).read_bytes().replace(b'"red"', b'"r\xe9d"'))
    with pytest.raises(ModelError, match="its metadata is damaged"):
        OnnxPredictor(path)
    newer = json.dumps({**json.loads(SPEC.to_json()), "version": 99, "tilt": 1})
    with pytest.raises(ModelError, match="unknown keys: tilt; upgrade twlcli"):
        OnnxPredictor(write_model(path, metadata=newer))
    four = json.loads(spec_with_labels("a", "b", "c", "d").to_json())
    four["calibration"] = four["thresholds"] = None
    with pytest.raises(ModelError, match="has 3 logits for 4 labels"):
        OnnxPredictor(write_model(path, metadata=json.dumps(four)))
    with pytest.raises(ModelError, match="expected a uint8 input 'images'"):
        OnnxPredictor(write_model(path, input_type=1))


def test_predictor_turns_runtime_errors_into_one_line(model, monkeypatch, capfd):
    predictor = OnnxPredictor(model, provider="cpu")
    with pytest.raises(ModelError, match=r"the model failed on cpu: .") as caught:
        predictor(np.zeros((1, 5, 5, 3), dtype=np.uint8))
    assert "\n" not in str(caught.value)

    class Full:
        def run(self, *_):
            raise RuntimeError("Failed to allocate memory for requested buffer of size 99")

    monkeypatch.setattr(predictor._session, "_session", Full())
    with pytest.raises(DeviceError, match=r"out of memory with 4 images .* `batch_size`"):
        predictor(np.zeros((4, 12, 12, 3), dtype=np.uint8))
    assert capfd.readouterr().err == ""
