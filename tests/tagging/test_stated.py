"""Tagging with an ONNX file of which nothing is known: what is said of it decides the tags."""

import csv

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.model.foreign.graphs import write_graph
from twlcli.cli.app import app
from twlcli.errors import ModelError, TwlError
from twlcli.inference.tagger import load_model
from twlcli.tagging.run import tag_files

SIDE = 32


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_graph(
        tmp_path / "any.onnx", labels=3, side=SIDE, channels_first=True, ending="Softmax", scale=0.1
    )
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    (tmp_path / "photos").mkdir()
    for number in range(6):
        shade = (40 * number, 255 - 40 * number, 128)
        Image.new("RGB", (50, 40), shade).save(tmp_path / f"photos/{number}.png")
    return tmp_path


def rows(path):
    with path.open(newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


def test_rows_are_those_of_the_same_model_adopted(world):
    form = "bgr,unit,stretch,probabilities"
    adopted = CliRunner().invoke(
        app,
        ["model", "adopt", "any.onnx", "--labels", "names.txt", "--input", form, "--out", "m.onnx"],
    )
    assert adopted.exit_code == 0, adopted.output
    said = ["--labels", "names.txt", "--input", form]
    tagged = CliRunner().invoke(
        app, ["tag", "photos", "--model", "any.onnx", *said, "--top-k", "3", "--out", "tags.csv"]
    )
    assert tagged.exit_code == 0, tagged.output
    paths = sorted((world / "photos").iterdir())
    expected = load_model(world / "m.onnx", top_k=3).tag(paths)
    found = rows(world / "tags.csv")
    for path, prediction in zip(paths, expected, strict=True):
        assert found[path.name]["labels"] == "|".join(prediction.labels)
        values = [float(value) for value in found[path.name]["probabilities"].split("|")]
        assert values == pytest.approx(prediction.probabilities, abs=1e-3)


def test_a_journal_knows_what_was_said(world):
    def tag(form: str, labels: str = "names.txt") -> int:
        return tag_files(
            ["photos"],
            model="any.onnx",
            labels=labels,
            input=form,
            outputs=["tags.csv"],
            force=True,
        ).stored

    (world / "others.txt").write_text("one\ntwo\nthree\n")
    assert tag("unit,probabilities") == 0
    assert tag("unit,probabilities") == 6
    assert tag("unit,bgr,probabilities") == 0
    assert tag("unit,probabilities", "others.txt") == 0


def test_what_is_said_is_needed_whole_and_only_where_nothing_is_known(world):
    with pytest.raises(TwlError, match="the labels and how images go in are said together"):
        tag_files(["photos"], model="any.onnx", input="nchw", outputs=["tags.csv"])
    with pytest.raises(ModelError, match="is twl's own, and has its labels inside"):
        tag_files(
            ["photos"],
            model="shapes-small",
            labels="names.txt",
            input="nchw",
            outputs=["tags.csv"],
        )
