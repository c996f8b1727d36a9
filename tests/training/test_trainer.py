import csv
import errno
import json
import multiprocessing
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from twlcli.annotations.detect import read_labels
from twlcli.errors import (
    AnnotationError,
    DeviceError,
    InterruptedRunError,
    ModelError,
    TwlError,
)
from twlcli.model.checkpoint import load_checkpoint
from twlcli.model.torch import TorchPredictor
from twlcli.recipe import Recipe, recipe_of
from twlcli.runs.run_folder import Run
from twlcli.runs.seen import hashes_of, seen_among
from twlcli.runs.states import read_state
from twlcli.training import watcher
from twlcli.training.devices import Ranks
from twlcli.training.loader import TrainingImages
from twlcli.training.step import MovingAverage
from twlcli.training.trainer import Trainer
from twlcli.training.watcher import TrainStart, Watcher

ALONE = Ranks(torch.device("cpu"))
SMALL = [
    "model.backbone=shufflenet_v2_x0_5",
    "model.weights=none",
    "image.size=32",
    "image.resize=36",
    "schedule.batch_size=8",
    "schedule.epochs=3",
    "train.workers=0",
    "train.ema=0.9",
]


class Silent(watcher.Silent):
    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.steps: list[int] = []

    def began(self, start: TrainStart) -> None:
        self.counts = (start.training, start.validation)

    def noted(self, note: str, hint: str = "") -> None:
        self.notes = [*getattr(self, "notes", []), note]

    def epoch_began(self, epoch: int, steps: int, first: int) -> None:
        self.first = first

    def step_ended(self, images: int, loss: float | None) -> None:
        self.steps.append(images)

    def validated(self, done: int) -> None:
        assert done > 0

    def epoch_ended(self, record: dict[str, Any], best: bool) -> None:
        self.records.append(record)


def begin(folder: Path, table: Path, *settings: str, watcher: Watcher | None = None) -> Trainer:
    recipe = Recipe().with_settings([f"data.path={table}", *SMALL, *settings])
    return Trainer(Run.create(folder, recipe), ALONE, watcher or Silent())


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in trainer.stepper.best_network.state_dict().items()}


def stop_after(steps: int):
    """A `should_stop` that says so when it is asked for the n-th time."""
    asked = iter(range(1, 1000))
    return lambda: next(asked) == steps


@pytest.fixture(scope="module")
def finished(tmp_path_factory, photographs) -> Trainer:
    trainer = begin(tmp_path_factory.mktemp("runs") / "run", photographs)
    trainer.train()
    return trainer


def test_run_folder_is_complete(finished, photographs):
    run = finished.run
    names = {path.name for path in run.folder.iterdir()}
    states = ("state.pt", "state-older.pt")
    assert names == {"recipe.toml", "model.safetensors", "metrics.jsonl", "curves.svg", *states}
    best = max(finished.watcher.records, key=lambda record: record["map_class"])
    curves = (run.folder / "curves.svg").read_text("utf-8")
    assert f"mAP@class: {100 * best['map_class']:.2f} in epoch {best['epoch']}" in curves
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == finished.watcher.records
    assert [record["epoch"] for record in finished.watcher.records] == [1, 2, 3]
    assert finished.watcher.counts == (20, 10)
    assert Run.open(run.folder).recipe == run.recipe
    assert Run.open(run.folder).data().images == finished.run.data().images


def test_checkpoint_carries_its_spec(finished):
    network, spec = load_checkpoint(finished.run.folder)
    assert spec.vocabulary.names == ("blue", "green", "red")
    assert spec.preprocessing.crop == 32
    assert spec.calibration is not None
    assert spec.thresholds is not None
    best = max(finished.watcher.records, key=lambda record: record["map_class"])
    data = {"path": Path(finished.run.recipe.data.path).name}
    recipe = recipe_of(spec.provenance, source=finished.run.checkpoint)
    assert recipe == finished.run.recipe.with_values({"data": data})
    assert spec.provenance["validation"]["map_class"] == round(best["map_class"], 6)
    predictor = TorchPredictor(network, spec, torch.device("cpu"))
    images = np.zeros((2, 32, 32, 3), np.uint8)
    assert predictor(images).shape == (2, 3)
    again = TorchPredictor.load(finished.run.checkpoint, device="cpu")
    np.testing.assert_array_equal(again(images), predictor(images))


FINE = [
    *("model.head=ml-decoder", "optimizer.name=adamw", "optimizer.layer_decay=0.75"),
    *("optimizer.learning_rate=0.001", "augment.rand_augment=2", "augment.erasing=0.5"),
]


def test_interrupted_fine_tuning_ends_with_the_same_weights(tmp_path, photographs):
    """With every part of the recipes for it; the average of the weights is in `SMALL`."""
    whole = begin(tmp_path / "whole", photographs, *FINE)
    whole.train()
    trainer = begin(tmp_path / "run", photographs, *FINE)
    with pytest.raises(InterruptedRunError):
        trainer.train(stop_after(3))
    resumed = Trainer(Run.open(tmp_path / "run"), ALONE, Silent(), resumed=True)
    resumed.train()
    assert resumed.progress.history[-1]["loss"] == whole.progress.history[-1]["loss"]
    expected, actual = weights(whole), weights(resumed)
    assert all(torch.equal(actual[key], expected[key]) for key in expected)
    rates = [
        [group["peak"] for group in each.stepper.optimizer.param_groups]
        for each in (whole, resumed)
    ]
    assert rates[0] == rates[1] and len(set(rates[0])) == 1 + 5  # the stages of ShuffleNetV2
    network, spec = load_checkpoint(tmp_path / "run")
    assert spec.head == "ml-decoder" and spec.provenance["recipe"]["model"]["head"] == spec.head
    best = max(record["map_class"] for record in resumed.progress.history)
    assert spec.provenance["validation"]["map_class"] == round(best, 6)
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_interrupted_run_ends_with_the_same_weights(finished, tmp_path, photographs, steps):
    trainer = begin(tmp_path / "run", photographs)
    with pytest.raises(InterruptedRunError):
        trainer.train(stop_after(steps))
    resumed = Trainer(Run.open(tmp_path / "run"), ALONE, Silent(), resumed=True)
    resumed.train()
    expected = weights(finished)
    actual = weights(resumed)
    assert all(torch.equal(actual[key], expected[key]) for key in expected)
    assert resumed.progress.history[-1]["loss"] == finished.progress.history[-1]["loss"]
    assert len(resumed.progress.history) == 3
    left = len(trainer.loader) - trainer.progress.step
    goes_on_with = resumed.progress.history[trainer.progress.epoch]
    assert ("images_per_second" in goes_on_with) == (left > 0)


def test_training_learns_the_colours(tmp_path, photographs):
    trainer = begin(
        tmp_path / "run",
        photographs,
        "schedule.epochs=15",
        "optimizer.name=adamw",
        "optimizer.learning_rate=0.003",
        "optimizer.backbone_rate=1",
        "augment.min_scale=1.0",
        "augment.jitter=0.0",
        "train.ema=0",
    )
    trainer.train()
    losses = [record["loss"] for record in trainer.progress.history]
    assert min(losses[-5:]) < 0.7 * losses[0]  # with 20 images, single epochs go up and down


def test_images_are_held_out_where_there_is_no_validation_split(tmp_path, photographs):
    table = tmp_path / "labels.csv"
    with photographs.open() as source:
        rows = [(row["image"], row["labels"]) for row in csv.DictReader(source)]
    lines = [f"{photographs.parent / image},{labels}" for image, labels in rows]
    table.write_text("\n".join(["image,labels", *lines]) + "\n")
    recipe = Recipe().with_settings([f"data.path={table}", *SMALL, "data.holdout=0.2"])
    run = Run.create(tmp_path / "run", recipe)
    train, validation = run.split_data()
    assert (len(train), len(validation)) == (24, 6)
    assert not set(train.images) & set(validation.images)
    assert run.data().split("val").images == validation.images
    assert Run.open(run.folder).split_data()[1].images == validation.images
    table.write_text("\n".join(["image,labels", *lines[1:]]) + "\n")
    with pytest.raises(AnnotationError, match="the data have changed since the run began"):
        run.data()


@pytest.mark.parametrize(("empty", "what"), [("train", "training"), ("val", "validation")])
def test_split_without_any_label_is_refused(tmp_path, empty, what):
    table = tmp_path / "labels.csv"
    rows = [("train", 0, "red"), ("train", 1, "blue"), ("val", 2, "red"), ("val", 3, "red")]
    lines = [f"{n}.png,{'' if split == empty else name},{split}" for split, n, name in rows]
    table.write_text("\n".join(["image,labels,split", *lines]) + "\n")
    run = Run.create(tmp_path / "run", Recipe().with_settings([f"data.path={table}"]))
    with pytest.raises(AnnotationError, match=f"no {what} image has a label"):
        run.split_data()


def test_labels_that_all_images_have_are_nothing_to_learn(tmp_path):
    table = tmp_path / "labels.csv"
    rows = [f"{n}.png,{('a', 'a|b')[n % 2]},{('b', '')[n % 2]}" for n in range(8)]
    table.write_text("\n".join(["image,labels,unknown", *rows]) + "\n")
    run = Run.create(tmp_path / "run", Recipe().with_settings([f"data.path={table}"]))
    with pytest.raises(AnnotationError, match="there is nothing to tell apart"):
        run.split_data()


def test_images_without_labels_are_dropped_where_the_recipe_says_so(tmp_path, photographs):
    table = tmp_path / "labels.csv"
    names = ["", "red", "", "red|blue"] * 3
    lines = [f"{photographs.parent / f'{n}.png'},{name}" for n, name in enumerate(names)]
    table.write_text("\n".join(["image,labels", *lines]) + "\n")
    for unlabelled, count in (("negative", 12), ("drop", 6)):
        settings = [f"data.path={table}", f"data.unlabelled={unlabelled}"]
        run = Run.create(tmp_path / unlabelled, Recipe().with_settings(settings))
        train, validation = run.split_data()
        assert len(train) + len(validation) == count


def test_batch_size_that_suits_the_data_is_written_into_the_run(tmp_path, photographs):
    trainer = begin(tmp_path / "run", photographs, "schedule.batch_size=0")
    assert trainer.run.recipe.schedule.batch_size == 64
    assert Run.open(tmp_path / "run").recipe == trainer.run.recipe


def test_missing_image_stops_before_training(tmp_path, photographs):
    table = tmp_path / "labels.csv"
    table.write_text("image,labels,split\n" + "gone.png,a,train\n" * 1 + "x.png,b,val\n")
    with pytest.raises(AnnotationError):
        begin(tmp_path / "run", table)


def test_unreadable_images_are_left_out_and_listed(tmp_path, photographs):
    for number in range(17):
        source = photographs.parent / f"{number}.png"
        (tmp_path / f"{number}.png").write_bytes(source.read_bytes())
    (tmp_path / "3.png").write_bytes(b"no picture")
    (tmp_path / "16.png").write_bytes(b"")
    lines = [
        f"{n}.png,{'red' if n % 2 else 'blue'},{'val' if n > 11 else 'train'}" for n in range(17)
    ]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["image,labels,split", *lines]) + "\n")
    recipe = Recipe().with_settings(
        [f"data.path={table}", *SMALL, "schedule.batch_size=12", "schedule.epochs=1"]
    )
    watcher = Silent()
    watcher.step_ended = lambda images, loss: None  # type: ignore[method-assign]
    trainer = Trainer(Run.create(tmp_path / "run", recipe), ALONE, watcher)
    trainer.train()
    text = (tmp_path / "run" / "unreadable.txt").read_text()
    assert text.startswith(f"{tmp_path / '3.png'}: not an image")
    assert text.count("\n") == 1


def test_loss_that_is_not_a_number_stops_the_run(tmp_path, photographs):
    trainer = begin(tmp_path / "run", photographs)
    trainer.stepper.loss = lambda logits, targets: logits.sum() * torch.nan
    with pytest.raises(TwlError, match=r"the loss became nan in epoch 1, step 1; try a lower"):
        trainer.train()


def test_run_folder_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TwlError, match="is not empty, and not a run; choose another `out`"):
        Run.create(tmp_path, Recipe())
    Run.create(tmp_path / "run", Recipe())
    with pytest.raises(TwlError, match=r"exists already; `resume` .* continues it"):
        Run.create(tmp_path / "run", Recipe())


def test_folder_that_is_not_a_run_is_refused(tmp_path):
    with pytest.raises(ModelError, match="not a run folder"):
        Run.open(tmp_path)
    run = Run.create(tmp_path / "run", Recipe())
    with pytest.raises(ModelError, match="run has no checkpoint yet"):
        load_checkpoint(run.folder)


def copied(photographs: Path, folder: Path, unreadable: Callable[[str], bool]) -> Path:
    """The images and labels in a folder of their own, some of them without a readable image."""
    shutil.copytree(photographs.parent, folder)
    for image in folder.glob("*.png"):
        if unreadable(image.name):
            image.write_bytes(b"no image")
    return folder / "labels.csv"


def test_a_batch_without_a_readable_image_is_left_out(tmp_path, photographs):
    with photographs.open() as source:
        bad = next(row["image"] for row in csv.DictReader(source) if row["split"] == "train")
    table = copied(photographs, tmp_path / "data", lambda name: name == bad)
    one = ("schedule.batch_size=1", "schedule.epochs=2", "image.size=64", "image.resize=72")
    watcher = Silent()
    trainer = begin(tmp_path / "run", table, *one, watcher=watcher)
    trainer.train()
    assert sorted(watcher.steps) == [0, 0, *[1] * 38]
    [reason] = trainer.run.unreadable()
    assert reason.startswith(f"{tmp_path / 'data' / bad}: not an image")


def test_no_readable_image_at_all_is_an_error(tmp_path, photographs):
    trainer = begin(tmp_path / "run", copied(photographs, tmp_path / "data", lambda name: True))
    with pytest.raises(AnnotationError, match=r"no training image can be read: .*\.png: not an"):
        trainer.train()


def test_no_readable_validation_image_is_an_error(tmp_path, photographs):
    with photographs.open() as source:
        held = {row["image"] for row in csv.DictReader(source) if row["split"] == "val"}
    table = copied(photographs, tmp_path / "data", held.__contains__)
    with pytest.raises(AnnotationError, match="none of the 10 validation images can be read"):
        begin(tmp_path / "run", table).train()


class Killed(BaseException):
    """Nothing is written after it."""


def test_state_is_saved_within_an_epoch_and_continues_to_the_same_weights(
    finished, tmp_path, photographs
):
    trainer = begin(tmp_path / "run", photographs, "train.save_minutes=1e-9")
    looks = iter(range(1000))

    def killed() -> bool:
        if next(looks) == 5:  # one before all, two in each epoch's steps, one in its validation
            raise Killed
        return False

    with pytest.raises(Killed):
        trainer.train(killed)
    saved = read_state(tmp_path / "run", ALONE.device).values["progress"]
    assert (saved["epoch"], saved["step"]) == (1, 1)
    resumed = Trainer(Run.open(tmp_path / "run"), ALONE, Silent(), resumed=True)
    resumed.train()
    expected, actual = weights(finished), weights(resumed)
    assert all(torch.equal(actual[key], expected[key]) for key in expected)


def test_a_stop_while_validating_keeps_the_epoch(finished, tmp_path, photographs):
    trainer = begin(tmp_path / "run", photographs)
    with pytest.raises(InterruptedRunError, match="epoch 1 after step 2"):
        trainer.train(stop_after(4))
    assert read_state(tmp_path / "run", ALONE.device).values["progress"]["epoch"] == 0
    resumed = Trainer(Run.open(tmp_path / "run"), ALONE, Silent(), resumed=True)
    resumed.train()
    expected, actual = weights(finished), weights(resumed)
    assert all(torch.equal(actual[key], expected[key]) for key in expected)


def never(images: object, key: object) -> None:
    """An image on a disk that does not answer."""
    time.sleep(3600)


def test_batches_that_do_not_come_end_the_run_with_its_state_saved(
    tmp_path, photographs, monkeypatch
):
    monkeypatch.setattr("twlcli.training.loader._PATIENCE", 1.5)
    monkeypatch.setattr("twlcli.training.loader._PATIENCE_AN_IMAGE", 0.0)
    monkeypatch.setattr(TrainingImages, "__getitem__", never)
    trainer = begin(tmp_path / "run", photographs, "train.workers=1")
    with pytest.raises(DeviceError, match="no images came for"):
        trainer.train()
    assert read_state(tmp_path / "run", ALONE.device).values["progress"]["step"] == 0
    assert multiprocessing.active_children() == []


def test_a_run_that_waits_for_a_batch_can_be_stopped(tmp_path, photographs, monkeypatch):
    monkeypatch.setattr(TrainingImages, "__getitem__", never)
    trainer = begin(tmp_path / "run", photographs, "train.workers=1")
    started = time.monotonic()
    with pytest.raises(InterruptedRunError, match="epoch 1 after step 0"):
        trainer.train(stop_after(2))
    assert time.monotonic() - started < 60
    assert multiprocessing.active_children() == []


def test_processes_end_with_an_error_in_an_epoch(tmp_path, photographs, monkeypatch):
    trainer = begin(tmp_path / "run", photographs, "train.workers=2")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trainer.watcher, "step_ended", full)
    with pytest.raises(OSError, match="No space"):
        trainer.train()
    assert multiprocessing.active_children() == []


def test_another_network_than_was_saved_is_told(tmp_path, photographs):
    trainer = begin(tmp_path / "run", photographs)
    with pytest.raises(InterruptedRunError):
        trainer.train(stop_after(1))
    other = trainer.run.recipe.with_settings(["model.backbone=shufflenet_v2_x1_0"])
    with pytest.raises(
        ModelError, match=r"recipe\.toml: model\.backbone is shufflenet_v2_x1_0; the run began"
    ):
        Trainer(Run(trainer.run.folder, other), ALONE, Silent(), resumed=True)


def test_the_moving_average_warms_up():
    """After t updates the decay is min(decay, (1 + t) / (10 + t))."""
    network = torch.nn.Linear(1, 1, bias=False)
    average = MovingAverage(network, 0.9)
    expected = 0.0
    for step in range(200):
        with torch.no_grad():
            network.weight.fill_(step)
        average.update(network, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step if step else 0.0
        [actual] = average.model.module.parameters()
        assert actual.item() == pytest.approx(expected, rel=1e-5)


def resumed_with(folder: Path, epochs: int, watcher: Watcher | None = None) -> Trainer:
    run = Run.open(folder)
    recipe = run.recipe.with_values({"schedule": {"epochs": epochs}})
    return Trainer(Run(folder, recipe), ALONE, watcher or Silent(), resumed=True)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_without_its_best_weights_a_run_keeps_the_best_to_come(
    finished, tmp_path, photographs, damage
):
    run = tmp_path / "run"
    shutil.copytree(finished.run.folder, run)
    damage(run / "model.safetensors")
    with pytest.raises(ModelError, match=r"model\.safetensors: .*; more `epochs` make another"):
        resumed_with(run, 3)
    watcher = Silent()
    trainer = resumed_with(run, 4, watcher)
    assert [note for note in watcher.notes if "the best of the epochs to come is kept" in note]
    trainer.train()
    assert load_checkpoint(run)[1].provenance["validation"]["epoch"] == 4


def test_a_save_that_fails_leaves_a_run_that_can_begin_again(tmp_path, photographs, monkeypatch):
    def full(folder: Path, values: object) -> None:
        raise TwlError("the disk is full")

    monkeypatch.setattr("twlcli.training.trainer.write_state", full)
    trainer = begin(tmp_path / "run", photographs)
    with pytest.raises(TwlError, match="the disk is full"):
        trainer.train()
    assert trainer.run.history() == ()


def test_images_that_the_first_weights_have_seen_are_said_and_remembered(
    finished, tmp_path, photographs
):
    watcher = Silent()
    turned = photographs.read_text().replace("train", "?").replace("val", "train")
    table = photographs.parent / "turned.csv"
    table.write_text(turned.replace("?", "val"))
    trainer = begin(
        tmp_path / "run", table, f"model.weights={finished.run.folder}", watcher=watcher
    )
    note = f"{finished.run.folder} was trained on 20 of the 20 validation images, so that scores "
    assert any(each.startswith(note) for each in watcher.notes)
    trainer.train()
    provenance = load_checkpoint(tmp_path / "run")[1].provenance
    assert seen_among(provenance, hashes_of(read_labels(photographs))).training == 30


def test_batch_norm_of_one_process_has_nothing_to_synchronise(tmp_path, photographs):
    watcher = Silent()
    begin(tmp_path / "run", photographs, "train.sync_batch_norm=true", watcher=watcher)
    assert "train.sync_batch_norm does nothing with one process" in watcher.notes
