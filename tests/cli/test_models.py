"""`twl models`, and the models that it lists."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import twlcli
from twlcli.cli.app import app
from twlcli.model.bundled import DEFAULT_MODEL, bundled_models, model_path

MODELS = bundled_models()


def test_models_are_listed_with_what_they_know():
    result = CliRunner().invoke(app, ["models"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for model in MODELS:
        assert model.name in result.stdout
    assert "Twenty everyday labels of photographs: person;" in " ".join(result.stdout.split())
    assert {model.name for model in MODELS} == {DEFAULT_MODEL, "shapes-small"}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_bundled_model_is_small_and_says_where_it_comes_from(model):
    assert model.path.stat().st_size <= 5_000_000
    tagger = twlcli.load_model(model.name)
    assert tagger.spec.calibration is not None and tagger.spec.thresholds is not None
    for value in str(tagger.spec.provenance).split("'"):
        assert not value.startswith(("/", "\\"))  # no path of the machine that made it
    (prediction,) = tagger.tag([np.zeros((40, 60, 3), np.uint8)])
    assert prediction.error is None


def test_the_default_model_says_what_its_weights_are():
    provenance = twlcli.load_model(DEFAULT_MODEL).spec.provenance
    assert provenance["weights"]["licence"] == "apache-2.0"
    assert provenance["validation"]["map_class"] == pytest.approx(0.8496, abs=1e-3)


def test_names_of_bundled_models_are_no_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert model_path("shapes-small").name == "model.onnx"
    assert model_path("./x/shapes-small") == Path("x/shapes-small")
    assert model_path(Path("nothing")) == Path("nothing")
