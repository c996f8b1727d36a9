import inspect

import pytest

from twlcli.errors import RecipeError
from twlcli.recipe import LOSS_NAMES, LOSS_RECIPES, Recipe, suitable_rate
from twlcli.recipe.losses import BceRecipe, TwoWayRecipe

LOSSES = pytest.importorskip("twlcli.losses").LOSSES


def test_names_are_those_of_the_functions():
    assert list(LOSS_NAMES) == list(LOSS_RECIPES) == list(LOSSES)


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_options_are_the_functions_and_so_are_their_defaults_unless_a_reason_is_given(name):
    parameters = list(inspect.signature(LOSSES[name]).parameters.values())[2:]
    of_ranks = ("class_scope", "group")  # the run knows them, they are no options of the loss
    function = {each.name: each.default for each in parameters if each.name not in of_ranks}
    loss = LOSS_RECIPES[name]()
    assert loss.options.keys() == function.keys()
    differing = {key for key, value in loss.options.items() if value != function[key]}
    assert loss.differs.keys() == differing
    for key, differs in loss.differs.items():
        assert differs.function == function[key]
        assert differs.reason


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_defaults_fit_their_own_ranges(name):
    loss = LOSS_RECIPES[name]
    options = {key: value for key, value in loss().options.items() if value is not None}
    assert Recipe().with_values({"loss": {"name": name, **options}}).loss == loss()
    assert 0 < loss.learning_rate < 1


@pytest.mark.parametrize(
    ("loss", "key", "value", "message"),
    [
        ("asl", "clip", 1, "loss.clip is 1, expected a number from 0 to below 1"),
        ("asl", "clip", True, "loss.clip is true, expected a number from 0 to below 1"),
        ("asl", "gamma_negative", "4", 'loss.gamma_negative is "4", expected a number from 0'),
        ("asl", "focus_gradient", 1, "loss.focus_gradient is 1, expected true or false"),
        ("bce", "reduction", "mena", 'loss.reduction is "mena", expected image, mean or sum; did'),
        ("focal", "alpha", 2, "loss.alpha is 2, expected a number from 0 to 1"),
        ("rml", "ramp", 1, "loss.ramp is 1, expected a number from -1e+06 to below 1"),
        ("two-way", "margins", 1, "'margins' is not an option of the loss 'two-way'; did you mean"),
        ("two-way", "class_scop", "local", "'two-way'; did you mean 'class_scope'?"),
        ("zlpr", "gamma", 1, "'gamma' is not an option of the loss 'zlpr' (it has none)"),
    ],
)
def test_option_that_does_not_fit_is_refused(loss, key, value, message):
    with pytest.raises(RecipeError) as error:
        Recipe().with_values({"loss": {"name": loss, key: value}}, place="here")
    assert str(error.value).startswith("here: ")
    assert message in str(error.value)


def test_rate_follows_what_a_loss_is_a_mean_over():
    rate = BceRecipe.learning_rate
    known = {"labels": 80, "batch_size": 64}
    assert suitable_rate(BceRecipe(reduction="image"), **known) == rate
    assert suitable_rate(BceRecipe(reduction="mean"), **known) == rate * 80
    assert suitable_rate(BceRecipe(reduction="sum"), **known) == rate / 64
    assert suitable_rate(TwoWayRecipe(), **known) == TwoWayRecipe.learning_rate


@pytest.mark.parametrize(("batch_size", "factor"), [(16, 0.5), (64, 1), (256, 2), (512, 2)])
def test_rate_grows_with_the_root_of_the_batch_as_far_as_measured(batch_size, factor):
    loss = LOSS_RECIPES["asl"]()
    rate = suitable_rate(loss, labels=80, batch_size=batch_size)
    assert rate == pytest.approx(factor * loss.learning_rate)
