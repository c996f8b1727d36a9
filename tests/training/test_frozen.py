"""A frozen backbone: the head that is found, and what its run carries."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from twlcli.annotations.detect import read_labels
from twlcli.annotations.split import stratified_folds
from twlcli.errors import (
    AnnotationError,
    InterruptedRunError,
    ModelError,
    RecipeError,
    TwlError,
)
from twlcli.images.preprocess import load_crop
from twlcli.inference.scored import ScoredImages, score_images
from twlcli.losses import two_way_loss
from twlcli.metrics import average_precision_per_label
from twlcli.model.checkpoint import load_checkpoint, read_spec
from twlcli.model.torch import TorchPredictor, normalise, to_unit
from twlcli.report.run import evaluate
from twlcli.runs.seen import hashes_of, seen_among
from twlcli.scoring.evaluation import map_scores
from twlcli.scoring.scores_file import read_scores
from twlcli.training.run import resume, train
from twlcli.training.watcher import Silent

SETTINGS: dict[str, Any] = {
    "model.backbone": "resnet18",  # of few and simple layers: it is exported in a third of the time
    "model.weights": "none",
    "model.frozen": True,
    "image.size": 32,
}


@pytest.fixture(scope="module")
def found(photographs, features, tmp_path_factory):
    out = tmp_path_factory.mktemp("frozen") / "run"
    return train(photographs, out=out, settings=SETTINGS, device="cpu", features=features)


def penalised(network, penalty, batch, targets):
    """The objective and its gradient by the head, of features that torch computes itself."""
    seen = []
    hook = network.fc.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(batch)
    hook.remove()
    features = seen[0].double()
    mean, scale = features.mean(0), features.std(0, correction=0)
    scale = scale.clamp(min=float(0.01 * features.var(0, correction=0).mean().sqrt()))
    standard = (features - mean) / scale
    weights = (network.fc.weight.double() * scale).detach().requires_grad_()
    bias = (network.fc.bias.double() + network.fc.weight.double() @ mean).detach().requires_grad_()

    def objective(weights, bias):
        loss = two_way_loss(standard @ weights.T + bias, targets)
        return loss + penalty / 2 * weights.square().sum()

    gradients = torch.autograd.grad(objective(weights, bias), (weights, bias))
    zeros = [torch.zeros_like(each).requires_grad_() for each in (weights, bias)]
    at_zero = torch.autograd.grad(objective(*zeros), zeros)
    return [torch.cat([each.flatten() for each in both]).norm() for both in (gradients, at_zero)]


def logits_of(folder, photographs):
    """Of the validation images, by the checkpoint in torch; and its spec."""
    network, spec = load_checkpoint(folder)
    data = read_labels(photographs).split("val")
    return score_images(TorchPredictor(network, spec, torch.device("cpu")), data).logits, spec


def test_the_head_is_a_minimum(found, photographs):
    network, spec = load_checkpoint(found.folder)
    data = read_labels(photographs).split("train")
    form = spec.preprocessing
    crops = [np.asarray(load_crop(data.path(row), None, form)) for row in range(len(data))]
    batch = normalise(to_unit(torch.from_numpy(np.stack(crops))), form)
    penalty = spec.provenance["cross_validation"]["penalty"]
    targets = torch.from_numpy(data.labels.dense())
    norm, at_zero = penalised(network, penalty, batch, targets)
    assert norm <= 2e-3 * at_zero


def test_the_run_says_what_was_measured(found):
    provenance = load_checkpoint(found.folder)[1].provenance
    crossed = provenance["cross_validation"]
    assert crossed["folds"] == 5 and crossed["converged"]
    best = max(found.history(), key=lambda record: record["map_class"])
    assert crossed["penalty"] == best["penalty"]
    assert crossed["map_class"] == pytest.approx(best["map_class"], abs=1e-6)
    measured = evaluate(found.folder)
    assert measured.map_class.value == pytest.approx(
        provenance["validation"]["map_class"], abs=1e-6
    )
    assert measured.fitted_on == 0 and measured.cross_fitted is None


def test_scores_of_images_that_no_head_had_seen_are_kept(found, photographs):
    scores = read_scores(found.folder / "cross_validated.npz")
    data = read_labels(photographs).split("train")
    assert scores.images == data.images and scores.labels == data.vocabulary.names
    ranked = average_precision_per_label(scores.probabilities, data.labels.dense())
    crossed = load_checkpoint(found.folder)[1].provenance["cross_validation"]["map_class"]
    assert np.mean(ranked) == pytest.approx(crossed, abs=1e-4)


def test_only_training_images_count_as_seen(found, photographs):
    provenance = load_checkpoint(found.folder)[1].provenance
    data = read_labels(photographs)
    assert seen_among(provenance, hashes_of(data.split("train"))).training == 20
    assert seen_among(provenance, hashes_of(data.split("val"))).training == 0


def test_logits_of_the_checkpoint_equal_those_of_the_features(found, photographs):
    """Which came from ONNX Runtime, while the checkpoint runs in torch."""
    logits, spec = logits_of(found.folder, photographs)
    targets = read_labels(photographs).split("val").labels.dense()
    scores = map_scores(ScoredImages(("",) * len(logits), logits, targets))
    assert scores == pytest.approx(spec.provenance["validation"], abs=1e-6)


def test_resume_finds_the_same_head_of_the_same_labels(found, photographs, features, tmp_path):
    folder = shutil.copytree(found.folder, tmp_path / "run")
    before, spec = logits_of(folder, photographs)
    run = resume(folder, device="cpu", features=features)
    after, again = logits_of(folder, photographs)
    assert run.history() == found.history()
    assert again.provenance["cross_validation"] == spec.provenance["cross_validation"]
    np.testing.assert_array_equal(after, before)


def test_other_corrections_take_the_place_of_those_before(found, photographs, features, tmp_path):
    folder = shutil.copytree(found.folder, tmp_path / "run")
    data = read_labels(photographs)
    image, label = data.images[0], data.vocabulary.names[0]
    notes: list[str] = []

    class Noting(Silent):
        def noted(self, note: str, hint: str = "") -> None:
            notes.append(note)

    both = tmp_path / "both"
    both.mkdir()
    for name in ("first", "second"):
        table = both / f"{name}.csv"
        table.write_text(f"image,label,verdict\n{image},{label},unknown\n")
        settings = {"data.corrections": str(table)}
        resume(folder, settings=settings, device="cpu", features=features, watcher=Noting())
    taken = [note for note in notes if "takes the place of" in note]
    first, second = both / "first.csv", both / "second.csv"
    assert taken == [
        f"{second} takes the place of {first}, whose corrections count no more; a folder holds both"
    ]
    settings = {"data.corrections": str(both)}
    resume(folder, settings=settings, device="cpu", features=features, watcher=Noting())
    assert len([note for note in notes if "takes the place of" in note]) == 1


def copied(photographs: Path, folder: Path) -> Path:
    """The table in a copy of its folder, which a test may change."""
    return Path(shutil.copytree(photographs.parent, folder)) / photographs.name


def exchanged(table: Path, *, splits: bool = True) -> str:
    """The table with its splits exchanged, or without them."""
    rows = [line.split(",") for line in table.read_text().splitlines()]
    other = {"val": "train", "train": "val", "split": "split"}
    return "".join(
        ",".join([image, labels, *([other[split]] if splits else [])]) + "\n"
        for image, labels, split in rows
    )


@pytest.mark.parametrize("splits", [True, False])
def test_a_head_of_other_training_images_is_no_resume(
    found, photographs, features, tmp_path, splits
):
    folder = shutil.copytree(found.folder, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = copied(photographs, tmp_path / "set")
    other.write_text(exchanged(photographs, splits=splits))
    with pytest.raises(ModelError, match=r"labels\.csv: its training images are not those"):
        resume(folder, other, device="cpu", features=features)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert resume(folder, photographs, device="cpu", features=features).history()


def test_corrections_change_labels_and_bring_images_and_no_more(
    found, photographs, features, tmp_path
):
    folder = shutil.copytree(found.folder, tmp_path / "run")
    table = copied(photographs, tmp_path / "set")
    shutil.copy(table.with_name("0.png"), table.with_name("new.png"))
    corrections, fewer = tmp_path / "c.csv", table.with_name("one_less.csv")
    fewer.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))

    def corrected(text: str) -> int:
        corrections.write_text(f"image,label,verdict\n{text}")
        settings = {"data.corrections": str(corrections)}
        run = resume(folder, table, settings=settings, device="cpu", features=features)
        images: int = read_spec(run.checkpoint).provenance["seen"]["training"]["images"]
        return images

    assert corrected("1.png,red,present\n") == 20
    with pytest.raises(ModelError, match="its training images are not those that the run began"):
        resume(folder, fewer, device="cpu", features=features)
    assert corrected("new.png,red,present\n") == 21
    with pytest.raises(ModelError, match="its training images are not those that the run began"):
        resume(folder, fewer, device="cpu", features=features)
    run = resume(folder, table, settings={"data.corrections": ""}, device="cpu", features=features)
    assert run.history() == found.history()


def test_the_head_s_folder_lies_beside_the_one_that_a_point_names(
    photographs, tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    (tmp_path / "here-head").mkdir()
    (tmp_path / "here-head" / "mine.txt").write_text("mine")
    monkeypatch.chdir(tmp_path / "here")
    for out in (".", "../here"):
        with pytest.raises(TwlError, match="here-head: is not empty, and not a run"):
            train(photographs, out=out, settings=SETTINGS, then_finetune=True, device="cpu")


def test_an_image_that_is_repaired_is_no_longer_said_to_be_unreadable(
    photographs, features, tmp_path
):
    table = copied(photographs, tmp_path / "set")
    whole = table.with_name("1.png").read_bytes()
    table.with_name("1.png").write_bytes(b"none")
    given: dict[str, Any] = {"device": "cpu", "features": features}
    run = train(table, out=tmp_path / "run", settings=SETTINGS, **given)
    assert len(run.unreadable()) == 1
    table.with_name("1.png").write_bytes(whole)
    asked = iter([False] * 3)
    with pytest.raises(InterruptedRunError):
        resume(run.folder, should_stop=lambda: next(asked, True), **given)
    assert resume(run.folder, **given).unreadable() == ()


def test_the_same_training_again_leaves_a_head_that_is_there(
    found, photographs, features, tmp_path
):
    folder = shutil.copytree(found.folder, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    notes: list[str] = []

    class Noting(Silent):
        def noted(self, note: str, hint: str = "") -> None:
            notes.append(note)

    def again(**changes: Any) -> None:
        settings = SETTINGS | changes
        train(
            photographs,
            out=folder,
            settings=settings,
            device="cpu",
            features=features,
            watcher=Noting(),
            auto_resume=True,
        )

    again()
    assert notes == ["nothing is left to train"]
    with pytest.raises(RecipeError, match=r"loss\.name is bce; the run began with two-way"):
        again(**{"loss.name": "bce"})
    for key, value in (("frozen.penalty", 1.0), ("data.corrections", "c.csv")):
        with pytest.raises(RecipeError, match=f"{key} is .*; the run began with .*another `out`"):
            again(**{key: value})
    again(**{"train.workers": 0, "schedule.epochs": 3})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_resume_that_is_refused_leaves_the_run_as_it_was(found, photographs, features, tmp_path):
    folder = shutil.copytree(found.folder, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = photographs.with_name("fewer.csv")
    other.write_text("image,labels,split\n0.png,red,val\n1.png,blue,train\n2.png,red,train\n")
    try:
        with pytest.raises(ModelError, match="has other labels than"):
            resume(folder, other, device="cpu", features=features)
    finally:
        other.unlink()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_few_groups_make_few_folds(photographs):
    data = read_labels(photographs)
    grouped = replace(data, groups=tuple(f"group {row % 3}" for row in range(len(data))))
    folds = stratified_folds(grouped, 5, seed=0)
    assert sorted(set(folds)) == list(range(int(folds.max()) + 1)) and 2 <= len(set(folds)) <= 3
    with pytest.raises(AnnotationError, match="all training images belong to one group"):
        stratified_folds(replace(data, groups=("a",) * len(data)), 5, seed=0)


def test_a_given_penalty_is_kept(photographs, features, tmp_path):
    frozen: dict[Any, Any] = {"frozen.penalty": 0.7, "frozen.views": 2, "frozen.folds": 3}
    settings = SETTINGS | frozen
    run = train(
        photographs, out=tmp_path / "run", settings=settings, device="cpu", features=features
    )
    crossed = load_checkpoint(run.folder)[1].provenance["cross_validation"]
    assert (crossed["penalty"], crossed["folds"]) == (0.7, 3)


def test_trained_on_all_images_the_cross_validated_scores_count(photographs, features, tmp_path):
    run = train(
        photographs,
        out=tmp_path / "run",
        settings=dict(SETTINGS, **{"data.train_split": "all"}),
        device="cpu",
        features=features,
    )
    provenance = load_checkpoint(run.folder)[1].provenance
    crossed = provenance["cross_validation"]
    assert provenance["validation"] == {key: crossed[key] for key in ("map_class", "map_sample")}


@pytest.mark.parametrize("loss", ["softmax", "bce", "asl", "zlpr", "sample-wise", "class-wise"])
def test_every_loss_finds_a_head(photographs, features, tmp_path, loss):
    settings = {**SETTINGS, "loss.name": loss}
    run = train(
        photographs, out=tmp_path / "run", settings=settings, device="cpu", features=features
    )
    assert load_checkpoint(run.folder)[1].provenance["cross_validation"]["converged"]


def test_the_whole_network_is_trained_from_the_head(photographs, features, tmp_path):
    settings: dict[Any, Any] = {
        **SETTINGS,
        **{"schedule.epochs": 1, "schedule.batch_size": 8, "train.workers": 0},
        **{"train.precision": "float32", "optimizer.learning_rate": 1e-6},
    }
    run = train(
        photographs,
        out=tmp_path / "run",
        settings=settings,
        device="cpu",
        features=features,
        then_finetune=True,
    )
    assert not run.recipe.model.frozen
    assert run.recipe.model.weights == str(tmp_path / "run-head")
    head, _ = load_checkpoint(tmp_path / "run-head")
    tuned, _ = load_checkpoint(run.folder)
    before, after = (each.state_dict()["fc.weight"] for each in (head, tuned))
    torch.testing.assert_close(after, before, rtol=1e-2, atol=1e-3)
    assert not torch.equal(after, before)
    with pytest.raises(TwlError, match="then_finetune does nothing without"):
        train(
            photographs,
            out=tmp_path / "other",
            settings={**settings, "model.frozen": False},
            then_finetune=True,
        )


def test_images_that_cannot_be_read_are_named(photographs, features, tmp_path):
    folder = shutil.copytree(photographs.parent, tmp_path / "data")
    (folder / "1.png").write_bytes(b"no image")
    (folder / "3.png").write_bytes(b"no image either")
    run = train(
        folder / "labels.csv",
        out=tmp_path / "run",
        settings=SETTINGS,
        device="cpu",
        features=features,
    )
    assert [each.split(":")[0] for each in run.unreadable()] == ["1.png"]  # 3.png is of val


def test_a_run_that_was_stopped_goes_on(photographs, features, tmp_path):
    asked = iter([False, False] + [True] * 100)
    with pytest.raises(InterruptedRunError):
        train(
            photographs,
            out=tmp_path / "run",
            settings=dict(SETTINGS, **{"train.seed": 5}),
            device="cpu",
            features=features,
            should_stop=lambda: next(asked),
        )
    run = resume(tmp_path / "run", device="cpu", features=features)
    assert run.checkpoint.exists()


def test_folds_hold_each_image_once_and_part_no_group(photographs):
    data = read_labels(photographs)
    folds = stratified_folds(data, 5, seed=0)
    assert sorted(np.bincount(folds)) == [6, 6, 6, 6, 6]
    targets = data.labels.dense()
    counts = np.array([(targets[folds == fold] == 1).sum(0) for fold in range(5)])
    assert np.ptp(counts, axis=0).max() <= 2
    grouped = replace(data, groups=tuple(f"group {row // 3}" for row in range(len(data))))
    folds = stratified_folds(grouped, 5, seed=0)
    assert all(len(set(folds[row : row + 3])) == 1 for row in range(0, 30, 3))
    assert len(set(folds)) == 5


OWN = """
import torch
from torch import nn

def small(*, pretrained):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 24, 5, stride=2), nn.ReLU(), nn.Conv2d(24, 32, 3), nn.ReLU())

def squared(logits, targets):
    return ((logits - targets) ** 2)[targets >= 0].mean()

def nan(logits, targets):
    return logits.mean() * float("nan")

def infinite(logits, targets):
    return logits.mean() + float("inf")

def steep(logits, targets):
    return logits.abs().sqrt().mean()

class NaN(nn.Conv2d):
    def forward(self, images):
        return super().forward(images) * float("nan")

def no_numbers(*, pretrained):
    return NaN(3, 8, 3, stride=4)
"""


def test_a_network_and_a_loss_of_ones_own_are_frozen_and_solved(photographs, tmp_path, monkeypatch):
    """The loss is a parabola, so that ridge regression knows the minimum."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_of_frozen.py").write_text(OWN)
    settings: dict[Any, Any] = {
        **SETTINGS,
        "model.backbone": "own_of_frozen:small",
        "loss.name": "own_of_frozen:squared",
        "frozen.penalty": 0.05,
    }
    run = train(photographs, out="run", settings=settings, device="cpu", features="features")
    network, spec = load_checkpoint(run.folder, allow_code=True)
    data = read_labels(photographs).split("train")
    crops = [np.asarray(load_crop(data.path(row), None, spec.preprocessing)) for row in range(20)]
    batch = normalise(to_unit(torch.from_numpy(np.stack(crops))), spec.preprocessing)
    with torch.no_grad():
        logits = network(batch).double()
        features = network.get_submodule("backbone")(batch).mean((2, 3)).double()
    scale = features.std(0, correction=0)
    standard = (features - features.mean(0)) / scale.clamp(
        min=float(0.01 * features.var(0, correction=0).mean().sqrt())
    )
    targets = torch.from_numpy(data.labels.dense()).double()
    count = targets.numel()
    hessian = 2 / count * standard.T @ standard + 0.05 * torch.eye(32)
    weights = torch.linalg.solve(hessian, 2 / count * standard.T @ (targets - targets.mean(0)))
    expected = standard @ weights + targets.mean(0)
    torch.testing.assert_close(logits, expected, atol=3e-3, rtol=0)
    resume(run.folder, device="cpu", features="features", allow_code=True)


@pytest.mark.parametrize(
    ("key", "function", "error", "said"),
    [
        *(
            pytest.param(
                *("loss.name", name, RecipeError),
                f"loss 'own_nan:{name}' or its gradient is NaN or inf",
                marks=[] if name == "steep" else pytest.mark.slow,
            )
            for name in ("nan", "infinite", "steep")
        ),
        (
            *("model.backbone", "no_numbers", ModelError),
            "backbone 'own_nan:no_numbers' gives features that are not finite numbers",
        ),
    ],
)
def test_code_of_ones_own_that_gives_no_numbers_is_named(
    photographs, features, tmp_path, monkeypatch, key, function, error, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_nan.py").write_text(OWN)
    settings = {**SETTINGS, key: f"own_nan:{function}"}
    with pytest.raises(error) as raised:
        train(photographs, out="run", settings=settings, device="cpu", features=features)
    assert raised.value.message.startswith(said)
    assert not (tmp_path / "run").exists()
