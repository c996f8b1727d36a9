import json

import numpy as np

from twlcli.labels import Vocabulary
from twlcli.recipe import DataRecipe, Recipe
from twlcli.report.run_curves import run_of, run_plots, training_images
from twlcli.runs.run_folder import Run


def run_with(folder, *lines, data="labels.csv"):
    run = Run.create(folder / "run", Recipe(data=DataRecipe(path=str(folder / data))))
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    (run.folder / "metrics.jsonl").write_text(text)
    return run


def test_a_run_is_found_by_its_folder_and_its_checkpoint(tmp_path):
    run = run_with(tmp_path)
    for model in (run.folder, run.checkpoint):
        found = run_of(model)
        assert found is not None and found.folder == run.folder
    assert run_of(tmp_path / "model.onnx") is None
    assert run_of(run.folder / "other.safetensors") is None


def test_epochs_are_drawn(tmp_path):
    records = [{"epoch": n, "loss": 1 / n, "map_class": n / 9, "map_sample": 0.5} for n in (1, 2)]
    plots = run_plots(run_with(tmp_path, *records))
    assert [plot.y.title for plot in plots] == [
        "training loss",
        "mAP@class: 22.22 in epoch 2",
        "mAP@sample: 50.00 in epoch 2",
    ]


def test_penalties_of_a_frozen_backbone_are_drawn(tmp_path):
    records = [{"penalty": p, "map_class": s, "map_sample": 0.5} for p, s in ((1, 0.4), (0.1, 0.6))]
    first, second = run_plots(run_with(tmp_path, *records))
    assert (first.y.title, second.y.title) == (
        "mAP@class: 60.00 at 0.1",
        "mAP@sample: 50.00 at 0.1",
    )
    assert first.marks[0].points == [(0.1, 60.0), (1, 40.0)]
    assert second.description == "mAP@sample by penalty"


def test_records_that_twl_did_not_write_do_no_harm(tmp_path):
    odd = [{"epoch": "x", "loss": []}, {"epoch": 10**400, "loss": 1.0}, {"penalty": -1}, {}]
    odd += [{"penalty": 1e-300, "map_class": 0.5, "map_sample": 0.5}]
    odd += [{"epoch": float("nan"), "loss": 1.0}, {"penalty": 1.0, "map_class": float("inf")}]
    assert run_plots(run_with(tmp_path, *odd)) == []
    for content in (b"nothing\n", b"\xff\xfe"):
        (tmp_path / "run" / "metrics.jsonl").write_bytes(content)
        assert run_plots(Run.open(tmp_path / "run")) == []


def test_training_images_are_counted_by_label(tmp_path):
    rows = ("a,cat|dog,train", "b,cat,train", "c,dog,val", "d,bird,train")
    table = tmp_path / "labels.csv"
    table.write_text("image,labels,split\n" + "\n".join(rows) + "\n")
    vocabulary = Vocabulary(("dog", "cat", "cow"))
    counts = training_images(run_with(tmp_path), table, vocabulary)
    np.testing.assert_array_equal(counts, [1, 2, 0])
    assert training_images(Run.open(tmp_path / "run"), tmp_path / "b.csv", vocabulary) is None


def test_training_images_are_not_known_where_the_data_are_gone(tmp_path):
    run = run_with(tmp_path, data="gone.csv")
    assert training_images(run, tmp_path / "gone.csv", Vocabulary(("cat",))) is None
