import inspect
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from twlcli.cli.app import app
from twlcli.cli.compare import compare
from twlcli.comparison.plan import DEFAULT_LOSSES
from twlcli.errors import InterruptedRunError

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
    others = "compare.json, compare.md, compare.tex, plots/*.svg"
    assert result.stderr.splitlines()[-1] == f"written: {out / 'compare.html'}; beside it {others}"


def test_page_says_the_command(compared):
    out, _ = compared
    assert "<dt>command</dt><dd><code>twl" in (out / "compare.html").read_text("utf-8")


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
        (["--losses", "two-way,asll"], 'loss.name is "asll", which is not a loss; did you mean'),
        (["--losses", ","], "there is nothing to compare; name a loss in --losses"),
        (["--grid", "temperature=1,2"], "--grid temperature=1,2: expected section.key=value,value"),
        (
            ["--grid", "loss.ramp=-1"],
            "loss.ramp: none of the losses two-way, softmax, bce, asl has it; leave it out of "
            "--grid",
        ),
        (["--same-rate"], "--same-rate requires --learning-rate"),
        (["--learning-rate", "0.1"], "--learning-rate requires --same-rate; without it each loss"),
        (["--limit", "7"], "a dry run on 7 images; --limit is at least 8"),
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


def test_losses_compared_are_those_of_the_function():
    assert inspect.signature(compare).parameters["losses"].default == ",".join(DEFAULT_LOSSES)


def test_dry_run_is_not_mistaken_for_the_comparison(compared, photographs):
    out, _ = compared
    result = invoke(
        photographs, "--losses", "bce", "--seeds", "1", "--out", out, "--limit", "8", *SMALL
    )
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[0].startswith("dry run on at most 8 images of each split")
    assert "A dry run on at most 8 training and 8 validation images" in result.stdout
    assert (out.with_name("out-limit-8") / "compare.html").is_file()


def test_folder_of_another_recipe_is_refused(compared, photographs):
    out, _ = compared
    options = ["--losses", "bce", "--seeds", "1", "--out", out, *SMALL, "--size", "24"]
    result = invoke(photographs, *options)
    assert result.exit_code == 2
    assert "was trained with image.size = 32; choose another --out" in result.stderr


def test_ctrl_c_is_answered(photographs, tmp_path, monkeypatch):
    def interrupt(self: object, should_stop: Callable[[], bool]) -> None:
        assert not should_stop()
        signal.raise_signal(signal.SIGINT)
        assert should_stop()
        raise InterruptedRunError("interrupted in epoch 1 after step 1", tmp_path)

    monkeypatch.setattr("twlcli.training.trainer.Trainer.train", interrupt)
    result = invoke(photographs, "--losses", "bce", "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == (
        f"interrupted in epoch 1 after step 1; the same command continues in {tmp_path / 'out'}"
    )
