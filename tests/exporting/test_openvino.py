"""What OpenVINO's model_api reads of exported models, and what it then says."""

import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest

from tests.exporting.finished import LABELS, SIDE, THRESHOLDS, finished
from twlcli.exporting.decision_graph import cuts
from twlcli.exporting.onnx import export, replace_spec
from twlcli.exporting.openvino import model_info
from twlcli.inference.tagger import load_model
from twlcli.labels import Vocabulary
from twlcli.model.decisions import thresholds_of
from twlcli.model.onnx import OnnxPredictor
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec, Thresholds

IMAGES = np.random.default_rng(0).integers(0, 256, (20, SIDE, SIDE, 3), dtype=np.uint8)
IMAGES[10:] //= np.arange(1, 11, dtype=np.uint8)[:, None, None, None]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openvino")
    source = finished(folder, "resnet18", preprocessing=Preprocessing(SIDE, SIDE))
    return export(source, folder / "model.onnx").path


@pytest.fixture(scope="module", params=[False, True])
def model(request, exported, tmp_path_factory):
    path = tmp_path_factory.mktemp("openvino") / "model.onnx"
    shutil.copyfile(exported, path)
    spec = OnnxPredictor(path).spec
    # Thresholds in the middle of what the model says, so that no label is given to all images.
    middle = np.median(load_model(path).predict_proba(list(IMAGES)), axis=0)
    chosen = [float(middle[column]) for column in range(3)] + list(THRESHOLDS[3:])
    replace_spec(path, replace(spec, thresholds=Thresholds(tuple(chosen))), tags=request.param)
    return path


def test_metadata_are_words_with_spaces_between(model):
    metadata = {each.key: each.value for each in onnx.load(model).metadata_props}
    assert metadata["model_info model_type"] == "Classification"
    assert metadata["model_info labels"].split() == [name.replace(" ", "_") for name in LABELS]
    assert metadata["model_info resize_type"] == "crop"
    assert metadata["model_info interpolation_mode"] == "LINEAR"


@pytest.mark.parametrize(
    ("fit", "expected"), [("pad", "fit_to_window_letterbox"), ("stretch", "standard")]
)
def test_images_of_other_programs_models_are_made_square_likewise(fit, expected):
    preprocessing = Preprocessing(9, 9, "bicubic", fit=fit)
    info = model_info(ModelSpec(Vocabulary(("a\tb c",)), "x", preprocessing))
    assert info["model_info resize_type"] == expected
    assert info["model_info interpolation_mode"] == "CUBIC"
    assert info["model_info labels"] == "a_b_c"


@pytest.mark.consumers
def test_model_api_gives_the_tags_of_twl(model):
    models = pytest.importorskip("model_api.models")
    adapters, openvino = pytest.importorskip("model_api.adapters"), pytest.importorskip("openvino")
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # else bfloat16 where the CPU has it
    adapter = adapters.OpenvinoAdapter(
        openvino.Core(), str(model), device="CPU", plugin_config=exact
    )
    theirs = models.Model.create_model(adapter)
    tagger = load_model(model)
    thresholds = thresholds_of(tagger.spec, None)
    probabilities = tagger.predict_proba(list(IMAGES))
    given = probabilities >= thresholds
    assert 0 < given[:, :3].sum() < given[:, :3].size
    sure = np.abs(probabilities - thresholds) > 1e-4  # beyond what another order of sums changes
    for image, row, certain, values in zip(IMAGES, given, sure, probabilities, strict=True):
        found = {each.id: each for each in theirs(image).top_labels}
        for column in np.flatnonzero(certain):
            assert (column in found) == row[column]
        for column, each in found.items():
            assert each.name == LABELS[column].replace(" ", "_")
            if 0.01 < values[column] < 0.99:  # else its logit is not known from it
                odds = cuts(values)[column]
                margin = odds - cuts(thresholds)[column]
                assert each.confidence == pytest.approx(1 / (1 + np.exp(-margin)), abs=1e-2)
