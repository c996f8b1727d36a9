"""`twl features`, and `twl train --frozen`, as a user runs them."""

import json
import re
import shutil

import pytest
from typer.testing import CliRunner

from twlcli.cli.app import app
from twlcli.features import cache as caches

pytest.importorskip("torch")

SMALL = [
    *("--backbone", "shufflenet_v2_x0_5", "--weights", "none", "--size", "32"),
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
    assert [re.sub(r", \d+ images/s$", "", line) for line in computed] == [
        "features computed: 20",
        "features computed: 10",
    ]
    number = r"\d+\.\d\d"
    form = rf"penalty \S+ +cross-validated mAP@class {number}  mAP@sample {number}  \d+ iterations"
    penalties = [line for line in lines if "cross-validated" in line]
    assert len(penalties) >= 3 and all(re.match(form, line) for line in penalties)
    assert penalties[0].endswith("best")
    assert re.match(rf"penalty \S+: mAP@class {number}, .*; kept in {run}", lines[-2])
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
    assert result.stderr.count("cross-validated") == 1  # with the penalty that was found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", 3], "--epochs does nothing with --frozen"),
        (["--learning-rate", 0.1], "--learning-rate does nothing with --frozen"),
        (["--compile"], "--compile does nothing with --frozen"),
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


def test_options_of_a_frozen_backbone_alone(photographs, tmp_path):
    for option in (["--views", 2], ["--features", tmp_path]):
        for command in ("train", "compare"):
            result = twl(command, photographs, *option, "--out", tmp_path / "run")
            assert result.exit_code == 2
            assert f"{option[0]} does nothing without --frozen" in result.stderr


def test_show_and_prune(found, tmp_path):
    _, kept, _ = found
    features = shutil.copytree(kept, tmp_path / "features")
    shown = twl("features", "show", features)
    assert shown.exit_code == 0
    heading, row = shown.stdout.splitlines()
    assert heading.split() == ["network", "pixels", "images", "rows", "MB", "last", "used"]
    assert row.split()[:4] == ["shufflenet_v2_x0_5", "32", "30", "30"]
    assert "nothing was unused for 30 days" in twl("features", "prune", features).stderr
    pruned = twl("features", "prune", features, "--unused", 0)
    assert pruned.exit_code == 0 and pruned.stdout.startswith("removed ")
    assert list(features.iterdir()) == []
    assert "no features are kept there" in twl("features", "show", features).stderr


def test_the_users_cache_is_where_features_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert caches.default_folder().is_relative_to(tmp_path)
    assert twl("features", "show").exit_code == 0


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
