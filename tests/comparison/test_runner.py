import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twlcli.comparison import runner as module
from twlcli.comparison.images import ComparedImages
from twlcli.comparison.plan import Plan, Training, candidates_of
from twlcli.comparison.runner import TrainedPlan, train_plan
from twlcli.comparison.watcher import SilentComparison
from twlcli.errors import DivergedError, InterruptedRunError, ModelError, TwlError
from twlcli.model.torch import pick_device
from twlcli.recipe import Recipe
from twlcli.recipe.recipe import RECIPE_FORMAT
from twlcli.runs.run_folder import Run
from twlcli.training.devices import Ranks
from twlcli.training.trainer import Trainer
from twlcli.training.watcher import TrainStart

SMALL = [
    "model.backbone=shufflenet_v2_x0_5",
    "model.weights=none",
    "image.size=32",
    "image.resize=36",
    "schedule.epochs=1",
    "schedule.batch_size=8",
    "train.workers=0",
    "train.precision=float32",
]


class Listener(SilentComparison):
    """Notes what a comparison tells."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.trained: list[Training] = []
        self.ended: list[Training] = []
        self.images: set[tuple[int, int]] = set()

    def planned(self, plan: Plan) -> None:
        self.plans.append(plan)

    def training_began(self, training: Training, epochs: int) -> None:
        self.trained.append(training)

    def training_ended(self, training: Training, scores: Mapping[str, float]) -> None:
        self.ended.append(training)

    def began(self, start: TrainStart) -> None:
        self.images.add((start.training, start.validation))


def plan(
    folder: Path,
    table: Path,
    losses: list[str],
    *changes: str,
    rate: float | None = None,
    seeds: int = 1,
    limit: int | None = None,
) -> Plan:
    base = Recipe().with_settings([f"data.path={table}", *SMALL, *changes])
    return Plan(folder, candidates_of(base, losses, {}), tuple(range(seeds)), rate, limit)


def run(what: Plan, should_stop=lambda: False) -> tuple[TrainedPlan, Listener]:
    listener = Listener()
    return train_plan(what, Ranks(pick_device("cpu")), listener, should_stop), listener


def test_runs_of_a_seed_share_weights_order_and_split(tmp_path, photographs, monkeypatch):
    starts: dict[str, list[np.ndarray]] = {}
    orders: dict[str, list[list[int]]] = {}
    train = Trainer.train

    def noting(self: Trainer, *arguments: Any) -> None:
        name = str(self.run.folder.relative_to(tmp_path / "out"))
        weights = self.stepper.network.state_dict().values()
        starts[name] = [weight.numpy().copy() for weight in weights]
        self.loader.order.epoch = 0
        orders[name] = [[key.row for key in keys] for keys in self.loader.order]
        train(self, *arguments)

    monkeypatch.setattr(Trainer, "train", noting)
    found, _ = run(plan(tmp_path / "out", photographs, ["bce", "asl"], rate=0.1, seeds=2))
    assert [each.candidate.name for each in found.trained] == ["bce", "asl"]
    assert [[run.seed for run in each.runs] for each in found.trained] == [[0, 1], [0, 1]]
    assert all(each.chosen == 0.1 and not each.tried for each in found.trained)
    assert found.labels == ("blue", "green", "red")
    assert found.targets.shape == found.trained[0].runs[0].logits.shape == (10, 3)
    for seed in ("seed-0", "seed-1"):
        pairs = zip(starts[f"bce/0.1/{seed}"], starts[f"asl/0.1/{seed}"], strict=True)
        assert all((one == other).all() for one, other in pairs)
        assert orders[f"bce/0.1/{seed}"] == orders[f"asl/0.1/{seed}"]
    assert orders["bce/0.1/seed-0"] != orders["bce/0.1/seed-1"]
    with np.load(tmp_path / "out/bce/0.1/seed-0/scores.npz") as scores:
        assert scores["logits"].shape == (10, 3)
        assert 0 < scores["map_class"] <= 1


def test_rate_is_chosen_on_held_out_training_images(tmp_path, photographs, monkeypatch):
    scores = {0: 0.3, 1: 0.4, 2: 0.6, 3: 0.5}  # at the suitable rate times so many threes
    what = plan(tmp_path / "out", photographs, ["bce"])
    suited = what.candidates[0].recipe.suited(images=20, labels=3)

    def threes(rate: float) -> int:
        return round(math.log(rate / suited.optimizer.learning_rate, 3))

    seen: list[set[str]] = []

    class Faked:
        def __init__(self, trainer_run, *_: Any, **__: Any) -> None:
            train, validation = trainer_run.split_data()
            self.threes = threes(trainer_run.recipe.optimizer.learning_rate)
            seen.append(set(train.images) | set(validation.images))
            assert not set(train.images) & set(validation.images)
            assert len(validation) == 4  # a fifth of twenty

        def train(self, *_: Any) -> None:
            if self.threes == -1:
                raise DivergedError("nan")

        def last_validation(self):
            return self

    def fake_scores(trainer: Faked) -> dict[str, float]:
        return {"map_class": scores[trainer.threes], "map_sample": 0.0}

    monkeypatch.setattr(module, "map_scores", fake_scores)
    monkeypatch.setattr(module, "Trainer", Faked)
    listener = Listener()
    images = ComparedImages.of(what, Ranks(pick_device("cpu")))

    def chosen() -> tuple[float, tuple[tuple[float, float], ...]]:
        training = module._Training(
            what, what.candidates[0], images, Ranks(pick_device("cpu")), listener, lambda: False
        )
        return training.chosen_rate()

    rate, rates = chosen()
    assert threes(rate) == 2
    assert [threes(rate) for rate, _ in rates] == [-1, 0, 1, 2, 3]
    assert np.isnan(rates[0][1])
    table = photographs.read_text().splitlines()[1:]
    in_training = {line.split(",")[0] for line in table if line.endswith("train")}
    assert all(images == in_training for images in seen)
    tried = [each.learning_rate for each in listener.trained]
    assert [threes(each) for each in tried] == [-1, 0, 1, 2, 3]
    assert listener.trained == [Training("bce", "tuning", rate, 0) for rate in tried]
    assert chosen()[1][1:] == rates[1:]
    assert len(listener.trained) == 5
    assert listener.ended == listener.trained * 2


def test_interrupted_comparison_goes_on(tmp_path, photographs):
    what = plan(tmp_path / "out", photographs, ["bce", "softmax"], rate=0.1)
    asked = iter([False] * 5 + [True])  # each training is asked for three times
    with pytest.raises(InterruptedRunError):
        run(what, lambda: next(asked))
    assert (tmp_path / "out/softmax/0.1/seed-0/state.pt").exists()
    _, listener = run(what)
    assert listener.plans == [what]
    assert listener.trained == [Training("softmax", "run", 0.1, 0)]
    assert listener.ended == [Training(name, "run", 0.1, 0) for name in ("bce", "softmax")]
    assert not list((tmp_path / "out").rglob("state.pt"))
    whole = plan(tmp_path / "whole", photographs, ["softmax"], rate=0.1)
    run(whole)
    name = "softmax/0.1/seed-0/scores.npz"
    with np.load(tmp_path / "out" / name) as one, np.load(tmp_path / "whole" / name) as other:
        np.testing.assert_allclose(one["logits"], other["logits"], rtol=1e-4, atol=1e-5)


def test_runs_of_another_recipe_are_refused(tmp_path, photographs):
    run(plan(tmp_path / "out", photographs, ["bce"], rate=0.1))
    other = plan(tmp_path / "out", photographs, ["bce"], "image.size=24", rate=0.1)
    with pytest.raises(TwlError, match=r"seed-0: was trained with image.size = 32") as refused:
        run(other)
    assert refused.value.hinted("--{}".format) == "choose another --out"


def test_runs_of_other_code_are_refused(tmp_path, photographs, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = Path("own_loss_of_the_test.py")
    text = "def squared(logits, targets):\n    return (logits - targets).square().mean()\n"
    code.write_text(text)
    name = f"{code.stem}:squared"
    for rate in (0.1, None):
        what = plan(tmp_path / f"out-{rate}", photographs, [name], rate=rate)
        run(what)
        assert not run(what)[1].trained
        code.write_text(text.replace("square", "abs", 1))
        with pytest.raises(TwlError, match=f"was trained when {name} was another one") as refused:
            run(what)
        assert refused.value.hinted("--{}".format) == "choose another --out"
        code.write_text(text)


def test_validating_each_epoch_leaves_the_scores_as_they_are(tmp_path, photographs):
    found = {}
    for every in (1, 3):
        changes = ("schedule.epochs=3", f"schedule.validate_every={every}")
        what = plan(tmp_path / str(every), photographs, ["bce"], *changes, rate=0.1)
        (found[every],) = run(what)[0].trained[0].runs
    np.testing.assert_array_equal(found[1].logits, found[3].logits)
    validated = {
        every: [each["epoch"] for each in each_run.history if "map_class" in each]
        for every, each_run in found.items()
    }
    assert validated == {1: [1, 2, 3], 3: [3]}
    losses = {
        every: [each["loss"] for each in each_run.history] for every, each_run in found.items()
    }
    assert losses[1] == losses[3]
    again = plan(tmp_path / "3", photographs, ["bce"], "schedule.epochs=3", rate=0.1)
    assert not run(again)[1].trained  # how often it validates does not make it another run


def test_runs_on_other_images_are_refused(tmp_path, photographs):
    what = plan(tmp_path / "out", photographs, ["bce"], rate=0.1, limit=8)
    _, listener = run(what)
    assert listener.images == {(8, 8)}
    with pytest.raises(TwlError, match="seed-0: was trained on other images"):
        run(replace(what, limit=None))
    tuned = plan(tmp_path / "tuned", photographs, ["bce"], limit=8)
    run(tuned)
    for folder in (tmp_path / "tuned" / "bce").iterdir():
        if folder.name != "tuning":
            folder.rename(tmp_path / folder.name)
    with pytest.raises(TwlError, match=r"tuning/.*json: was trained on other images"):
        run(replace(tuned, limit=None))


@pytest.mark.parametrize("rate", [0.1, None])
def test_training_that_failed_at_once_does_not_hold_its_folder(
    tmp_path, photographs, monkeypatch, rate
):
    table = photographs.with_name("unsplit-too.csv")
    lines = photographs.read_text().splitlines()
    table.write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n")

    def fail(*_: object, **__: object) -> None:
        raise ModelError("the weights cannot be downloaded")

    monkeypatch.setattr("twlcli.training.trainer.load_weights", fail)
    first = plan(tmp_path / "out", table, ["bce"], "model.weights=default", rate=rate)
    with pytest.raises(ModelError, match="cannot be downloaded"):
        run(first)
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    changes = ("model.weights=none", "data.holdout=0.3", "image.size=24")
    found, _ = run(plan(tmp_path / "out", table, ["bce"], *changes, rate=0.1))
    assert len(found.targets) == 9
    before = set((tmp_path / "out").rglob("*"))
    monkeypatch.setattr("twlcli.training.trainer.load_weights", fail)
    with pytest.raises(ModelError):
        run(plan(tmp_path / "out", table, ["bce", "asl"], *changes, rate=0.1))
    assert set((tmp_path / "out").rglob("*")) == before


def test_what_twl_0_1_0_trained_is_not_trained_again(tmp_path, photographs):
    what = plan(tmp_path / "out", photographs, ["bce"])
    run(what)
    version = f"version = {RECIPE_FORMAT.version}\n\n"  # which that twl did not write
    for file in (tmp_path / "out").rglob("recipe.toml"):
        text = file.read_text("utf-8")
        assert text.startswith(version)
        file.write_text(text.removeprefix(version), "utf-8")
    for file in (tmp_path / "out").rglob("tuning/*.json"):
        record = json.loads(file.read_text("utf-8"))
        record["recipe"] = record["recipe"].removeprefix(version)
        file.write_text(json.dumps(record), "utf-8")
    assert not run(what)[1].trained


def test_runs_of_an_older_recipe_are_refused(tmp_path, photographs):
    what = plan(tmp_path / "out", photographs, ["bce"], rate=0.1)
    run(what)
    file = tmp_path / "out/bce/0.1/seed-0/recipe.toml"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith("batch_size")))
    with pytest.raises(TwlError, match=r"seed-0: was trained with schedule.batch_size = 0; choose"):
        run(what)


def test_validation_images_that_twl_held_out_are_the_same_for_all(tmp_path, photographs):
    table = photographs.with_name("unsplit.csv")
    lines = photographs.read_text().splitlines()
    table.write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n")
    run(plan(tmp_path / "out", table, ["bce", "asl"], rate=0.1, seeds=2))
    runs = sorted((tmp_path / "out").rglob("seed-*"))
    splits = [
        tuple(tuple(part.images) for part in Run.open(folder).split_data()) for folder in runs
    ]
    assert len(splits) == 4
    assert len(set(splits)) == 1
    assert [len(images) for images in splits[0]] == [27, 3]


def test_what_was_damaged_names_its_file(tmp_path, photographs):
    what = plan(tmp_path / "out", photographs, ["bce"], "schedule.epochs=1", seeds=1)
    run(what)
    (scores,) = what.folder.rglob("scores.npz")
    for kept in (*what.folder.rglob("*.json"), scores):
        before = kept.read_bytes()
        for content in (b"", b"{}", b"[]", b"\xff", b"PK\x03\x04", b"[" * 100_000, before[:-9]):
            kept.write_bytes(content)
            with pytest.raises(TwlError, match="is damaged") as error:
                run(what)
            assert str(error.value).startswith(str(kept))
        kept.write_bytes(before)
