"""Models of other programs as twl's own: the same probabilities, and thresholds of one's own."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.images.encoded import encode
from tests.model.foreign.graphs import write_graph
from twlcli import adopt, evaluate, load_model
from twlcli.cli.app import app
from twlcli.errors import AnnotationError, ModelError, TwlError
from twlcli.model.load import load_onnx
from twlcli.model.onnx import OnnxPredictor

SIDE = 32
LABELS = ("red", "green", "blue")


def wd(folder: Path) -> Path:
    write_graph(
        folder / "model.onnx",
        labels=3,
        side=SIDE,
        channels_first=False,
        ending="Sigmoid",
        scale=0.002,
    )
    rows = "".join(f"{number},{label},0,1\n" for number, label in enumerate(LABELS))
    (folder / "selected_tags.csv").write_text(f"tag_id,name,category,count\n{rows}")
    return folder


def timm(folder: Path) -> Path:
    write_graph(folder / "model.onnx", labels=3, side=SIDE, channels_first=True, scale=0.1)
    settings = {"input_size": [3, SIDE, SIDE], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
    config = {"pretrained_cfg": settings, "label_names": LABELS}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def several(folder: Path) -> Path:
    """Logits of labels of their own."""
    path = timm(folder) / "config.json"
    path.write_text(path.read_text()[:-1] + ', "problem_type": "multi_label_classification"}')
    return folder


def paint(folder: Path, count: int = 40) -> Path:
    """Images and a table of labels: those whose colour is above the middle."""
    rng = np.random.default_rng(0)
    lines = ["image,labels"]
    folder.mkdir()
    for number in range(count):
        colour = rng.integers(0, 256, 3)
        image = Image.new("RGB", (50, 40), tuple(colour.tolist()))
        (folder / f"{number}.png").write_bytes(encode(image, "PNG"))
        given = [label for label, level in zip(LABELS, colour, strict=True) if level > 127]
        lines.append(f"{number}.png,{'|'.join(given)}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "labels.csv"


@pytest.mark.parametrize("made", [wd, timm, several])
def test_what_is_written_gives_the_same_probabilities(made, tmp_path):
    source = made(tmp_path / "source")
    done = adopt(source, tmp_path / "mine.onnx")
    assert done.path == tmp_path / "mine.onnx" and done.images == 0
    before, after = load_onnx(source), load_onnx(done.path)
    assert isinstance(after, OnnxPredictor) and after.spec == before.spec == done.spec
    images = np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
    np.testing.assert_allclose(after(images), before(images), rtol=1e-3, atol=1e-3)
    paint(tmp_path / "images", 6)
    files = sorted((tmp_path / "images").glob("*.png"))
    first, second = (load_model(each).predict_proba(files) for each in (source, done.path))
    np.testing.assert_allclose(second, first, atol=1e-4)


def test_calibration_and_thresholds_are_fitted_to_images_of_ones_own(tmp_path):
    table = paint(tmp_path / "images")
    source = wd(tmp_path / "source")
    done = adopt(source, tmp_path / "mine.onnx", calibrate=table)
    assert done.images == 40
    assert done.spec.thresholds is not None and "0.9" in done.spec.thresholds.precision
    before, after = evaluate(source, table), evaluate(done.path, table)
    assert after.map_class.value == pytest.approx(before.map_class.value, abs=1e-6)
    assert after.brier < before.brier
    assert after.at_threshold.class_f1 > before.at_threshold.class_f1
    assert after.fitted_on == 40
    assert done.spec.provenance["made_by"] == "WD tagger"


def test_a_model_of_which_nothing_is_known_is_described(tmp_path):
    path = write_graph(
        tmp_path / "any.onnx", labels=3, side=SIDE, channels_first=True, ending="Softmax", scale=0.1
    )
    names = tmp_path / "names.txt"
    names.write_text("red\ngreen\nblue\n")
    form = "bgr, unit, stretch, probabilities"
    done = adopt(path, tmp_path / "mine.onnx", labels=names, input=form)
    images = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    found = 1 / (1 + np.exp(-load_onnx(done.path)(images)))
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-4)
    form_of = done.spec.preprocessing
    assert (form_of.fit, form_of.resize, form_of.crop) == ("stretch", SIDE, SIDE)
    usual = adopt(path, tmp_path / "usual.onnx", labels=names, input="nchw").spec.preprocessing
    assert (usual.fit, usual.resize, usual.mean[0]) == ("crop", round(SIDE / 0.875), 0.485)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"input": "nchw"}, TwlError, "the labels and how images go in are said together"),
        ({"labels": "names.txt", "input": "nchw,xyz"}, TwlError, "input 'xyz' is not known; exp"),
        (
            {"labels": "names.txt", "input": "rgb,bgr"},
            TwlError,
            "'rgb' and 'bgr' exclude each other",
        ),
        ({"labels": "two.txt", "input": "nchw"}, ModelError, "expected 2 values for the 2 labels"),
        ({}, ModelError, "its labels and preprocessing are unknown"),
    ],
)
def test_what_is_said_of_it_has_to_fit(options, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_graph(Path("any.onnx"), labels=3, side=SIDE, channels_first=True)
    Path("names.txt").write_text("a\nb\nc\n")
    Path("two.txt").write_text("a\nb\n")
    with pytest.raises(error, match=re.escape(message)):
        adopt("any.onnx", "mine.onnx", **options)
    assert not Path("mine.onnx").exists()


def test_what_cannot_be_adopted_is_left_alone(tmp_path):
    done = adopt(wd(tmp_path / "source"), tmp_path / "mine.onnx")
    with pytest.raises(ModelError, match="is a model of twl already"):
        adopt(done.path, tmp_path / "again.onnx")
    with pytest.raises(TwlError, match="exists already"):
        adopt(tmp_path / "source", done.path)
    with pytest.raises(TwlError, match=r"expected a name that ends in \.onnx"):
        adopt(tmp_path / "source", tmp_path / "mine.txt")
    write_graph(
        tmp_path / "one" / "model.onnx",
        labels=3,
        side=SIDE,
        channels_first=False,
        ending="Sigmoid",
        batch=1,
    )
    (tmp_path / "one" / "selected_tags.csv").write_text("name,category\na,0\nb,0\nc,0\n")
    with pytest.raises(ModelError, match="takes a fixed number of images at once"):
        adopt(tmp_path / "one", tmp_path / "one.onnx")
    table = paint(tmp_path / "images", 3)
    table.write_text("image,labels\n0.png,\n1.png,\n")
    with pytest.raises(AnnotationError):
        adopt(tmp_path / "source", tmp_path / "none.onnx", calibrate=table)
    assert sorted(each.name for each in tmp_path.glob("*.onnx")) == ["mine.onnx"]


def twl(*arguments: object):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_the_commands_say_what_a_model_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wd(Path("wd"))
    table = paint(Path("images"))
    shown = twl("model", "show", "wd")
    assert shown.exit_code == 0
    assert "made by:     WD tagger\n" in shown.stdout
    assert shown.stdout.endswith("labels:      3\n  red\n  green\n  blue\n")
    done = twl("model", "adopt", "wd", "--out", "mine.onnx", "--calibrate", table)
    assert done.exit_code == 0
    assert done.stderr.endswith(
        "twl: mine.onnx: 3 labels; calibration and thresholds fitted to 40 images\n"
    )
    plain = twl("model", "adopt", "wd", "--out", "plain.onnx")
    assert "plain.onnx: 3 labels; calibration and thresholds those of WD tagger\n" in plain.stderr
    fields = json.loads(twl("model", "show", "mine.onnx", "--json").stdout)
    assert fields["labels"] == list(LABELS) and "precision=0.9" in fields["thresholds"]
    assert fields["validation"].keys() >= {"map_class"}
    assert twl("tag", "images", "--model", "mine.onnx", "--out", "tags.csv").exit_code == 0
    wrong = twl("model", "adopt", "wd", "--out", "other.onnx", "--split", "val")
    assert (wrong.exit_code, wrong.stderr) == (2, "twl: error: --split requires --calibrate\n")
    missing = twl("model", "adopt", "wd", "--out", "other.onnx", "--input", "nchw")
    assert missing.stderr == (
        "twl: error: the labels and how images go in are said together; --labels is missing\n"
    )
