"""Runs, comparisons, journals and models of version 0.1.0 keep working.

`made-by-0.1.0.tar.xz` was written by that version: 18 images of two colours, a run of 30 epochs
interrupted in the 29th, a comparison of two losses, the tags of the default model with their
journal, and what 0.1.0 itself computed from the run. Weights are rounded to a few bits, so that
they compress; those of the comparison are zero, as nothing reads them.
"""

import csv
import json
import os
import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from twlcli.cli.app import app

ARCHIVE = Path(__file__).with_name("made-by-0.1.0.tar.xz")
MADE_IN = "/made/by"  # where the archive's recipes say that its data were


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The folder that 0.1.0 wrote, with its recipes' paths leading there."""
    folder: Path = tmp_path_factory.mktemp("made")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    made = folder / "0.1.0"
    for recipe in made.rglob("recipe.toml"):
        recipe.write_text(recipe.read_text().replace(MADE_IN, str(made)))
    return made


@pytest.fixture(scope="module")
def expected(made):
    """What 0.1.0 made of its own files."""
    return json.loads((made / "expected.json").read_text())


def twl(*arguments: object):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_run_is_evaluated_with_the_logits_it_had(made, expected, tmp_path):
    pytest.importorskip("torch")
    scores = tmp_path / "scores.npz"
    twl("eval", made / "run", "--split", "all", "--scores", scores, "--device", "cpu")
    with np.load(scores) as found:
        row_of = {name: row for row, name in enumerate(found["images"].tolist())}
        rows = [row_of[name] for name in expected["run"]["images"]]
        for key in ("logits", "probabilities"):
            np.testing.assert_allclose(found[key][rows], expected["run"][key], atol=1e-4)


def test_run_is_resumed_to_its_end(made, expected, tmp_path):
    pytest.importorskip("torch")
    run = tmp_path / "run"
    shutil.copytree(made / "run", run)
    result = twl("train", "--resume", run, "--device", "cpu")
    assert "weights: those that were saved" in result.stderr
    lines = (run / "metrics.jsonl").read_text().splitlines()
    history = [json.loads(line) for line in lines]
    assert len(history) == 30
    for found, was in zip(history[:28], expected["resumed"][:28], strict=True):
        assert found["loss"] == pytest.approx(was["loss"], rel=1e-6)
    # Two epochs of three steps from the same state; the order of the images has changed since.
    for found, was in zip(history[28:], expected["resumed"][28:], strict=True):
        assert found["loss"] == pytest.approx(was["loss"], rel=0.6)


@pytest.mark.slow
def test_run_is_exported(made, tmp_path):
    pytest.importorskip("torch")
    model = tmp_path / "model.onnx"
    twl("export", made / "run", "--out", model)
    result = twl("tag", made / "images" / "0.png", "--model", model, "--out", "-")
    assert result.stdout.splitlines()[0] == "image,labels,probabilities"


def test_finished_comparison_prints_its_table_again(made):
    pytest.importorskip("torch")
    before = json.loads((made / "compare" / "compare.json").read_text())
    result = twl(
        *("compare", made / "images" / "labels.csv", "--losses", "two-way,bce", "--seeds", "1"),
        *("--epochs", "1", "--same-rate", "--learning-rate", "0.01", "--out", made / "compare"),
        *("--backbone", "shufflenet_v2_x0_5", "--weights", "none", "--size", "32"),
        *("--batch-size", "4", "--workers", "0", "--device", "cpu", "--json"),
        *("--set", "train.precision=float32", "--set", "train.threads=1"),
    )
    now = json.loads(result.stdout)
    for candidate in now["candidates"]:
        for run in candidate["runs"]:
            (validated,) = run.pop("validation")  # 0.1.0 did not write it
            assert validated["map_class"] == pytest.approx(run["map_class"], abs=1e-6)
    for candidate in (*now["candidates"], *before["candidates"]):
        for end in ("low", "high"):
            del candidate["map_class"][end]  # 0.1.0 had another interval
    assert now["candidates"] == before["candidates"]


def test_the_model_of_then_gives_the_tags_it_gave(made, tmp_path):
    out = tmp_path / "tags.csv"
    twl("tag", made / "images", "--model", "shapes-small", "--out", out, "--top-k", "3")
    for now, then in zip(rows_of(out), rows_of(made / "tags.csv"), strict=True):
        assert (now["image"], now["labels"]) == (then["image"], then["labels"])
        probabilities = [list(map(float, row["probabilities"].split("|"))) for row in (now, then)]
        np.testing.assert_allclose(probabilities[0], probabilities[1], atol=2e-4)


def test_journal_is_gone_on_with_though_images_are_decoded_anew(made):
    """0.1.0 took no notice of colour profiles: its rows and those of today must not be mixed."""
    journal, out = made / "tags.csv.journal", made / "again.csv"
    with closing(sqlite3.connect(journal)) as connection:
        rows = connection.execute("SELECT name, mtime_ns FROM rows").fetchall()
    for name, mtime_ns in rows:
        os.utime(made / "images" / os.fsdecode(name), ns=(mtime_ns, mtime_ns))
    for stored in (False, True):
        options = ("--out", out, "--journal", journal, "--top-k", "3", "--model", "shapes-small")
        result = twl("tag", made / "images", *options)
        assert ("18 of them in an earlier run" in result.stderr) == stored
        labels = [(row["image"], row["labels"]) for row in rows_of(out)]
        assert labels == [(row["image"], row["labels"]) for row in rows_of(made / "tags.csv")]
