"""`twl tag --engine`: what is said before a cluster is asked for."""

import importlib.util

import pytest
from typer.testing import CliRunner

from twlcli.cli.app import app


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "spark", "--out", "x"], "--engine spark: expected ray"),
        (["--engine", "ray"], "--engine requires one folder: --out DIR"),
        (["--engine", "ray", "--out", "-"], "--engine requires one folder: --out DIR"),
        (["--engine", "ray", "--out", "a", "--out", "b"], "requires one folder"),
        (["--engine", "ray", "--out", "a", "--xmp"], "--xmp and --engine cannot be combined"),
        (["--engine", "ray", "--out", "a", "--shard", "1/2"], "--shard and --engine cannot be"),
        (["--engine", "ray", "--out", "a", "--retry-failed"], "--retry-failed and --engine"),
    ],
)
def test_options_that_a_cluster_does_not_have_are_refused(tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["tag", str(tmp_path), *options])
    assert result.exit_code != 0
    assert said in f"{result.output}{result.exception}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_the_extra_is_named_where_it_is_not_installed(tmp_path):
    result = CliRunner().invoke(
        app, ["tag", str(tmp_path), "--engine", "ray", "--out", str(tmp_path / "parts")]
    )
    assert "needs the 'ray' extra" in f"{result.output}{result.exception}"
    assert list(tmp_path.iterdir()) == []
