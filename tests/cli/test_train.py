"""`twl train` as a user runs it, on a tiny network."""

import csv
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from twlcli.cli.app import app
from twlcli.io import locked_folder
from twlcli.recipe import read_recipe
from twlcli.runs.run_folder import Run
from twlcli.training import run as training_run

pytest.importorskip("torch")

SMALL = [
    *("--backbone", "shufflenet_v2_x0_5", "--weights", "none", "--size", "32"),
    *("--batch-size", "8", "--workers", "0", "--device", "cpu"),
    *("--set", "train.precision=float32", "--set", "train.threads=1"),
]


def train(*arguments: object):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory, photographs):
    """A finished run, and what the command said."""
    out = tmp_path_factory.mktemp("trained") / "run"
    result = train(photographs, "--epochs", 2, "--out", out, *SMALL)
    assert result.exit_code == 0, result.output
    return out, result


def history(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_train_says_a_line_for_each_epoch_and_what_to_do_next(trained, photographs):
    out, result = trained
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0] == f"reading {photographs}"
    assert lines[1] == f"{out}: training on cpu in float32"
    assert lines.pop(2) == f"follow it in a browser: {out / 'report.html'}"
    assert lines.pop(2) == f"{photographs} (csv): 3 labels, 1.70 per image"
    assert lines[2] == "20 training images in batches of 8, 10 validation images"
    assert lines[3] == "weights: random"
    number = r"\d+\.\d\d"
    assert lines.pop(4) == "note: 1 label has fewer than 10 training images: green 8"
    for epoch, line in enumerate(lines[4:6], start=1):
        form = rf"epoch {epoch}/2  loss \S+  mAP@class {number}  mAP@sample {number}  \d+ images/s"
        assert re.match(form, line), line
    best = max(history(out), key=lambda record: record["map_class"])
    assert lines[6].startswith(f"best epoch {best['epoch']}: mAP@class")
    assert lines[7] == f"report: {out / 'report.html'}"
    assert lines[8] == f"next: twl eval {out}, twl export {out}"


def test_run_holds_what_eval_and_export_need(trained):
    out, _ = trained
    names = {path.name for path in out.iterdir()}
    assert {"recipe.toml", "model.safetensors", "metrics.jsonl", "state.pt"} <= names
    result = CliRunner().invoke(app, ["eval", str(out), "--json"])
    assert result.exit_code == 0, result.output
    best = max(record["map_class"] for record in history(out))
    assert json.loads(result.stdout)["map_class"]["value"] == pytest.approx(best, abs=1e-6)


def test_folder_that_exists_is_refused(trained, photographs):
    out, _ = trained
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    result = train(photographs, "--out", out, *SMALL)
    assert result.exit_code == 2
    expected = f"{out}: exists already; --resume {out} continues it, or choose another --out"
    assert result.stderr.splitlines()[-1] == f"twl: error: {expected}"
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_without_out_runs_are_numbered(photographs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("labels-shufflenet_v2_x0_5", "labels-shufflenet_v2_x0_5-2"):
        result = train(photographs, "--epochs", 1, *SMALL)
        assert result.exit_code == 0, result.output
        assert (tmp_path / "runs" / name / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{data}", "--loss", "tow-way"], "did you mean 'two-way'"),
        (["{data}", "--epochs", "0"], "--epochs: schedule.epochs is 0"),
        (["{data}", "--set", "schedule.epoch=3"], "did you mean 'epochs'"),
        (["{data}", "--weights", "gone.pth"], "gone.pth: no such weights file or run folder"),
        (["{data}", "--recipe", "shapes-smal"], "did you mean 'shapes-small'"),
        (["{data}", "--format", "coco"], "labels.csv"),
        (["nosuch.csv"], "nosuch.csv: no such file or folder"),
        (["{data}", "--head", "ml-decode"], "did you mean 'ml-decoder'?"),
        (["{data}", "--backbone", "googlenet", "--head", "ml-decoder"], "has no feature map"),
        (["{data}", "--backbone", "resnet5"], "backbone 'resnet5'"),
        (["{data}", "--device", "tpu"], "device 'tpu' is not known"),
        (
            ["{data}", "--micro-batch", "many"],
            "expected a whole number from 0 to 2147483648 or auto",
        ),
        (
            ["{data}", "--micro-batch", "auto", "--weights", "none", "--device", "cpu"],
            "error: --micro-batch auto needs a CUDA GPU; the device is cpu; --micro-batch takes",
        ),
        (
            ["{data}", "--compile", "--checkpoint-activations", "--weights", "none"],
            "error: --checkpoint-activations and --compile do not go together; leave one out",
        ),
        (["--resume", "{out}", "--out", "b"], "continues a run in its folder"),
        (["--resume", "{out}"], "not a run folder"),
        ([], "DATA"),
    ],
)
def test_what_is_wrong_leaves_nothing_behind(photographs, tmp_path, arguments, message):
    out = tmp_path / "runs" / "new"
    given = [each.format(data=photographs, out=out) for each in arguments]
    if "--resume" not in given:
        given += ["--out", str(out)]
    result = train(*given)
    assert result.exit_code == 2, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("twl: error: ")]
    assert len(errors) == 1 and message in errors[0]
    assert result.stderr.splitlines()[-1] == errors[0]
    assert not out.exists()


def test_a_run_folder_that_cannot_be_made_is_named(photographs):
    result = train(photographs, "--out", photographs / "x")
    assert result.exit_code == 2
    assert f"{photographs} is not a folder" in result.stderr


def test_what_can_be_checked_without_torch_is(photographs, tmp_path):
    """Loading torch takes seconds: a mistyped path is told at once."""
    for wrong in (["nosuch.csv"], [str(photographs), "--weights", "gone.pth"]):
        arguments = ["twl", "train", *wrong, "--out", str(tmp_path / "out")]
        code = (
            f"import sys; sys.argv = {arguments!r}\n"
            "from twlcli.cli.app import main\n"
            "try: main()\n"
            "except SystemExit as exit: assert exit.code == 2\n"
            "assert 'torch' not in sys.modules\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert list(tmp_path.iterdir()) == []


def begun(photographs: Path, out: Path, **options) -> "subprocess.Popen[Any]":
    """A training in a process of its own that will not end by itself in this test."""
    command = [sys.executable, "-m", "twlcli", "train", str(photographs), "--out", str(out)]
    return subprocess.Popen([*command, "--epochs", "500", *SMALL], **options)


def wait_for(path: Path) -> None:
    until = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_signal_saves_the_run_and_resume_continues_it(photographs, tmp_path, number):
    out = tmp_path / "run"
    process = begun(photographs, out, stderr=subprocess.PIPE, text=True)
    wait_for(out / "metrics.jsonl")
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 75}[number]
    assert "twl: saving what is done, then stopping; again to stop at once" in said
    assert f"continue with: twl train --resume {out}" in said.splitlines()[-1]
    assert "interrupted in epoch" in said
    epochs = len(history(out))
    result = train("--resume", out, "--device", "cpu", "--epochs", epochs + 2)
    assert result.exit_code == 0, result.output
    assert "weights: those that were saved" in result.stderr
    assert [record["epoch"] for record in history(out)] == list(range(1, epochs + 3))


@pytest.mark.slow
def test_a_second_termination_changes_no_exit_code(photographs, tmp_path):
    out = tmp_path / "run"
    process = begun(photographs, out, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    wait_for(out / "metrics.jsonl")
    process.terminate()
    for line in process.stderr:
        if "continue with" in line:
            break
    while process.poll() is None:  # until it has ended
        process.terminate()
        time.sleep(0.01)
    assert process.returncode == 75
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_what_cannot_be_said_ends_no_training(photographs, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "twlcli", "train", photographs, "--out", out, "--epochs", "1"]
    with Path("/dev/full").open("w") as full:
        assert subprocess.run([*command, *SMALL], stderr=full).returncode == 0
    assert len(history(out)) == 1


def test_a_terminal_shows_bars_that_go_when_they_are_done(photographs, tmp_path):
    primary, secondary = pty.openpty()
    out = tmp_path / "run"
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    process = begun(photographs, out, stderr=secondary, env=environment)
    os.close(secondary)
    seen = b""
    until = time.monotonic() + 120
    while b"epoch 3/500" not in seen and time.monotonic() < until:
        if select.select([primary], [], [], 1)[0]:
            seen += os.read(primary, 65536)
    process.send_signal(signal.SIGINT)
    while process.poll() is None:
        if select.select([primary], [], [], 1)[0]:
            try:
                seen += os.read(primary, 65536)
            except OSError:  # the other end has closed
                break
    assert process.wait(timeout=60) == 130
    os.close(primary)
    text = seen.decode(errors="replace")
    assert "\x1b[" in text and "━" in text  # a bar was drawn
    assert re.search(r"epoch 1/500  loss \S+  mAP@class", text)  # and each epoch has its line


def test_without_torch_training_is_refused_before_anything_is_read(monkeypatch, tmp_path):
    (tmp_path / "labels.csv").write_text("image,labels\na.jpg,cat\n")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["train", str(tmp_path / "labels.csv")])
    assert result.exit_code == 2
    assert result.output == (
        "twl: error: training needs the 'train' extra: pip install 'twlcli[train]'\n"
    )


def test_a_run_killed_before_its_first_save_begins_again(photographs, tmp_path, trained):
    """All that is there then is the recipe."""
    out = tmp_path / "run"
    out.mkdir()
    (out / "recipe.toml").write_bytes((trained[0] / "recipe.toml").read_bytes())
    result = train("--resume", out, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "weights: random" in result.stderr
    assert history(out)[0]["loss"] == history(trained[0])[0]["loss"]


def test_a_run_that_has_ended_goes_on_for_more_epochs(photographs, tmp_path, trained):
    out = tmp_path / "run"
    shutil.copytree(trained[0], out)
    result = train("--resume", out, "--epochs", 1)
    assert result.exit_code == 2
    assert f"error: --epochs is 1; {out} has 2 behind it" in result.stderr
    result = train("--resume", out, "--set", "schedule.epochs=1")
    assert f"error: schedule.epochs is 1; {out} has 2 behind it" in result.stderr
    result = train("--resume", out, "--epochs", 3, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert [record["epoch"] for record in history(out)] == [1, 2, 3]
    assert "epochs = 3" in (out / "recipe.toml").read_text()


def test_the_same_command_begins_a_run_and_continues_it(photographs, tmp_path):
    out = tmp_path / "run"
    command = [photographs, "--auto-resume", "--out", out, "--epochs", 2, *SMALL]
    first = train(*command)
    assert first.exit_code == 0, first.output
    assert "weights: random" in first.stderr
    scores = history(out)
    again = train(*command)
    assert again.exit_code == 0, again.output
    assert "weights: those that were saved" in again.stderr
    assert history(out) == scores
    done = "note: nothing is left to train; a larger --epochs goes on"
    assert done not in first.stderr
    assert done in again.stderr.splitlines()
    more = train(*command, "--epochs", 3)
    assert more.exit_code == 0, more.output
    assert [record["epoch"] for record in history(out)] == [1, 2, 3]
    other = train(*command, "--size", 40)
    assert other.exit_code == 2
    assert "--size is 40; the run began with 32; another --out begins another" in other.stderr
    other = train(*command, "--seed", 5)
    assert "error: --seed is 5; the run began with 0; another --out begins" in other.stderr
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "mine.txt").write_text("kept")
    taken = train(*command, "--out", tmp_path / "text")
    expected = f"{tmp_path / 'text'}: is not empty, and not a run; choose another --out"
    assert expected in taken.stderr


def test_a_run_killed_before_its_recipe_was_there_begins(photographs, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / ".twl-0123.tmp").write_text("version =")
    result = train(photographs, "--auto-resume", "--out", out, "--epochs", 1, *SMALL)
    assert result.exit_code == 0, result.output
    assert not (out / ".twl-0123.tmp").exists()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{\n", b"[1]\n"])
def test_damaged_metrics_are_one_line(tmp_path, trained, content):
    out = shutil.copytree(trained[0], tmp_path / "run")
    (out / "metrics.jsonl").write_bytes(content)
    result = train("--resume", out)
    assert result.exit_code == 2
    says = f"{out / 'metrics.jsonl'}:1: is damaged; expected a JSON object for each epoch; remove"
    assert says in result.stderr
    (out / "metrics.jsonl").unlink()
    assert train("--resume", out, "--device", "cpu").exit_code == 0
    assert history(out) == history(trained[0])


def test_data_without_splits_leave_none_behind_in_a_run_that_they_are_not_of(
    photographs, tmp_path, trained
):
    out = shutil.copytree(trained[0], tmp_path / "run")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    without = Path(shutil.copytree(photographs.parent, tmp_path / "set")) / photographs.name
    lines = photographs.read_text().splitlines()
    without.write_text("".join(line.rpartition(",")[0] + "\n" for line in lines))
    refused = train(without, "--resume", out, "--epochs", 3, "--device", "cpu")
    assert refused.exit_code == 2
    assert "are not those that the run began with" in refused.stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    result = train(photographs, "--resume", out, "--epochs", 3, "--device", "cpu")
    assert result.exit_code == 0, result.output


def test_of_two_that_begin_the_same_run_the_second_says_so(photographs, tmp_path, monkeypatch):
    out = tmp_path / "run"
    reads = training_run._read

    def slowly(recipe):
        data = reads(recipe)
        Run.create(out, recipe)  # which the other does meanwhile
        return data

    monkeypatch.setattr(training_run, "_read", slowly)
    result = train(photographs, "--auto-resume", "--out", out, *SMALL)
    assert result.exit_code == 2
    assert f"error: {out}: another process has just begun this run" in result.stderr
    assert (out / "recipe.toml").exists()


def test_a_frozen_run_and_the_one_after_it_are_continued_by_the_same_command(
    photographs, tmp_path, features, monkeypatch
):
    """Also from another folder: what the second needs of the first is an absolute path."""
    monkeypatch.chdir(tmp_path)
    out = Path("run")
    given: list[object] = ["--backbone", "resnet18", "--weights", "none", "--size", 64]
    given += ["--then-finetune", "--frozen", "--features", features, "--auto-resume"]
    given += ["--batch-size", 8, "--workers", 0, "--device", "cpu", "--epochs", 1, "--out", out]
    assert train(photographs, *given).exit_code == 0
    head = Path("run-head/model.safetensors").stat().st_mtime_ns
    again = train(photographs, *given)
    assert again.exit_code == 0, again.output
    assert f"continuing {out}" in again.stderr
    assert f'weights = "{tmp_path / "run-head"}"' in Path("run/recipe.toml").read_text()
    for changed, says in (
        (["--loss", "bce"], "--loss is bce; the run began with two-way"),
        (["--views", 2], "--views is 2; the run began with 1"),
    ):
        other = train(photographs, *given, *changed)
        assert other.exit_code == 2 and says in other.stderr
    shutil.rmtree(out)
    other = train(photographs, *given, "--loss", "bce")
    assert other.exit_code == 2 and "--loss is bce; the run began with two-way" in other.stderr
    assert not out.exists()
    shutil.copytree("run-head", out)
    other = train(photographs, *given)
    assert other.exit_code == 2
    assert "run: did not begin with the head in run-head; another --out begins" in other.stderr
    shutil.rmtree(out)
    assert train(photographs, *given).exit_code == 0
    assert Path("run-head/model.safetensors").stat().st_mtime_ns == head


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        (["--auto-resume"], {}, "--auto-resume needs --out, where the run is found again"),
        ([], {"TORCHELASTIC_MAX_RESTARTS": "3"}, "torchrun --max-restarts needs --auto-resume"),
        (["--auto-resume", "--resume", "r"], {}, "--resume continues a run in its folder"),
    ],
)
def test_a_run_that_could_not_be_found_again_is_refused(
    photographs, monkeypatch, options, environment, said
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = train(photographs, *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_what_would_be_another_training_is_no_resume(trained):
    before = (trained[0] / "recipe.toml").read_text()
    result = train("--resume", trained[0], "--learning-rate", 0.1)
    assert result.exit_code == 2
    expected = "--learning-rate: optimizer.learning_rate stays as it is when a run is resumed"
    assert expected in result.stderr
    assert (trained[0] / "recipe.toml").read_text() == before


def test_what_a_run_has_already_is_no_change(tmp_path, trained):
    out = tmp_path / "run"
    shutil.copytree(trained[0], out)
    size = re.search(r"^size = (\d+)", (out / "recipe.toml").read_text(), re.MULTILINE)
    assert size is not None
    result = train("--resume", out, "--size", size[1], "--epochs", 2, "--device", "cpu")
    assert result.exit_code == 0, result.output


def test_data_that_were_moved_are_named_and_data_that_changed_refused(
    photographs, tmp_path, trained
):
    out, moved = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(trained[0], out)
    shutil.copytree(photographs.parent, moved)
    result = train(moved / "labels.csv", "--resume", out, "--epochs", 3, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert f'path = "{moved / "labels.csv"}"' in (out / "recipe.toml").read_text()
    text = (moved / "labels.csv").read_text()
    head, *rows = text.splitlines()
    for change, message in (
        (text.replace("red", "rouge"), "has no label 'red' any more, a new label 'rouge'"),
        ("\n".join([head, *reversed(rows)]), "are not those that the run began with"),
    ):
        (moved / "labels.csv").write_text(change)
        result = train("--resume", out, "--epochs", 4, "--device", "cpu")
        assert result.exit_code == 2
        assert message in result.stderr.splitlines()[-1]


def test_a_run_is_not_trained_twice_at_once(trained, tmp_path):
    with locked_folder(trained[0]):
        result = train("--resume", trained[0], "--epochs", 9, "--device", "cpu")
    assert result.exit_code == 2
    assert f"{trained[0]}: another twl is writing it" in result.stderr
    assert "epochs = 2" in (trained[0] / "recipe.toml").read_text()


def test_what_was_decided_in_reading_is_said(photographs, tmp_path):
    table = photographs.with_name("columns.csv")
    with photographs.open() as source:
        rows = list(csv.DictReader(source))
    lines = [f"{row['image']},{1 if 'red' in row['labels'] else -1},{row['split']}" for row in rows]
    table.write_text("\n".join(["image,red,split", *lines]) + "\n")
    out = tmp_path / "run"
    result = train(table, "--epochs", 1, "--out", out, *SMALL)
    assert result.exit_code == 0, result.output
    note = "note: -1 was read as absent: no cell holds a 0"
    assert note in result.stderr.splitlines()
    evaluated = CliRunner().invoke(app, ["eval", str(out)])
    assert note in evaluated.stderr.splitlines()


def test_a_run_whose_state_is_gone_is_not_begun_again(trained, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(trained[0], out)
    for state in out.glob("state*.pt"):
        state.unlink()
    result = train("--resume", out, "--epochs", 5, "--device", "cpu")
    assert result.exit_code == 2
    assert f"{out}: has 2 epochs behind it, but no state to continue from" in result.stderr
    assert len(history(out)) == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [("batch_size = 8", "batch_size = 4"), ("ema = 0.0", "ema = 0.9"), ('"sgd"', '"adamw"')],
)
def test_an_edited_recipe_is_no_resume(trained, tmp_path, before, after):
    out = tmp_path / "run"
    shutil.copytree(trained[0], out)
    text = (out / "recipe.toml").read_text()
    assert before in text
    (out / "recipe.toml").write_text(text.replace(before, after))
    result = train("--resume", out, "--epochs", 5, "--device", "cpu")
    assert result.exit_code == 2, result.output
    assert re.search(r"recipe\.toml: \S+ is \S+; the run began with", result.stderr)


def test_a_name_that_is_too_long_is_one_line(photographs, tmp_path):
    result = train(photographs, "--out", tmp_path / ("x" * 300), *SMALL)
    assert result.exit_code == 2
    assert "cannot be written (File name too long)" in result.stderr.splitlines()[-1]


def test_train_keeps_how_labels_are_read(tmp_path, photographs):
    """A run on a table with columns of other names, resumed and evaluated without naming them."""
    with photographs.open() as file:
        rows = list(csv.DictReader(file))
    table = tmp_path / "scans.csv"
    lines = [
        f"{(photographs.parent / row['image']).with_suffix('')},{row['labels']}|none"
        for row in rows
    ]
    table.write_text("\n".join(["Scan,Seen", *lines]) + "\n")
    suffix = Path(rows[0]["image"]).suffix
    options = ["--image-column", "Scan", "--labels-column", "Seen", "--ignore-label", "none"]
    out = tmp_path / "run"
    result = train(table, "--epochs", 1, "--out", out, *options, "--extension", suffix, *SMALL)
    assert result.exit_code == 0, result.output
    recipe = read_recipe(out / "recipe.toml").data
    assert (recipe.image_column, recipe.labels_column) == ("Scan", "Seen")
    assert (recipe.ignore_labels, recipe.extension) == (("none",), suffix)
    assert train("--resume", out, "--epochs", 2).exit_code == 0
    evaluated = CliRunner().invoke(app, ["eval", str(out), "--json"])
    assert evaluated.exit_code == 0, evaluated.output
    assert "none" not in {row["label"] for row in json.loads(evaluated.stdout)["labels"]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.jsonl", '{"epoch": 1}\n{bad\n', r"metrics\.jsonl:2: is damaged; expected a JSON"),
        ("recipe.toml", "", r"recipe\.toml: is damaged; it names no data"),
        ("split.csv", "image,split\n", r"split\.csv: names no image"),
        ("split.csv", "image,split\n0.png,val\n1.png\n", r"split\.csv:3: '1\.png' has no split"),
        ("split.csv", "a,b\n", r"split\.csv: names no image"),
    ],
)
def test_damaged_files_of_a_run_are_one_line(trained, tmp_path, name, content, message):
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    (run / name).write_text(content)
    result = train("--resume", run, "--epochs", 3)
    assert result.exit_code == 2
    assert re.search(message, result.stderr), result.stderr
    assert result.stderr.count("\n") == 1
