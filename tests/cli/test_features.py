"""`twl features`, and `twl train --frozen`, as a user runs them."""

import json
import re
import shlex
import shutil
import signal

import pytest
from typer.testing import CliRunner

from twlcli.cli.app import app
from twlcli.features import cache as caches

pytest.importorskip("torch")

SMALL = [
    *("--backbone", "resnet18", "--weights", "none", "--size", "32"),
    *("--device", "cpu", "--frozen"),
]


def twl(*arguments: object):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def found(tmp_path_factory, photographs):
    """A frozen run, the folder of its features, and what the command said."""
    folder = tmp_path_factory.mktemp("frozen")
    result = twl(
        *("train", photographs, "--out", folder / "run", "--features", folder / "features"), *SMALL
    )
    assert result.exit_code == 0, result.output
    return folder / "run", folder / "features", result


def test_train_says_a_line_for_each_penalty_and_what_to_do_next(found, photographs):
    run, _, result = found
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[1] == f"{run}: finding the head of a frozen backbone on cpu in float32"
    assert "20 training images, 10 validation images" in lines
    computed = [line for line in lines if line.startswith("features computed")]
    assert computed == ["features computed: 20", "features computed: 10"]  # too few for a rate
    number = r"\d+\.\d\d"
    form = rf"penalty \S+ +cross-validated mAP@class {number}  mAP@sample {number}  \d+ iterations"
    penalties = [line for line in lines if "cross-validated" in line]
    assert len(penalties) >= 3 and all(re.match(form, line) for line in penalties)
    assert penalties[0].endswith("best")
    assert re.match(rf"penalty \S+: mAP@class {number}, .*; kept in {run}", lines[-3])
    assert lines[-2] == f"report: {run / 'report.html'}"
    assert lines[-1] == f"next: twl eval {run}, twl export {run}"


def test_the_run_is_evaluated_exported_and_tags_like_any_other(found, photographs, tmp_path):
    run, _, _ = found
    measured = json.loads(twl("eval", run, "--json").stdout)
    model = tmp_path / "model.onnx"
    assert twl("export", run, "--out", model).exit_code == 0
    exported = json.loads(twl("eval", model, photographs, "--json").stdout)
    assert exported["map_class"] == pytest.approx(measured["map_class"], rel=1e-4)
    tagged = twl("tag", photographs.parent, "--model", model)
    assert tagged.exit_code == 0 and len(tagged.stdout.splitlines()) == 31


def test_corrected_labels_are_fitted_without_computing_features_again(found, photographs, tmp_path):
    run, features, _ = found
    run = shutil.copytree(run, tmp_path / "run")
    labels = photographs.read_text().splitlines()
    corrected = photographs.with_name("corrected.csv")
    wrong = re.compile(r"red")
    corrected.write_text("\n".join([labels[0], *(wrong.sub("blue", each) for each in labels[1:])]))
    try:
        result = twl("train", corrected, "--resume", run, "--features", features)
    finally:
        corrected.unlink()
    assert result.exit_code == 2
    assert "has other labels than" in result.stderr
    corrected.write_text("\n".join([labels[0], "0.png,red,val", *labels[2:]]))
    try:
        result = twl("train", corrected, "--resume", run, "--features", features)
    finally:
        corrected.unlink()
    assert result.exit_code == 0, result.output
    assert "features computed" not in result.stderr
    assert result.stderr.count("cross-validated") >= 3  # other labels may want another penalty


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", 3], "--epochs does nothing with --frozen"),
        (["--learning-rate", 0.1], "--learning-rate does nothing with --frozen"),
        (["--compile"], "--compile does nothing with --frozen"),
        (["--sync-bn"], "--sync-bn does nothing with --frozen"),
        (["--checkpoint-activations"], "--checkpoint-activations does nothing with --frozen"),
        (["--loss", "rml"], "the loss cannot be rml"),
        (["--set", "data.missing_positives=0.1"], "data.missing_positives has to be 0"),
        (["--views", 0], "frozen.views"),
        (["--backbone", "squeezenet1_1", "--size", 64], "has no linear last layer"),
    ],
)
def test_what_a_frozen_backbone_cannot_do_is_one_line(photographs, tmp_path, options, message):
    out = tmp_path / "run"
    result = twl("train", photographs, "--out", out, *SMALL, "--features", tmp_path, *options)
    assert result.exit_code == 2
    (line,) = [line for line in result.stderr.splitlines() if "error" in line]
    assert message in line
    assert not out.exists()


def stopped(monkeypatch, *arguments: object):
    """A training that is interrupted during the search for the head; what is said at the end."""
    from twlcli.heads.cross_validation import try_penalties
    from twlcli.training import frozen

    def interrupted(*given, should_stop, **options):
        assert not should_stop()
        signal.raise_signal(signal.SIGINT)
        return try_penalties(*given, should_stop=should_stop, **options)

    with monkeypatch.context() as patched:
        patched.setattr(frozen, "try_penalties", interrupted)
        result = twl("train", *arguments)
    assert result.exit_code == 130, result.output
    return result.stderr.splitlines()[-1]


def test_after_an_interruption_what_is_said_goes_on_to_the_end(found, photographs, monkeypatch):
    folder = photographs.parent.with_name("a folder")
    folder.mkdir()
    monkeypatch.chdir(folder)
    features = shutil.copytree(found[1], folder / "the features")
    typed = shlex.join(
        [
            *("train", str(photographs), *SMALL, "--then-finetune", "--features", str(features)),
            *("--epochs", "1", "--batch-size", "8", "--workers", "0", "--out", "sig it"),
        ]
    )
    said = stopped(monkeypatch, *shlex.split(typed)[1:])
    form = r"continue with: twl (.*); then fine-tune with the same command, (.*) in place of (.*)$"
    parts = re.search(form, said)
    assert parts, said
    resume, new, old = parts.groups()
    assert resume == f"train --resume 'sig it-head' --features '{features}'"
    assert (new, old) == (
        "--weights 'sig it-head'",
        f"--frozen --then-finetune --features '{features}' --weights none",
    )
    assert twl(*shlex.split(resume)).exit_code == 0
    left = shlex.split(typed)
    for each in shlex.split(old):
        left.remove(each)
    result = twl(*left, *shlex.split(new))
    assert result.exit_code == 0, result.output
    assert "3 labels kept, 0 new" in result.stderr
    assert (folder / "sig it" / "model.safetensors").exists()


def test_the_search_for_a_head_alone_is_continued_with_its_features(
    found, photographs, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_stopped.py").write_text(
        "from torch import nn\ndef net(*, pretrained): return nn.Conv2d(3, 8, 3)\n"
    )
    given = [photographs, *SMALL, "--backbone", "own_stopped:net", "--features", "f", "--out", "r"]
    said = stopped(monkeypatch, *given)
    command = "twl train --resume r --features f --allow-code"
    assert said.endswith(f"kept; continue with: {command}")
    assert twl(*command.split()[1:]).exit_code == 0


def test_options_of_a_frozen_backbone_alone(photographs, tmp_path):
    for option in (["--views", 2], ["--features", tmp_path]):
        for command in ("train", "compare"):
            result = twl(command, photographs, *option, "--out", tmp_path / "run")
            assert result.exit_code == 2
            assert f"{option[0]} does nothing without --frozen" in result.stderr
    result = twl("train", photographs, "--then-finetune", "--out", tmp_path / "run")
    assert result.stderr == "twl: error: --then-finetune does nothing without --frozen\n"


def test_show_and_prune(found, tmp_path):
    _, kept, _ = found
    features = shutil.copytree(kept, tmp_path / "features")
    shown = twl("features", "show", features)
    assert shown.exit_code == 0
    place, heading, row = shown.stdout.splitlines()
    assert place == f"in {features}:" and shown.stderr == ""
    assert heading.split() == ["network", "pixels", "images", "rows", "MB", "last", "used"]
    assert row.split()[:4] == ["resnet18", "32", "30", "30"]
    assert "nothing was unused for 30 days" in twl("features", "prune", features).stderr
    pruned = twl("features", "prune", features, "--unused", 0)
    assert pruned.exit_code == 0 and pruned.stdout.startswith("removed ")
    assert list(features.iterdir()) == []
    assert "no features are kept there" in twl("features", "show", features).stderr


def test_features_of_a_network_that_cannot_be_told_are_shown_and_pruned(found, tmp_path):
    features = shutil.copytree(found[1], tmp_path / "features")
    (folder,) = features.iterdir()
    (folder / "about.json").write_text("{")
    row = twl("features", "show", features).stdout.splitlines()[-1]
    assert row.split()[:5] == [folder.name, "(unreadable)", "–", "–", "–"]
    assert float(row.split()[5]) > 0.1
    assert twl("features", "prune", features, "--unused", 0).stdout.startswith("removed ")
    assert not folder.exists()


@pytest.mark.parametrize("command", ["show", "prune"])
def test_a_folder_of_features_that_is_named_has_to_be_there(tmp_path, command):
    (tmp_path / "file").touch()
    for name, said in (("nosuch", "no such folder"), ("file", "is not a folder")):
        result = twl("features", command, tmp_path / name)
        assert result.exit_code == 2
        assert result.stderr == f"twl: error: {tmp_path / name}: {said}\n"


def test_the_users_cache_is_where_features_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert caches.default_folder().is_relative_to(tmp_path)
    assert twl("features", "show").exit_code == 0


@pytest.mark.slow
def test_losses_are_compared_over_the_same_features(found, photographs, tmp_path):
    _, features, _ = found
    arguments = (
        *("compare", photographs, "--out", tmp_path / "compared", "--losses", "two-way,bce"),
        *("--features", features, *SMALL, "--grid", "loss.positive_temperature=1,4"),
    )
    result = twl(*arguments)
    assert result.exit_code == 0, result.output
    assert "penalty" in result.stdout.splitlines()[0]
    written = json.loads((tmp_path / "compared" / "compare.json").read_text())
    assert len(written["candidates"]) == 3
    for candidate in written["candidates"]:
        scores = {each["penalty"]: each["map_class"] for each in candidate["penalties"]}
        assert scores[candidate["penalty"]] == max(scores.values())
        assert len(candidate["runs"]) == 1
    page = (tmp_path / "compared" / "compare.html").read_text()
    assert "<h2>Penalties</h2>" in page and "learning rate" not in page.lower()
    (run,) = (tmp_path / "compared" / "bce").rglob("model.safetensors")
    before = run.stat().st_mtime_ns
    assert twl(*arguments, "--seeds", 2).exit_code == 0  # what is there is not found again
    assert run.stat().st_mtime_ns == before
    refused = twl(*arguments, "--same-rate")
    assert refused.exit_code == 2 and "has no learning rate" in refused.stderr
