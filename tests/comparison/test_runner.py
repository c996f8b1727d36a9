import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twlcli.comparison import runner as module
from twlcli.comparison.plan import Contest, contenders_of
from twlcli.comparison.runner import compare
from twlcli.errors import RecipeError, TwlError
from twlcli.model.torch import pick_device
from twlcli.recipe import Recipe
from twlcli.recipe.recipe import RECIPE_FORMAT
from twlcli.runs.run_folder import InterruptedRunError
from twlcli.training.devices import Ranks
from twlcli.training.trainer import DivergedError, Trainer, TrainStart

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


class Listener:
    """Notes what a comparison tells."""

    def __init__(self) -> None:
        self.trained: list[tuple[str, str]] = []
        self.ended: list[tuple[str, str]] = []

    def training_began(self, contender: str, what: str, epochs: int) -> None:
        self.trained.append((contender, what))

    def training_ended(self, contender: str, what: str, scores: Mapping[str, float]) -> None:
        self.ended.append((contender, what))

    def began(self, start: TrainStart) -> None:
        assert start.training + start.validation <= 30

    def epoch_began(self, epoch: int, steps: int, first: int) -> None: ...

    def step_ended(self, images: int, loss: float | None) -> None: ...

    def validated(self, done: int) -> None: ...

    def epoch_ended(self, record: dict[str, Any], best: bool) -> None: ...


def contest(
    folder: Path, table: Path, losses: list[str], *, rate: float | None = None, seeds: int = 1
) -> Contest:
    base = Recipe().with_settings([f"data.path={table}", *SMALL])
    return Contest(folder, contenders_of(base, losses, {}), tuple(range(seeds)), rate)


def run(what: Contest, should_stop=lambda: False):
    listener = Listener()
    return compare(what, Ranks(pick_device("cpu")), listener, should_stop), listener


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
    outcomes, _ = run(contest(tmp_path / "out", photographs, ["bce", "asl"], rate=0.1, seeds=2))
    assert [outcome.contender.name for outcome in outcomes] == ["bce", "asl"]
    assert [len(outcome.runs) for outcome in outcomes] == [2, 2]
    assert all(outcome.learning_rate == 0.1 and not outcome.rates for outcome in outcomes)
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
    what = contest(tmp_path / "out", photographs, ["bce"])
    suited = what.contenders[0].recipe.suited(images=20, labels=3)

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
    monkeypatch.setattr(module._Training, "finished", lambda *_: None)
    (outcome,), listener = run(what)
    assert threes(outcome.learning_rate) == 2
    assert [threes(rate) for rate, _ in outcome.rates] == [-1, 0, 1, 2, 3]
    assert np.isnan(outcome.rates[0][1])
    table = photographs.read_text().splitlines()[1:]
    in_training = {line.split(",")[0] for line in table if line.endswith("train")}
    assert all(images == in_training for images in seen)
    again, second = run(what)
    assert again[0].rates[1:] == outcome.rates[1:]
    assert not second.trained
    assert second.ended == listener.ended


def test_interrupted_comparison_goes_on(tmp_path, photographs):
    what = contest(tmp_path / "out", photographs, ["bce", "softmax"], rate=0.1)
    asked = iter([False, False, False, True])
    with pytest.raises(InterruptedRunError):
        run(what, lambda: next(asked))
    assert (tmp_path / "out/softmax/0.1/seed-0/state.pt").exists()
    _, listener = run(what)
    assert listener.trained == [("softmax", "seed 0")]
    assert listener.ended == [("bce", "seed 0"), ("softmax", "seed 0")]
    assert not list((tmp_path / "out").rglob("state.pt"))
    whole = contest(tmp_path / "whole", photographs, ["softmax"], rate=0.1)
    run(whole)
    name = "softmax/0.1/seed-0/scores.npz"
    with np.load(tmp_path / "out" / name) as one, np.load(tmp_path / "whole" / name) as other:
        np.testing.assert_allclose(one["logits"], other["logits"], rtol=1e-4, atol=1e-5)


def test_runs_of_another_recipe_are_refused(tmp_path, photographs):
    run(contest(tmp_path / "out", photographs, ["bce"], rate=0.1))
    base = Recipe().with_settings([f"data.path={photographs}", *SMALL, "image.size=24"])
    other = Contest(tmp_path / "out", contenders_of(base, ["bce"], {}), (0,), 0.1)
    with pytest.raises(TwlError, match=r"seed-0: was trained with image.size = 32; choose"):
        run(other)


def test_what_twl_0_1_0_trained_is_not_trained_again(tmp_path, photographs):
    what = contest(tmp_path / "out", photographs, ["bce"])
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
    what = contest(tmp_path / "out", photographs, ["bce"], rate=0.1)
    run(what)
    file = tmp_path / "out/bce/0.1/seed-0/recipe.toml"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith("batch_size")))
    with pytest.raises(TwlError, match=r"seed-0: was trained with schedule.batch_size = 0; ch"):
        run(what)


def test_validation_images_that_twl_held_out_are_the_same_for_all(tmp_path, photographs):
    table = photographs.with_name("unsplit.csv")
    lines = photographs.read_text().splitlines()
    table.write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n")
    outcomes, _ = run(contest(tmp_path / "out", table, ["bce", "asl"], rate=0.1, seeds=2))
    splits = [
        tuple(part.images for part in each.split_data())
        for outcome in outcomes
        for each in outcome.runs
    ]
    assert len(splits) == 4
    assert len(set(splits)) == 1
    assert [len(images) for images in splits[0]] == [27, 3]


def test_contenders_are_the_losses_with_the_settings_that_they_take():
    grid = {"loss.positive_temperature": ["1", "2"], "schedule.batch_size": ["16"]}
    contenders = contenders_of(Recipe(), ["two-way", "bce"], grid)
    assert [contender.name for contender in contenders] == [
        "two-way positive_temperature=1 batch_size=16",
        "two-way positive_temperature=2 batch_size=16",
        "bce batch_size=16",
    ]
    assert contenders[1].recipe.loss.options["positive_temperature"] == 2.0
    with pytest.raises(RecipeError, match=r"--grid loss.gamma: none of the losses two-way, bce"):
        contenders_of(Recipe(), ["two-way", "bce"], {"loss.gamma": ["1"]})
    for key in ("data.unlabelled", "optimizer.learning_rate", "train.seed"):
        with pytest.raises(RecipeError, match=rf"--grid {key}: a comparison has the same"):
            contenders_of(Recipe(), ["bce"], {key: ["1"]})
    with pytest.raises(
        RecipeError, match=r'loss.positive_temperature is "warm", expected a number'
    ):
        contenders_of(Recipe(), ["two-way"], {"loss.positive_temperature": ["warm"]})


def test_loss_of_the_base_keeps_its_options():
    base = Recipe().with_settings(["loss.positive_temperature=2"])
    two_way, bce = contenders_of(base, ["two-way", "bce"], {})
    assert two_way.recipe.loss.options["positive_temperature"] == 2.0
    assert "positive_temperature" not in bce.recipe.loss.options
    assert json.loads(json.dumps(dict(bce.recipe.loss.options)))["reduction"] == "image"
