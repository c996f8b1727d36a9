import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.images.encoded import encode, picture
from tests.tagging.models import write_model
from twlcli.cli.app import app

pytest.importorskip("pyarrow")


def twl(*arguments: object):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    folder: Path = tmp_path
    photos = folder / "photos"
    photos.mkdir()
    for name in ("b.jpg", "a.jpg"):
        (photos / name).write_bytes(encode(picture(), "JPEG"))
    write_model(tmp_path / "model.onnx")
    monkeypatch.chdir(folder)
    return folder


def test_tag_writes_scores_and_retag_makes_tags_of_them(folder):
    run = twl("tag", "photos", "--model", "model.onnx", "--scores", "scores.parquet")
    assert (run.exit_code, run.stdout) == (0, "")  # no other table is asked for
    for options in ([], ["--threshold", "0.2"], ["--top-k", "1"], ["--format", "jsonl"]):
        tags = twl("tag", "photos", "--model", "model.onnx", "--no-journal", *options, "--out", "-")
        made = twl("retag", "scores.parquet", *options)
        assert (made.exit_code, made.stdout) == (0, tags.stdout)
        assert made.stderr.startswith("twl: 2 images tagged from scores.parquet in ")
    done = twl("retag", "scores.parquet", "--threshold", "precision=0.9", "--out", "tags.csv")
    assert done.exit_code == 0
    assert "1 of 3 labels are never given at precision=0.9: blue\n" in done.stderr
    again = twl("retag", "scores.parquet", "--out", "tags.csv")
    assert again.exit_code == 2
    assert again.stderr == "twl: error: tags.csv: exists already; use --force to replace it\n"
    assert twl("retag", "scores.parquet", "--out", "tags.csv", "--force").exit_code == 0


@pytest.mark.skipif(os.name != "posix", reason="device files of POSIX")
def test_what_is_wrong_is_one_line(folder):
    Path("other.parquet").write_bytes(b"PAR1")
    for arguments, message in [
        (["gone.parquet"], "gone.parquet: no such file"),
        (["other.parquet"], "other.parquet: cannot be read as scores"),
        (["model.onnx"], "model.onnx: cannot be read as scores"),
        (["other.parquet", "--out", "/dev/stdout"], "--out - is standard output"),
        (["other.parquet", "--out", "-", "--format", "parquet"], "needs a file"),
    ]:
        result = twl("retag", *arguments)
        assert result.exit_code == 2
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
    wrong = twl("tag", "photos", "--model", "model.onnx", "--scores", "scores.csv")
    assert wrong.exit_code == 2
    assert "scores.csv: expected a name that ends in .parquet" in wrong.stderr


def test_scores_beside_other_outputs_and_a_second_run(folder):
    command = (
        "tag",
        "photos",
        "--model",
        "model.onnx",
        "--out",
        "tags.csv",
        "--scores",
        "s.parquet",
    )
    assert twl(*command).exit_code == 0
    first = Path("s.parquet").read_bytes()
    again = twl(*command)
    assert "2 of them in an earlier run" in again.stderr
    assert Path("s.parquet").read_bytes() == first
    same = twl(
        "tag", "photos", "--model", "model.onnx", "--out", "a.parquet", "--scores", "a.parquet"
    )
    assert "two outputs name the same file" in same.stderr
