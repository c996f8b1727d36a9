from typer.testing import CliRunner

from tests.tagging.test_merge import NAMES, shards, write
from twlcli.cli.app import app


def run(*arguments):
    return CliRunner().invoke(app, ["merge", *map(str, arguments)])


def test_merge_joins_shards(tmp_path):
    whole = write(tmp_path / "whole.csv", NAMES)
    parts = shards(tmp_path, NAMES, 3)
    result = run(tmp_path / "out.csv", *parts)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "out.csv: 13 rows for 14 images in 3 shards; 1 image has no row" in result.stderr
    assert (tmp_path / "out.csv").read_bytes() == whole.read_bytes()


def test_merge_refuses_what_is_not_whole(tmp_path):
    parts = shards(tmp_path, NAMES, 3)
    result = run(tmp_path / "out.csv", *parts[:2])
    assert result.exit_code == 2
    assert result.stderr.startswith("twl: error: ")
    assert result.stderr.endswith("is one of 3 shards; missing: 3/3\n")
    assert not (tmp_path / "out.csv").exists()


def test_merge_replaces_only_by_force(tmp_path):
    parts = shards(tmp_path, NAMES, 2)
    (tmp_path / "out.csv").write_text("mine")
    assert run(tmp_path / "out.csv", *parts).exit_code == 2
    assert run(tmp_path / "out.csv", *parts, "--force").exit_code == 0
