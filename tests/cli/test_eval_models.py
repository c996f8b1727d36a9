import json
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.tagging.models import SPEC, spec_with_labels, write_model
from twlcli.cli.app import app


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "old.onnx")


@pytest.fixture
def mixed(tmp_path):
    """The same network, which takes red for blue and blue for red."""
    spec = spec_with_labels("blue", "green", "red")
    return write_model(tmp_path / "new.onnx", metadata=spec.to_json())


def twl_eval(*arguments: object):
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


def json_of(*arguments: object) -> dict[str, Any]:
    result = twl_eval(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return dict(json.loads(result.stdout))


def refusal(*arguments: object) -> str:
    result = twl_eval(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("twl: error: ")
    assert result.stderr.count("\n") == 1
    return str(result.stderr)


def test_two_models_are_compared(model, mixed, photographs):
    result = twl_eval(model, mixed, photographs, "--split", "all")
    assert result.exit_code == 0, result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0].startswith(f"2 models on {photographs}, split all: 30 images with ")
    assert "old.onnx new.onnx" in lines
    assert "new.onnx − old.onnx, thresholds best-f1" in lines
    assert any(line.startswith("mAP@class −") and line.endswith("worse") for line in lines)
    assert any("labels differ in AP by more than chance" in line for line in lines)
    assert any(line.startswith("the two disagree on ") for line in lines)
    assert "image old.onnx alone new.onnx alone" in lines
    assert "note: Intervals are of 95 %" in result.stderr
    assert "\x1b" not in result.stdout


def test_json_has_each_model_as_it_is_alone(model, mixed, photographs):
    fields = json_of(model, mixed, photographs, "--split", "all")
    alone = json_of(model, photographs, "--split", "all")
    first = fields["models"][0]
    assert first.pop("name") == "old.onnx"
    assert first == alone
    [difference] = fields["differences"]
    assert (difference["model"], difference["to"]) == ("new.onnx", "old.onnx")
    assert difference["scores"]["map_class"]["significant"] is True
    assert [each["label"] for each in difference["labels"]] == ["red", "green", "blue"]
    assert -1 <= difference["scores"]["map_class"]["low"] < 0


def test_one_model_is_evaluated_as_ever(model, photographs):
    assert "models" not in json_of(model, photographs)
    assert json_of(model, photographs)["model"] == str(model)


def test_labels_are_sorted_and_complete_as_asked(model, mixed, photographs):
    result = twl_eval(model, mixed, photographs, "--split", "all", "--all", "--sort", "name")
    lines = [line.split() for line in result.stdout.splitlines()]
    start = next(place for place, line in enumerate(lines) if line[:1] == ["label"])
    assert [line[0] for line in lines[start + 1 : start + 4]] == ["blue", "green", "red"]


def test_a_report_is_written(model, mixed, photographs, tmp_path):
    page = tmp_path / "report.html"
    assert twl_eval(model, mixed, photographs, "--report", page).exit_code == 0
    assert "new.onnx against old.onnx" in page.read_text()
    assert "exists already; use --force to replace it" in refusal(
        model, mixed, photographs, "--report", page
    )
    assert twl_eval(model, mixed, photographs, "--report", page, "--force").exit_code == 0


def test_images_that_cannot_be_read_end_with_3(model, mixed, tmp_path, photographs):
    table = tmp_path / "labels.csv"
    good = [f"{photographs.parent / f'{number}.png'},red" for number in range(3)]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    table.write_text("\n".join(["image,labels", *good, "broken.png,green"]) + "\n")
    result = twl_eval(model, mixed, table, "--json")
    assert result.exit_code == 3
    fields = json.loads(result.stdout)
    assert fields["images"] == 3
    assert [each["image"] for each in fields["unreadable"]] == ["broken.png"]
    assert "1 image cannot be read and is not scored" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("{old} {new}", "old.onnx: does not say what it was trained on; name the labels with DATA"),
        ("{old} gone.onnx {data}", "gone.onnx: no such model"),
        ("{old} gone.onnx", "gone.onnx: no such model"),
        ("{old} {data} {new}", "is no model; labelled images come last, and once"),
        ("{old} {new} gone.csv", "gone.csv: no such file or folder"),
        ("{old} {new} {data} --scores s.csv", "--scores takes the scores of one model"),
        ("{old} {new} {data} --device cpu", "runs in ONNX Runtime; use --provider"),
        (
            "{old} {other} {data}",
            "the models have no label in common (old.onnx: red, green, ",
        ),
        ("{old} {raw} {data}", "raw.onnx: the model carries no calibration"),
        ("{old} {new} {data} --threshold often", "threshold 'often': expected a number"),
        ("{old} {new} {data} --split tset", "no image is in split 'tset'"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    arguments, expected, model, mixed, photographs, tmp_path
):
    raw = write_model(tmp_path / "raw.onnx", metadata=replace(SPEC, calibration=None).to_json())
    other = spec_with_labels("teal", "pink", "grey").to_json()
    paths = {
        "old": model,
        "new": mixed,
        "data": photographs,
        "raw": raw,
        "other": write_model(tmp_path / "other.onnx", metadata=other),
    }
    assert expected in refusal(*(each.format(**paths) for each in arguments.split()))


def test_runs_are_scored_on_what_the_first_was_trained_on(photographs, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    from twlcli.model.backbones import build_backbone
    from twlcli.model.preprocessing import Preprocessing
    from twlcli.model.spec import SPEC_KEY
    from twlcli.recipe import DataRecipe, Recipe
    from twlcli.runs.run_folder import Run

    spec = replace(SPEC, backbone="squeezenet1_1", preprocessing=Preprocessing(resize=64, crop=64))
    runs = []
    for seed in range(2):
        data = photographs if seed == 0 else "elsewhere.csv"
        run = Run.create(tmp_path / f"run{seed}", Recipe(data=DataRecipe(path=str(data))))
        torch.manual_seed(seed)
        network = build_backbone("squeezenet1_1", 3, image_size=64)
        save_file(network.state_dict(), run.checkpoint, metadata={SPEC_KEY: spec.to_json()})
        runs.append(run)
    fields = json_of(*(run.folder for run in runs), "--device", "cpu")
    assert (fields["data"], fields["split"], fields["images"]) == (str(photographs), "val", 10)
    assert [each["name"] for each in fields["models"]] == ["run0", "run1"]
    model = write_model(tmp_path / "model.onnx")
    first_run = json_of(model, runs[0].folder, runs[1].folder, "--device", "cpu")
    assert (first_run["data"], first_run["images"]) == (str(photographs), 10)
    with_file = json_of(runs[0].folder, runs[1].checkpoint, photographs, "--device", "cpu")
    assert with_file["differences"][0]["labels"] == fields["differences"][0]["labels"]
