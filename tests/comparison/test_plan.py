import json
from pathlib import Path

import pytest

from twlcli.comparison.plan import DEFAULT_LOSSES, Grid, Plan, candidates_of, plan_comparison
from twlcli.errors import RecipeError, TwlError
from twlcli.recipe import Recipe

BASE = Recipe().with_values({"data": {"path": "/photos/labels.csv"}})


def planned(base: Recipe = BASE, **changes) -> Plan:
    options = {
        "losses": DEFAULT_LOSSES,
        "seeds": 3,
        "grid": {},
        "same_rate": False,
        "out": None,
        "limit": None,
    }
    return plan_comparison(base, **{**options, **changes})


def test_candidates_are_the_losses_with_the_settings_that_they_take():
    grid: Grid = {"loss.positive_temperature": ["1", 2.0], "schedule.batch_size": [16]}
    candidates = candidates_of(Recipe(), ["two-way", "bce"], grid)
    assert [candidate.name for candidate in candidates] == [
        "two-way positive_temperature=1 batch_size=16",
        "two-way positive_temperature=2.0 batch_size=16",
        "bce batch_size=16",
    ]
    assert candidates[0].recipe.loss.options["positive_temperature"] == 1.0
    assert candidates[1].recipe.loss.options["positive_temperature"] == 2.0
    assert {candidate.recipe.schedule.batch_size for candidate in candidates} == {16}


def test_values_of_a_grid_keep_their_types():
    first, second = candidates_of(Recipe(), ["two-way"], {"loss.anchor": [True, "false"]})
    assert (first.name, second.name) == ("two-way anchor=True", "two-way anchor=false")
    assert [each.recipe.loss.options["anchor"] for each in (first, second)] == [True, False]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"loss.gamma": [1]}, "loss.gamma: none of the losses two-way, bce has it"),
        ({"loss.positive_temperature": ["warm"]}, 'positive_temperature is "warm", expected a num'),
        ({"scheduel.epochs": [1]}, "no section 'scheduel' in a recipe"),
        *(
            ({key: ["1"]}, f"{key} cannot be compared: all candidates have the same data and seeds")
            for key in ("data.unlabelled", "optimizer.learning_rate", "train.seed")
        ),
    ],
)
def test_grids_that_do_not_fit_are_refused(grid, message):
    with pytest.raises(RecipeError, match=message):
        candidates_of(Recipe(), ["two-way", "bce"], grid)


def test_loss_of_the_base_keeps_its_options():
    base = Recipe().with_settings(["loss.positive_temperature=2"])
    two_way, bce = candidates_of(base, ["two-way", "bce"], {})
    assert two_way.recipe.loss.options["positive_temperature"] == 2.0
    assert "positive_temperature" not in bce.recipe.loss.options
    assert json.loads(json.dumps(bce.recipe.loss.options))["reduction"] == "image"


def test_a_plan_has_a_folder_of_its_data():
    plan = planned()
    assert plan.folder == Path("runs/compare-labels")
    assert plan.seeds == (0, 1, 2)
    assert plan.rate is None
    assert [candidate.name for candidate in plan.candidates] == list(DEFAULT_LOSSES)
    assert planned(out=Path("there")).folder == Path("there")


def test_a_dry_run_is_short_and_has_a_folder_of_its_own():
    assert planned(limit=50).folder == Path("runs/compare-labels-limit-50")
    plan = planned(limit=50, out=Path("runs/there"))
    assert plan.folder == Path("runs/there-limit-50")
    assert {candidate.recipe.schedule.epochs for candidate in plan.candidates} == {2}
    once = planned(BASE.with_settings(["schedule.epochs=1"]), limit=50)
    assert {candidate.recipe.schedule.epochs for candidate in once.candidates} == {1}


def test_one_rate_for_all_is_that_of_the_recipe():
    base = BASE.with_settings(["optimizer.learning_rate=0.03"])
    assert planned(base, same_rate=True).rate == 0.03
    assert planned(base).rate is None


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"same_rate": True}, "has none", "--same_rate requires --learning_rate"),
        ({"seeds": 0}, "of 0 seeds", "--seeds is at least 1"),
        ({"limit": 7}, "on 7 images", "--limit is at least 8"),
        ({"losses": ()}, "nothing to compare", "name a loss in --losses"),
        ({"losses": ("asll",)}, 'loss.name is "asll", which is not a loss', ""),
        ({"grid": {"loss.gamma": [1]}}, "loss.gamma: none", "leave it out of --grid"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, message, hint):
    with pytest.raises(TwlError, match=message) as refused:
        planned(**changes)
    assert refused.value.hinted("--{}".format) == hint
    assert "--" not in refused.value.message
