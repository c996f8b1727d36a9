import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from twlcli.cli.app import app

SMALL = [
    *("--backbone", "shufflenet_v2_x0_5", "--weights", "none", "--size", "32"),
    *("--epochs", "1", "--batch-size", "8", "--workers", "0", "--device", "cpu"),
    *("--set", "train.precision=float32"),
]


def invoke(*arguments: str | Path):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture(scope="module")
def compared(tmp_path_factory, photographs):
    """A comparison's folder, and what the command printed."""
    out = tmp_path_factory.mktemp("compared") / "out"
    result = invoke(photographs, "--losses", "two-way,bce", "--seeds", "2", "--out", out, *SMALL)
    assert result.exit_code == 0, result.output
    return out, result


def test_table_says_how_each_loss_fared(compared):
    out, result = compared
    lines = result.stdout.splitlines()
    assert {line.split()[0] for line in lines[1:3]} == {"two-way", "bce"}
    assert "± is the standard deviation over 2 seeds." in lines
    assert result.stderr.count(" rate ") >= 6
    assert result.stderr.count(" seed ") == 4
    assert f"written: {out / 'compare.html'}" in result.stderr


def test_page_and_json_are_written(compared):
    out, _ = compared
    page = (out / "compare.html").read_text("utf-8")
    assert "two-way" in page
    assert "<svg" in page
    record = json.loads((out / "compare.json").read_text("utf-8"))
    assert record["seeds"] == [0, 1]


def test_finished_comparison_prints_again_without_training(compared, photographs, monkeypatch):
    out, before = compared

    def fail(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr("twlcli.training.trainer.Trainer.train", fail)
    options = ["--losses", "two-way,bce", "--seeds", "2", "--out", out, *SMALL]
    again = invoke(photographs, *options)
    assert again.exit_code == 0, again.output
    assert again.stdout == before.stdout
    as_json = invoke(photographs, *options, "--json")
    assert json.loads(as_json.stdout) == json.loads((out / "compare.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--losses", "two-way,asll"], "--losses: 'asll' is not a loss; did you mean 'asl'?"),
        (["--losses", ","], "--losses: expected names of losses with commas between"),
        (["--grid", "temperature=1,2"], "--grid temperature=1,2: expected section.key=value,value"),
        (["--grid", "loss.ramp=-1"], "--grid loss.ramp: none of the losses two-way, softmax, bce"),
        (["--same-rate"], "--same-rate: which one? Give --learning-rate"),
        (["--learning-rate", "0.1"], "--learning-rate: give --same-rate too, or let each loss"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_training(
    tmp_path,
    photographs,
    options,
    message,
):
    result = invoke(photographs, "--out", tmp_path / "out", *SMALL, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()
