import os
import subprocess
import sys
from contextlib import suppress
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


def test_sidecars_and_a_gallery_where_the_images_are(folder):
    twl("tag", "photos", "--model", "model.onnx", "--scores", "scores.parquet")
    beside = ("--images", "photos", "--txt", "--xmp", "--gallery", "page.html")
    done = twl("retag", "scores.parquet", *beside, "--threshold", "0.3")
    assert (done.exit_code, done.stdout) == (0, "")
    said = "twl: 2 images tagged from scores.parquet, 0 failed, 4 sidecars written, in "
    assert done.stderr.startswith(said)
    assert Path("photos/a.txt").is_file() and Path("photos/b.jpg.xmp").is_file()
    assert "<title>photos</title>" in Path("page.html").read_text()
    Path("photos/b.jpg").unlink()
    again = twl("retag", "scores.parquet", *beside, "--errors", "errors.csv", "--force")
    assert again.exit_code == 3
    assert again.stderr.startswith(f"twl: failed: b.jpg: no such file in {folder}/photos\n")
    assert "1 image tagged from scores.parquet, 1 failed, " in again.stderr
    assert Path("errors.csv").read_text().startswith("image,error\nb.jpg,no such file in ")
    rows = twl("retag", "scores.parquet", "--images", "photos", "--errors", "errors.csv", "--force")
    assert rows.exit_code == 3
    assert [line.split(",")[0] for line in rows.stdout.splitlines()] == ["image", "a.jpg"]


def test_what_needs_the_images_says_so(folder):
    twl("tag", "photos", "--model", "model.onnx", "--scores", "scores.parquet")
    need = "--txt, --xmp, --gallery and --errors need the images: --images DIR"
    for options, message in [
        (["--xmp"], need),
        (["--gallery", "page.html"], need),
        (["--images", "photos"], "--images requires --txt, --xmp, --gallery or --errors"),
        (["--images", "gone", "--txt"], "gone: no such folder"),
        (["--images", "photos", "--txt", "--hierarchy", "/"], "--hierarchy requires --xmp\n"),
        (
            ["--images", "photos", "--xmp", "--txt-existing", "keep"],
            "--txt-existing requires --txt",
        ),
        (["--images", "photos", "--txt", "--image-prefix", "a"], "--image-prefix requires"),
    ]:
        result = twl("retag", "scores.parquet", *options)
        assert result.exit_code == 2
        assert message in result.stderr and result.stderr.count("\n") == 1
    assert sorted(each.name for each in Path("photos").iterdir()) == ["a.jpg", "b.jpg"]


@pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")
def test_a_bar_on_a_terminal_alone(folder):
    import pty

    twl("tag", "photos", "--model", "model.onnx", "--scores", "scores.parquet")
    command = [
        sys.executable,
        "-m",
        "twlcli",
        "retag",
        "scores.parquet",
        "--force",
        "--out",
        "t.csv",
    ]
    ours, theirs = pty.openpty()
    bytes_shown = bytearray()
    with subprocess.Popen(command, stderr=theirs, env={**os.environ, "TERM": "xterm"}) as running:
        os.close(theirs)
        with suppress(OSError):  # where the other end has closed
            while part := os.read(ours, 1 << 16):
                bytes_shown += part
    os.close(ours)
    assert running.returncode == 0
    shown = bytes_shown.decode()
    assert "2/2" in shown and "images/s" in shown
    quiet = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    assert quiet.stderr.startswith("twl: 2 images tagged from scores.parquet in ")
