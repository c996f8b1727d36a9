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


def test_eval_of_scores_prints_what_eval_of_the_model_prints(folder):
    Path("photos/labels.csv").write_text("image,labels\na.jpg,red\nb.jpg,green\n")
    twl("tag", "photos", "--model", "model.onnx", "--scores", "scores.parquet")
    for options in ([], ["--threshold", "0.3"], ["--json"]):
        model = twl("eval", "model.onnx", "photos/labels.csv", *options)
        scores = twl("eval", "scores.parquet", "photos/labels.csv", *options)
        assert scores.exit_code == 0, scores.stderr
        assert scores.stdout == model.stdout.replace("model.onnx", "scores.parquet")


def test_thresholds_of_a_file(folder):
    Path("mine.toml").write_text("red = 0.01\ndefault = 1\n")
    run = ("photos", "--model", "model.onnx", "--no-journal")
    twl("tag", *run, "--scores", "scores.parquet")
    tags = twl("tag", *run, "--threshold", "mine.toml")
    assert {line.split(",")[1] for line in tags.stdout.splitlines()[1:]} == {"red"}
    assert twl("retag", "scores.parquet", "--threshold", "@mine.toml").stdout == tags.stdout
    over = twl("tag", *run, "--threshold", "mine.toml", "--out", "mine.toml", "--format", "csv")
    assert "mine.toml: is read by this run, and cannot be an output" in over.stderr
    over = twl("retag", "scores.parquet", "--threshold", "mine.toml", "--out", "mine.toml")
    assert over.exit_code == 2
    Path("mine.toml").write_text("rde = 0.01\ndefault = 1\n")
    for command in (
        ("tag", *run),
        ("retag", "scores.parquet"),
        ("eval", "scores.parquet", "photos"),
    ):
        wrong = twl(*command, "--threshold", "mine.toml")
        assert wrong.exit_code == 2
        assert wrong.stderr.startswith(
            "twl: error: mine.toml: label 'rde' is not one of the model's"
        )
        assert wrong.stderr.count("\n") == 1
