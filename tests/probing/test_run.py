"""Models and image sets as a whole: what is written, and what is not computed again."""

import json
import re
import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image

from tests.probing.conftest import BACKBONE
from tests.probing.test_known_sets import cub
from twlcli.annotations.detect import read_labels
from twlcli.errors import (
    AnnotationError,
    InterruptedRunError,
    ModelError,
    RecipeError,
    TwlError,
)
from twlcli.labels import Vocabulary
from twlcli.model.backbones import build_backbone
from twlcli.model.checkpoint import write_checkpoint
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.probing import runner
from twlcli.probing.known_sets import KNOWN_SETS, Counts
from twlcli.probing.linear import evaluate_features
from twlcli.probing.run import probe

SMALL: dict[str, Any] = {
    "size": 32,
    "penalties": 5,
    "weakest": 1e-2,
    "strongest": 1e2,
    "device": "cpu",
}
RANDOM = f"{BACKBONE}=none"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of another network and size than the backbone's, of other labels."""
    torch.manual_seed(5)
    network = build_backbone(BACKBONE, 2, image_size=36)
    spec = ModelSpec(Vocabulary(("yes", "no")), BACKBONE, Preprocessing(40, 36), None, None)
    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    write_checkpoint(network, spec, path)
    return path


@pytest.fixture(scope="module")
def probed(one_colour, photographs, checkpoint, features, tmp_path_factory):
    out = tmp_path_factory.mktemp("probed") / "out"
    models, data = [RANDOM, checkpoint], [one_colour, photographs]
    return probe(models, data, out=out, features=features, **SMALL)


def test_every_model_is_measured_on_every_set(probed, one_colour, photographs, checkpoint):
    pairs = [(each.model, each.data) for each in probed.results]
    sets = [str(one_colour), str(photographs)]
    assert pairs == [(m, s) for m in (RANDOM, str(checkpoint)) for s in sets]
    for each in probed.results:
        assert (each.labels, each.train, each.test, each.features) == (3, 20, 10, 512)
        assert [swept.penalty for swept in each.swept] == pytest.approx([1e2, 10, 1, 0.1, 1e-2])


def test_one_label_each_makes_accuracies_and_several_make_map(probed):
    first, second, *_ = probed.results
    assert set(first.swept[0].scores) == {"accuracy", "class_accuracy"}
    assert set(second.swept[0].scores) == {"map_class", "map_sample"}
    for each in (first, second):  # colours are told by random networks too
        score = each.score_names[0]
        values = [swept.scores[score] for swept in each.swept]
        assert each.selected("paper").scores[score] == max(values) > 0.5


def test_the_test_split_is_val_where_there_is_none(probed, one_colour):
    assert read_labels(one_colour).split_names() == ("val", "train")
    assert probed.results[0].test == 10


def test_json_holds_all_penalties_and_both_choices(probed):
    fields = json.loads((probed.folder / "probe.json").read_text())
    assert fields["settings"]["loss"] == "softmax" and fields["settings"]["tolerance"] == 1e-4
    for result, written in zip(probed.results, fields["results"], strict=True):
        assert [each["penalty"] for each in written["swept"]] == [
            each.penalty for each in result.swept
        ]
        for name in ("paper", "validation"):
            chosen = result.selected(name)
            assert written["selected"][name]["scores"] == chosen.scores
            assert written["selected"][name]["gradient_norm"] == chosen.gradient_norm


def test_the_page_has_every_result_and_loads_nothing(probed):
    page = (probed.folder / "probe.html").read_text("utf-8")
    assert page.count("<figure>") == len(probed.results)
    assert RANDOM in page and "default-src" in page and "<script" not in page
    assert "src=" not in page.replace("style-src", "").replace("default-src", "")


@pytest.fixture
def counted(monkeypatch):
    """How often features are evaluated."""
    calls = []

    def noted(*arguments, **options):
        calls.append(1)
        return evaluate_features(*arguments, **options)

    monkeypatch.setattr(runner, "evaluate_features", noted)
    return calls


def again(probed, features, data, model=RANDOM, **options):
    return probe(model, data, out=probed.folder, features=features, **{**SMALL, **options})


def test_what_is_done_is_not_done_again(probed, features, one_colour, counted):
    same = again(probed, features, one_colour)
    assert not counted
    assert same.results == probed.results[:1]


@pytest.mark.parametrize(
    "options",
    [{"standardise": True}, {"seed": 1}, {"tolerance": 1e-2}, {"penalties": 4}],
    ids=str,
)
def test_other_settings_are_another_result(
    probed, features, one_colour, checkpoint, counted, options
):
    again(probed, features, one_colour, model=checkpoint, **options)
    assert counted == [1]


def test_the_loss_makes_no_difference_where_images_have_one_label(
    probed, features, one_colour, photographs, counted
):
    again(probed, features, one_colour, loss="bce")
    assert not counted
    result = again(probed, features, photographs, loss="bce").results[0]
    assert counted == [1] and result.loss == "bce"


def test_other_labels_are_another_result(probed, features, one_colour, counted, tmp_path):
    lines = one_colour.read_text().splitlines()
    swapped = [line.replace(",blue,", ",green,", 1) for line in lines[1:8]]
    table = tmp_path / "other.csv"
    table.write_text("\n".join([lines[0], *swapped, *lines[8:]]) + "\n")
    again(probed, features, table)
    assert counted == [1]


def test_a_damaged_result_is_made_again(probed, features, one_colour, counted, tmp_path):
    folder = shutil.copytree(probed.folder, tmp_path / "copy")
    for each in (folder / "results").iterdir():
        each.write_text('{"swept": []}')
    found = probe(RANDOM, one_colour, out=folder, features=features, **SMALL)
    assert counted == [1]
    assert found.results == probed.results[:1]


def test_it_goes_on_where_it_was_stopped(probed, features, one_colour, photographs, tmp_path):
    done = []

    class Watcher(runner.SilentProbe):
        def ended(self, result, kept):
            done.append((result.data, kept))

    data = [one_colour, photographs]
    options = {"out": tmp_path / "out", "features": features, "watcher": Watcher(), **SMALL}
    with pytest.raises(InterruptedRunError, match="results that are done are kept"):
        probe(RANDOM, data, should_stop=lambda: bool(done), **options)
    assert done == [(str(one_colour), False)]
    found = probe(RANDOM, data, **options)
    assert done[1:] == [(str(one_colour), True), (str(photographs), False)]
    assert found.results == probed.results[:2]


def test_images_that_cannot_be_read_take_no_part(one_colour, features, tmp_path):
    lines = one_colour.read_text().splitlines()
    (tmp_path / "broken.png").write_bytes(b"no image")
    table = tmp_path / "with-broken.csv"
    table.write_text("\n".join([*lines, "broken.png,red,train"]) + "\n")
    notes = []

    class Watcher(runner.SilentProbe):
        def noted(self, note):
            notes.append(note)

    options = {"out": tmp_path / "out", "features": features, "watcher": Watcher(), **SMALL}
    (result,) = probe(RANDOM, table, **options).results
    assert (result.unreadable, result.train) == (1, 20)
    assert any(
        "1 image cannot be read and takes" in note and "broken.png" in note for note in notes
    )


def test_a_known_set_is_probed_by_its_name(photographs, features, tmp_path, monkeypatch):
    told = cub(tmp_path)
    for number, image in enumerate(told):
        shutil.copy(photographs.parent / f"{number}.png", tmp_path / "CUB_200_2011" / image)
    few = replace(KNOWN_SETS["cub"], counts=Counts(2, 2, 1))
    monkeypatch.setitem(KNOWN_SETS, "cub", few)
    options = {"out": tmp_path / "out", "features": features, **SMALL}
    (result,) = probe(RANDOM, f"cub={tmp_path}", **options).results
    assert (result.data, result.labels, result.train, result.test) == ("cub", 2, 2, 1)


@pytest.mark.parametrize(
    ("models", "error", "message"),
    [
        ([], TwlError, "no model is named"),
        ([RANDOM, RANDOM], TwlError, f"model '{RANDOM}' is named twice"),
        (["resnet5"], RecipeError, "there is no backbone 'resnet5'"),
        (["resnet50=nowhere.pth"], ModelError, "nowhere.pth: no such weights file"),
        (["nowhere.safetensors"], ModelError, "nowhere.safetensors: no such model"),
        (["squeezenet1_0=none"], RecipeError, "has no linear last layer"),
    ],
    ids=str,
)
def test_models_that_are_not_there_are_refused(
    models, error, message, one_colour, features, tmp_path
):
    with pytest.raises(error, match=message):
        probe(models, one_colour, out=tmp_path / "out", features=features, **SMALL)
    assert not (tmp_path / "out").exists()


def test_an_empty_run_folder_is_refused(one_colour, tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(ModelError, match=r"run: has no model\.safetensors, as a run folder has"):
        probe(tmp_path / "run", one_colour, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no image set is named"),
        (["birds=folder"], "birds=folder: 'birds' is none of aircraft, caltech101, cars, cub"),
        (["cub=nowhere"], "nowhere: has no train_test_split.txt; expected CUB-200-2011"),
    ],
    ids=str,
)
def test_sets_that_are_not_there_are_refused(data, message, tmp_path):
    with pytest.raises(TwlError, match=message):
        probe(RANDOM, data, out=tmp_path / "out")


def test_images_in_both_parts_are_refused(one_colour, tmp_path):
    with pytest.raises(AnnotationError, match="20 images are training and test images"):
        probe(RANDOM, one_colour, test_split="train", out=tmp_path / "out")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a.png,,train", "b.png,,train", "c.png,,val"], "'train': no training image has a label"),
        (["a.png,x,train", "b.png,y,train", "c.png,,val"], "'val': no test image has a label"),
        (["a.png,x,train", "c.png,y,val"], "'train': has one training image; expected two or"),
        (
            ["a.png,x,train", "b.png,x,train", "c.png,x,val"],
            "'train': no label is present in some .* there is nothing to tell apart",
        ),
    ],
)
def test_sets_with_nothing_to_tell_apart_are_refused(lines, message, tmp_path):
    table = tmp_path / "few.csv"
    table.write_text("\n".join(["image,labels,split", *lines]) + "\n")
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    with pytest.raises(AnnotationError, match=f"^{re.escape(str(table))}, split {message}"):
        probe(RANDOM, table, out=tmp_path / "out")


def test_where_the_only_labelled_images_cannot_be_read_it_is_said(features, tmp_path):
    table = tmp_path / "few.csv"
    rows = ["a.png,x,train", "b.png,,train", "c.png,,train", "d.png,x,val"]
    table.write_text("\n".join(["image,labels,split", *rows]) + "\n")
    for name in ("b.png", "c.png", "d.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "a.png").write_bytes(b"no image")
    said = "of the images that can be read: no training image has a label"
    with pytest.raises(AnnotationError, match=said):
        probe(RANDOM, table, size=32, out=tmp_path / "out", features=features, device="cpu")


@pytest.mark.parametrize("loss", ["warp", "rml", "sotfmax"])
def test_a_loss_without_heads_is_refused(loss, one_colour, tmp_path):
    with pytest.raises(RecipeError, match=f"no head can be found for the loss '{loss}'"):
        probe(RANDOM, one_colour, loss=loss, out=tmp_path / "out")
