"""The scripts in `examples/` run as they are."""

import re
import runpy
import shutil
import sys

import pytest
from typer.testing import CliRunner

from tests.documents import ROOT
from twlcli.cli.app import app

EXAMPLES = ROOT / "examples"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs an example in an empty folder; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(name):
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_tagging(run, tmp_path):
    printed = run("tagging.py")
    assert "not an image" in printed
    assert "100 tagged, 0 failed, 0 as before" in printed
    assert len((tmp_path / "tags.csv").read_text().splitlines()) == 101


@pytest.fixture(params=["before", pytest.param("by the example", marks=pytest.mark.slow)])
def images(request, tmp_path):
    """How many images of the sample set there are: fewer where it was drawn before."""
    if request.param != "before":
        return 400
    sample = ["data", "sample", str(tmp_path / "shapes"), "--images", "120"]
    assert CliRunner().invoke(app, sample).exit_code == 0
    return 120


def test_losses(run, images):
    scores = [float(score) for score in re.findall(r"mAP@class ([\d.]+)", run("losses.py"))]
    assert len(scores) == 2 and all(20 < score <= 100 for score in scores)


@pytest.mark.slow
def test_training(run, tmp_path):
    printed = run("training.py")
    assert "epoch 2: mAP@class" in printed and "off by" in printed
    assert (tmp_path / "shapes.onnx").exists()


def test_own_code(run, images, tmp_path):
    shutil.copy(EXAMPLES / "own_code.py", tmp_path)  # twl looks for the module here
    try:
        printed = run("own_code.py")
    finally:
        sys.modules.pop("own_code", None)
    assert "mAP@class" in printed and f"evaluated {images // 5} images" in printed
    assert (tmp_path / "own.onnx").exists()


def test_every_example_is_tested():
    tested = re.findall(r'run\("(\w+\.py)"\)', (ROOT / "tests/test_examples.py").read_text())
    assert sorted(tested) == sorted(file.name for file in EXAMPLES.glob("*.py"))
