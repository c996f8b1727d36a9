"""Models whose weights do not fit into one file, by a lowered limit, and one that is large."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from tests.exporting.drawn import small_run
from tests.exporting.finished import LABELS, finished
from tests.images.encoded import noise
from twlcli.annotations.detect import read_labels
from twlcli.errors import ModelError, TwlError
from twlcli.exporting import bundle, smaller
from twlcli.exporting import onnx as exporting
from twlcli.exporting.bundle import export_bundle
from twlcli.exporting.onnx import Deployable, Exported, export, write_model
from twlcli.exporting.smaller import Wishes, shrink
from twlcli.inference.tagger import load_model
from twlcli.labels import Vocabulary
from twlcli.model import onnx_writer
from twlcli.model.onnx import OnnxPredictor
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import Calibration, ModelSpec, Thresholds
from twlcli.runs.labelled import Labelled

IMAGES = [noise(64, 64), noise(80, 90)]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return finished(tmp_path_factory.mktemp("large"), "squeezenet1_1")


@pytest.fixture(scope="module")
def apart(small_export, photographs, tmp_path_factory) -> tuple[Path, Exported]:
    """A run, and its model with the weights in a file beside it; the graph is that of the whole."""
    folder = tmp_path_factory.mktemp("apart")
    run = small_run(folder / "run", photographs)
    (folder / "out").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_writer, "ONE_FILE", 100_000)
        patch.setattr(exporting, "graph_of", lambda *_, **__: onnx.load(small_export.path))
        return run.folder, export(run.folder, folder / "out/a.onnx")


@pytest.fixture
def lowered(monkeypatch):
    monkeypatch.setattr(onnx_writer, "ONE_FILE", 100_000)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_weights_lie_in_a_file_beside(apart):
    source, made = apart
    folder = made.path.parent
    assert names(folder) == ["a.onnx", "a.onnx.data"]
    assert (folder / "a.onnx").stat().st_size < 1_000_000
    assert made.size == sum(path.stat().st_size for path in folder.iterdir())
    found, expected = (load_model(each).predict_proba(IMAGES) for each in (made.path, source))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert OnnxPredictor(made.path).files == (folder / "a.onnx", folder / "a.onnx.data")


def test_a_file_without_its_weights_says_where_they_are(apart, tmp_path):
    shutil.copytree(apart[1].path.parent, tmp_path, dirs_exist_ok=True)
    (tmp_path / "a.onnx").rename(tmp_path / "b.onnx")
    OnnxPredictor(tmp_path / "b.onnx")  # its weights are still there
    (tmp_path / "a.onnx.data").unlink()
    with pytest.raises(ModelError) as caught:
        OnnxPredictor(tmp_path / "b.onnx")
    assert str(caught.value) == (
        f"{tmp_path / 'b.onnx'}: its weights are in a.onnx.data, which is not there"
    )


@pytest.mark.slow
def test_weights_are_replaced_only_on_request_and_with_their_model(
    source, tmp_path, monkeypatch, lowered
):
    (tmp_path / "a.onnx.data").write_text("precious")
    with pytest.raises(TwlError, match=r"a\.onnx\.data: exists already; use `force`"):
        export(source, tmp_path / "a.onnx")
    assert names(tmp_path) == ["a.onnx.data"]
    export(source, tmp_path / "a.onnx", force=True)
    OnnxPredictor(tmp_path / "a.onnx")
    monkeypatch.setattr(onnx_writer, "ONE_FILE", 1 << 30)
    export(source, tmp_path / "a.onnx", force=True)
    assert names(tmp_path) == ["a.onnx"]
    (tmp_path / "a.onnx.data").write_text("another's")
    export(source, tmp_path / "a.onnx", force=True)
    assert names(tmp_path) == ["a.onnx", "a.onnx.data"]


@pytest.fixture
def again(monkeypatch, small_export):
    """Instead of exporting again, the graph that was exported is saved again."""

    def export(source, out, *, opset, allow_code):
        onnx_writer.save(onnx.load(small_export.path), out)
        return small_export

    monkeypatch.setattr(smaller, "export", export)
    monkeypatch.setattr(smaller, "_TIMED_ROUNDS", 1)


@pytest.mark.parametrize("kind", ["int8", "float16"])
def test_smaller_models_of_large_ones(kind, photographs, tmp_path, lowered, again):
    data = Labelled(read_labels(photographs).split("val"), "val")
    out = tmp_path / "out"
    out.mkdir()
    made = shrink(kind, Path("run"), out / "a.onnx", data, Wishes(accept_drop=True))
    assert made.before.size > made.after.size
    assert names(out) == ["a.onnx", "a.onnx.data"]
    assert OnnxPredictor(out / "a.onnx").spec == made.spec


def test_bundles_say_that_they_need_one_file(source, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "ONE_FILE", 100_000)
    with pytest.raises(ModelError, match=r"has 0\.0 GB of weights, which one ONNX file does not"):
        export_bundle(source, "wd", tmp_path / "wd")
    assert names(tmp_path) == []


@pytest.mark.slow
def test_a_model_of_more_than_2_gib(tmp_path):
    class Huge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Linear(3 * 8 * 8, 2_900_000)
            self.last = nn.Linear(2_900_000, len(LABELS))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.last(self.wide(images.flatten(1)))
            return logits

    count = len(LABELS)
    spec = ModelSpec(
        Vocabulary(LABELS),
        "huge",
        Preprocessing(8, 8),
        Calibration((1.0,) * count, (0.0,) * count),
        Thresholds((0.5,) * count),
    )
    model = Deployable(Huge(), spec).eval()
    write_model(model, spec, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx.data").stat().st_size > 2 << 30
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = model(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(OnnxPredictor(tmp_path / "a.onnx")(images), expected, atol=1e-3)
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(
    "opset", [*(pytest.param(n, marks=pytest.mark.slow) for n in (18, 20)), 25]
)
def test_opset_is_that_which_was_asked_for(opset, source, tmp_path):
    made = export(source, tmp_path / "a.onnx", opset=opset, tags=True, threshold=0.3)
    proto = onnx.load(made.path)
    assert [each.version for each in proto.opset_import if each.domain == ""] == [opset]
    assert [each.name for each in proto.graph.output][-1] == "tags"


@pytest.mark.parametrize("opset", [17, 26])
def test_other_opsets_are_refused(opset, source, tmp_path):
    with pytest.raises(TwlError, match=rf"opset is {opset}; expected 18 to 25"):
        export(source, tmp_path / "a.onnx", opset=opset)
    assert names(tmp_path) == []


def test_float16_is_half_as_large_and_nearly_the_same(small_export, again, photographs, tmp_path):
    data = Labelled(read_labels(photographs).split("val"), "val")
    wishes = Wishes(accept_drop=True, tags=True)
    made = shrink("float16", Path("run"), tmp_path / "a.onnx", data, wishes)
    assert made.after.size < 0.6 * made.before.size
    assert (made.range_images, made.is_fitted) == (0, True)
    proto = onnx.load(made.path)
    kinds = {each.data_type for each in proto.graph.initializer if "weight" in each.name}
    assert kinds == {onnx.TensorProto.FLOAT16}
    types = {each.name: each.type.tensor_type.elem_type for each in proto.graph.output}
    assert types.pop("tags") == onnx.TensorProto.BOOL
    assert set(types.values()) == {onnx.TensorProto.FLOAT}
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    first, second = (OnnxPredictor(each.path)(images) for each in (small_export, made))
    assert not np.array_equal(first, second)
    np.testing.assert_allclose(first, second, atol=0.01 * np.abs(first).max())
