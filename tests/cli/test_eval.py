import csv
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.images.encoded import encode, picture
from tests.tagging.models import SPEC, write_model
from twlcli.cli.app import app
from twlcli.cli.printable import FAILURES_SHOWN

COLORS = {"r": "red", "g": "green", "b": "blue", "ry": "red|green"}
PIXELS = {"r": (255, 0, 0), "g": (0, 255, 0), "b": (0, 0, 255), "ry": (255, 255, 0)}


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model.onnx")


@pytest.fixture
def table(tmp_path):
    """Four plain pictures and their colours, without splits."""
    for name, color in PIXELS.items():
        Image.new("RGB", (20, 16), color).save(tmp_path / f"{name}.png")
    path = tmp_path / "labels.csv"
    path.write_text("image,labels\n" + "".join(f"{n}.png,{c}\n" for n, c in COLORS.items()))
    return path


@pytest.fixture
def split_table(table):
    splits = zip(COLORS.items(), ("train", "val", "val", "test"), strict=True)
    rows = "".join(f"{name}.png,{color},{split}\n" for (name, color), split in splits)
    table.write_text("image,labels,split\n" + rows)
    return table


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


def test_eval_prints_the_tables(model, table):
    result = twl_eval(model, table)
    assert result.exit_code == 0, result.stderr
    assert f"{model} on {table}, split all: 4 images" in result.stdout
    assert "mAP@class          100.00  over 3 labels" in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["threshold", "best-f1", *["100.00"] * 6] in lines
    assert "interval" not in result.stdout  # of four images
    rows = [line.split() for line in result.stdout.splitlines() if line.endswith("0.900")]
    assert rows == [["blue", "100.00", "100.00", "100.00", "100.00", "1", "0.900"]]
    assert result.stderr == (
        "note: 3 labels have fewer than 10 of these images, so that their scores are rough: "
        "red 2, green 2, blue 1\n"
    )


def test_labels_that_are_never_given_are_named(model, table):
    result = twl_eval(model, table, "--threshold", "precision=0.9")
    assert "note: 1 of 3 labels are never given at precision=0.9: blue\n" in result.stderr


def test_eval_as_json(model, table):
    fields = json_of(model, table)
    assert fields["model"] == str(model)
    assert (fields["data"], fields["split"], fields["images"]) == (str(table), "all", 4)
    assert fields["map_class"] == {"value": 1.0, "lines": 3, "left_out": 0}
    assert [row["label"] for row in fields["labels"]] == ["red", "green", "blue"]


def test_eval_reads_a_table_by_its_columns(model, tmp_path, table):
    rows = "".join(f"{name},{color},{color}|no\n" for name, color in COLORS.items())
    table.write_text("colour,labels,what\n" + rows)
    options = ["--image-column", "colour", "--labels-column", "what", "--ignore-label", "no"]
    fields = json_of(model, table, *options, "--extension", "png")
    assert fields["map_class"] == {"value": 1.0, "lines": 3, "left_out": 0}


def test_eval_refuses_columns_without_data(model):
    text = refusal(model, "--image-column", "x", "--ignore-label", "y")
    assert "an image column, labels to ignore" in text


def test_eval_sorts_labels_by_name(model, table):
    lines = twl_eval(model, table, "--sort", "name").stdout.splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["blue", "green", "red"]


@pytest.mark.parametrize(
    ("arguments", "split", "images"),
    [
        ([], "val", 2),
        (["--split", "train"], "train", 1),
        (["--split", "Validation"], "val", 2),
        (["--split", "all"], "all", 4),
        (["--split", "test, Train"], "test,train", 2),
    ],
)
def test_eval_takes_a_split(model, split_table, arguments, split, images):
    fields = json_of(model, split_table, *arguments)
    assert (fields["split"], fields["images"]) == (split, images)


def test_eval_lists_the_splits_where_there_is_no_val(model, split_table):
    split_table.write_text(split_table.read_text().replace("val", "fold 1"))
    message = refusal(model, split_table)
    assert "no split 'val'" in message
    assert "--split can be train, fold 1, test or all" in message


def test_eval_at_a_threshold(model, table):
    fields = json_of(model, table, "--threshold", "precision=0.9")
    assert fields["threshold"] == "precision=0.9"
    assert [row["threshold"] for row in fields["labels"]] == pytest.approx([0.8, 0.8, 1.1])
    assert fields["labels"][2]["recall"] == 0
    assert [row["threshold"] for row in json_of(model, table, "--threshold", "1")["labels"]] == [
        1,
        1,
        1,
    ]


def test_eval_writes_scores(model, table, tmp_path):
    scores = tmp_path / "scores.csv"
    assert twl_eval(model, table, "--scores", scores).exit_code == 0
    with scores.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["r.png", "g.png", "b.png", "ry.png"]
    assert float(rows[0]["red"]) > 0.99 > 0.01 > float(rows[0]["blue"])
    assert "exists already; use --force to replace it" in refusal(model, table, "--scores", scores)
    assert twl_eval(model, table, "--scores", scores, "--force").exit_code == 0
    arrays_path = tmp_path / "scores.npz"
    assert twl_eval(model, table, "--scores", arrays_path).exit_code == 0
    with np.load(arrays_path) as arrays:
        assert arrays["targets"].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]


def test_eval_decides_as_tag_does(model, table, tmp_path):
    tags = tmp_path / "tags.csv"
    tagged = CliRunner().invoke(
        app, ["tag", str(tmp_path), "--model", str(model), "--out", str(tags)]
    )
    assert tagged.exit_code == 0
    with tags.open(newline="") as file:
        given = [label for row in csv.DictReader(file) for label in row["labels"].split("|")]
    for row in json_of(model, table)["labels"]:
        assert row["precision"] == row["recall"] == 1
        assert given.count(row["label"]) == row["support"]


def test_eval_goes_on_without_unreadable_images(model, table, tmp_path):
    (tmp_path / "g.png").write_bytes(b"no picture")
    result = twl_eval(model, table, "--json")
    assert result.exit_code == 3
    fields = json.loads(result.stdout)
    assert fields["images"] == 3
    assert [each["image"] for each in fields["unreadable"]] == ["g.png"]
    assert "1 image cannot be read and is not scored" in result.stderr
    assert "g.png: " in result.stderr


def test_eval_reads_odd_images_as_it_is_told(model, table, tmp_path):
    name = "odd.csv"
    (tmp_path / "cut.jpg").write_bytes(encode(picture(), "JPEG")[:-2])
    (tmp_path / "odd.png").write_bytes(encode(picture(), "PNG", icc_profile=b"broken"))
    (tmp_path / name).write_text("image,labels\ncut.jpg,red\nodd.png,green\nb.png,blue\n")
    strict = twl_eval(model, tmp_path / name)
    assert strict.exit_code == 3
    assert "twl:   cut.jpg: JPEG without its end marker" in strict.stderr
    told = twl_eval(model, tmp_path / name, "--accept-damaged", "--max-pixels", 2400, "--json")
    assert told.exit_code == 0, told.stderr
    fields = json.loads(told.stdout)
    assert (fields["images"], fields["damaged"], fields["profiles_ignored"]) == (3, 1, 1)
    assert told.stderr.splitlines() == [
        "twl: 1 image was damaged and read as far as possible",
        "twl: 1 image was read without the embedded colour profile, which is damaged or does not "
        "fit",
    ]
    assert "too large" in twl_eval(model, tmp_path / name, "--max-pixels", 2000).stderr


def test_eval_lists_only_the_first_of_many_unreadable_images(model, table, tmp_path):
    count = FAILURES_SHOWN + 3
    with table.open("a") as file:
        file.writelines(f"broken{number}.png,red\n" for number in range(count))
    result = twl_eval(model, table)
    assert result.exit_code == 3
    assert f"{count} images cannot be read and are not scored" in result.stderr
    assert "… and 3 more; --json lists all" in result.stderr


def test_eval_reads_images_from_another_folder(model, table, tmp_path):
    moved = tmp_path / "elsewhere" / "labels.csv"
    moved.parent.mkdir()
    table.rename(moved)
    assert "r.png" in refusal(model, moved)
    assert json_of(model, moved, "--images", tmp_path)["images"] == 4


def test_eval_refuses_labels_that_the_model_does_not_know(model, table):
    table.write_text("image,labels\nr.png,rde\n")
    message = refusal(model, table)
    assert f"{table}:2: label 'rde' is not in the vocabulary; did you mean 'red'?" in message
    assert "; --ignore-unknown-labels leaves out what the model does not know" in message


def test_labels_that_one_side_does_not_know_are_in_no_score(model, table):
    table.write_text("image,labels\nr.png,red|rde\ng.png,blue|rde\nb.png,blue\n")
    result = twl_eval(model, table, "--ignore-unknown-labels", "--json")
    assert result.exit_code == 0, result.stderr
    scores = json.loads(result.stdout)
    assert [note for note in scores["notes"] if "label" in note] == [
        "labels that the model does not know were left out: rde",
        f"1 of the model's 3 labels do not occur in {table} and are in no score: green",
    ]
    green = next(label for label in scores["labels"] if label["label"] == "green")
    assert (green["support"], green["unknown"]) == (0, 3)
    # g.png is green, which the data do not know: the label is neither right nor wrong.
    assert scores["at_threshold"]["overall_precision"] == 1
    table.write_text("image,labels\nr.png,rde\n")
    message = refusal(model, table, "--ignore-unknown-labels")
    assert "none of its labels (rde) is one of the model's (red, green, blue)" in message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["{model}"], "does not say what it was trained on; name the labels"),
        (["{model}", "--format", "csv"], "no labels are named; name them with DATA"),
        (["{model}", "nothing.csv"], "nothing.csv: "),
        (["nothing.onnx", "{table}"], "nothing.onnx: no such model"),
        (["nothing", "{table}"], "nothing: no such model"),
        (
            ["{model}", "{table}", "--device", "cpu"],
            "runs in ONNX Runtime; use --provider",
        ),
        (["{table}", "{table}", "--provider", "cpu"], "runs in torch; use --device"),
        (["{model}", "{table}", "--threshold", "often"], "threshold 'often': expected a number"),
        (["{model}", "{table}", "--threshold", "precision=0.8"], "(it has: 0.9)"),
        (["{model}", "{table}", "--scores", "scores.txt"], "ends in .csv or .npz"),
        (["{model}", "{table}", "--scores", "no/scores.csv"], "there is no folder no"),
        (["{model}", "{table}", "--split", "tset"], "no image is in split 'tset'"),
    ],
)
def test_eval_refuses_in_one_line(model, table, arguments, expected):
    filled = [argument.format(model=model, table=table) for argument in arguments]
    assert expected in refusal(*filled)


def test_eval_refuses_a_model_without_calibration(table, tmp_path):
    spec = replace(SPEC, calibration=None)
    model = write_model(tmp_path / "raw.onnx", metadata=spec.to_json())
    assert "no calibration" in refusal(model, table)


def test_eval_of_a_run_says_that_torch_is_missing(table, tmp_path, without_torch):
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.safetensors").touch()
    message = refusal(run, table)
    assert message.strip().endswith(
        "running a checkpoint needs the 'train' extra: pip install 'twlcli[train]'"
    )


def test_eval_of_a_run_takes_the_data_that_it_was_trained_on(split_table, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    from twlcli.model.backbones import build_backbone
    from twlcli.model.preprocessing import Preprocessing
    from twlcli.model.spec import SPEC_KEY
    from twlcli.recipe import DataRecipe, Recipe
    from twlcli.runs.run_folder import Run

    folder = tmp_path / "run"
    run = Run.create(folder, Recipe(data=DataRecipe(path=str(split_table))))
    torch.manual_seed(0)
    network = build_backbone("squeezenet1_1", 3, image_size=64)
    spec = replace(SPEC, backbone="squeezenet1_1", preprocessing=Preprocessing(resize=64, crop=64))
    save_file(network.state_dict(), run.checkpoint, metadata={SPEC_KEY: spec.to_json()})
    by_run = json_of(folder, "--device", "cpu")
    assert (by_run["data"], by_run["split"], by_run["images"]) == (str(split_table), "val", 2)
    by_checkpoint = json_of(run.checkpoint, split_table, "--device", "cpu")
    assert by_checkpoint["labels"] == by_run["labels"]
    assert "no split 'tset'" in refusal(folder, "--split", "tset").replace(
        "is in split", "no split"
    )


def test_what_the_model_has_seen_is_said(tmp_path, photographs):
    """A run with a held-out split, by its own data and by the whole table."""
    table = tmp_path / "labels.csv"
    with photographs.open() as source:
        rows = [(row["image"], row["labels"]) for row in csv.DictReader(source)]
    lines = [f"{photographs.parent / image},{labels}" for image, labels in rows]
    table.write_text("\n".join(["image,labels", *lines]) + "\n")
    run = tmp_path / "run"
    small = [
        "--backbone",
        "shufflenet_v2_x0_5",
        "--weights",
        "none",
        "--size",
        "32",
        "--epochs",
        "1",
        "--workers",
        "0",
    ]
    trained = CliRunner().invoke(
        app, ["train", str(table), "--out", str(run), "--device", "cpu", *small]
    )
    assert trained.exit_code == 0, trained.output

    def evaluated(*arguments: object) -> tuple[str, str, dict[str, Any]]:
        words = ["eval", *map(str, arguments)]
        shown = CliRunner().invoke(app, words)
        assert shown.exit_code == 0, shown.output
        return (
            shown.stdout,
            shown.stderr,
            json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout),
        )

    out, err, fields = evaluated(run)
    assert (fields["trained_on"], fields["fitted_on"], fields["images"]) == (0, 3, 3)
    assert "\n  cross-fitted " in out
    assert "thresholds were chosen on these images" in err and "trained on" not in err
    assert fields["cross_fitted"]["folds"] == 3
    held = evaluated(run / "model.safetensors", table, "--splits", run)
    assert held[2]["map_class"] == fields["map_class"]
    out, err, fields = evaluated(run / "model.safetensors", table)
    assert (fields["trained_on"], fields["fitted_on"], fields["images"]) == (27, 3, 30)
    assert "cross-fitted" not in out and fields["cross_fitted"] is None
    assert "note: the model was trained on 27 of these images" in err
    assert "note: 3 of these images chose the calibration and the thresholds" in err


def test_eval_writes_a_report(model, table, tmp_path):
    page = tmp_path / "report.html"
    result = twl_eval(model, table, "--report", page)
    assert result.exit_code == 0, result.stderr
    text = page.read_text()
    assert f"{model} on {table}" in text
    before = page.stat().st_mtime_ns
    assert "report.html: exists already; use --force" in refusal(model, table, "--report", page)
    assert page.stat().st_mtime_ns == before
    assert twl_eval(model, table, "--report", page, "--force").exit_code == 0
    assert page.stat().st_mtime_ns > before


def test_a_report_names_images_that_cannot_be_read(model, table, tmp_path):
    (tmp_path / "r.png").write_bytes(b"<b>nothing</b>")
    page = tmp_path / "report.html"
    assert twl_eval(model, table, "--report", page).exit_code == 3
    assert "1 image could not be read" in page.read_text()


def test_a_report_is_refused_before_any_image_is_read(model, tmp_path):
    gone = tmp_path / "gone" / "report.html"
    assert "there is no folder" in refusal(model, tmp_path / "no-data", "--report", gone)


def test_where_every_image_has_the_label_there_is_no_map(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "model.onnx")
    (tmp_path / "photos").mkdir()
    for number in range(12):
        (tmp_path / "photos" / f"{number}.png").write_bytes(encode(picture(), "PNG"))
    rows = "".join(f"{number}.png,1\n" for number in range(12))
    (tmp_path / "photos" / "labels.csv").write_text(f"image,red\n{rows}")
    (tmp_path / "second.onnx").write_bytes((tmp_path / "model.onnx").read_bytes())
    for models in (["model.onnx"], ["model.onnx", "second.onnx"]):
        for options in ([], ["--report", "report.html", "--force"], ["--json"]):
            done = CliRunner().invoke(app, ["eval", *models, "photos", *options])
            assert done.exit_code == 0, done.output
            assert "Traceback" not in done.output


def test_what_is_read_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "model.onnx")
    (tmp_path / "a.png").write_bytes(encode(picture(), "PNG"))
    table = tmp_path / "labels.csv"
    table.write_text("image,red\na.png,1\n")
    for models in (["model.onnx"], ["model.onnx", "model.onnx"]):
        for out in ("labels.csv", "model.onnx"):
            done = CliRunner().invoke(
                app, ["eval", *models, "labels.csv", "--report", out, "--force"]
            )
            assert done.exit_code == 2
            assert f"{out}: is read by this run, and cannot be an output" in done.output
    convert = ["data", "convert", "labels.csv", "--out", "labels.csv", "--force"]
    done = CliRunner().invoke(app, convert)
    assert "labels.csv: is read by this run" in done.output
    assert table.read_text() == "image,red\na.png,1\n"
