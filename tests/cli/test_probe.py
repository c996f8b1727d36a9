import inspect
import json
import signal

import pytest
from typer.testing import CliRunner

from tests.probing.conftest import BACKBONE, one_colour  # noqa: F401  a fixture
from twlcli.cli.app import app
from twlcli.cli.probe import probe as command
from twlcli.probing.run import DEFAULT_OUT, LOSSES
from twlcli.probing.run import probe as function
from twlcli.probing.sweep import sweep

RANDOM = f"{BACKBONE}=none"
SMALL = ["--size", "32", "--penalties", "3", "--weakest", "0.1", "--strongest", "10"]


def invoke(*arguments):
    return CliRunner().invoke(app, ["probe", *map(str, arguments)])


@pytest.fixture(scope="module")
def probed(one_colour, photographs, features, tmp_path_factory):  # noqa: F811
    out = tmp_path_factory.mktemp("probed") / "out"
    data = ["--data", one_colour, "--data", photographs]
    command = [RANDOM, *data, "--features", features, "--out", out, "--device", "cpu", *SMALL]
    result = invoke(*command)
    assert result.exit_code == 0, result.output
    return out, command, result


def test_tables_give_both_choices_of_each_kind(probed):
    _, _, result = probed
    words = [line.split() for line in result.stdout.splitlines()]
    assert sum("accuracy" in line for line in words) == 1
    assert sum("mAP@class" in line for line in words) == 1
    assert result.stdout.count("paper") == result.stdout.count("validation") == 2


def test_it_says_what_was_found_and_written(probed):
    out, _, result = probed
    assert result.stderr.count(f"{RANDOM} on ") == 2
    assert result.stderr.splitlines()[-1] == f"written: {out / 'probe.html'}; beside it probe.json"


def test_json_is_the_file_and_nothing_is_computed_again(probed):
    out, given, _ = probed
    result = invoke(*given, "--json")
    assert json.loads(result.stdout) == json.loads((out / "probe.json").read_text())
    assert result.stderr.count("(kept from before)") == 2


def test_the_defaults_are_the_functions():
    own = inspect.signature(command).parameters
    theirs = inspect.signature(function).parameters
    shared = [name for name in own if name in theirs and name not in ("models", "data", "out")]
    assert {"penalties", "weakest", "strongest", "loss", "tolerance", "seed"} <= {*shared}
    for name in shared:
        assert own[name].default == theirs[name].default, name
    assert str(own["out"].default) == DEFAULT_OUT


def test_the_help_names_all_losses():
    shown = " ".join(invoke("--help").stdout.split())
    assert all(loss in shown for loss in LOSSES)


def test_an_error_is_one_line(photographs, tmp_path):
    result = invoke(RANDOM, "--data", f"cub={tmp_path}", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr.startswith(
        f"twl: error: {tmp_path}: has no train_test_split.txt; expected CUB"
    )
    assert result.stderr.count("\n") == 1


def test_without_data_it_is_said(tmp_path):
    result = invoke(RANDOM)
    assert result.exit_code == 2
    assert "--data" in result.stderr


def test_termination_keeps_what_is_done(probed, monkeypatch, tmp_path):
    _, given, _ = probed
    from twlcli.probing import linear

    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGTERM)
        return sweep(*arguments, **options)

    monkeypatch.setattr(linear, "sweep", interrupted)
    out = tmp_path / "out"
    result = invoke(*given, "--out", out)
    assert result.exit_code == 75
    assert f"the same command continues in {out}" in result.stderr
