import pytest

from twlcli.errors import RecipeError
from twlcli.loss_defaults import LOSS_DEFAULTS, checked_option, defaults_of, suitable_rate


@pytest.mark.parametrize("loss", LOSS_DEFAULTS)
def test_own_defaults_are_options_that_fit(loss):
    for key, value in LOSS_DEFAULTS[loss].options.items():
        if value is not None:
            assert checked_option(loss, key, value, "here") == value
    assert 0 < LOSS_DEFAULTS[loss].learning_rate < 1


@pytest.mark.parametrize(
    ("loss", "key", "value", "message"),
    [
        ("asl", "clip", 1, "here: loss.clip is 1, expected a number from 0 to 1"),
        ("asl", "clip", True, "here: loss.clip is True, expected a number from 0 to 1"),
        ("asl", "gamma_negative", "4", "here: loss.gamma_negative is '4', expected a number"),
        ("asl", "focus_gradient", 1, "here: loss.focus_gradient is 1, expected true or false"),
        ("bce", "reduction", "mena", "here: loss.reduction is 'mena', expected image, mean, sum"),
        ("two-way", "margins", 1, "'margins' is not an option of the loss 'two-way'; did you mean"),
        ("zlpr", "gamma", 1, "'gamma' is not an option of the loss 'zlpr' (it has none)"),
    ],
)
def test_option_that_does_not_fit_is_refused(loss, key, value, message):
    with pytest.raises(RecipeError) as error:
        checked_option(loss, key, value, "here")
    assert message in str(error.value)


def test_unknown_loss_is_refused_with_a_hint():
    with pytest.raises(
        RecipeError, match=r"^here is 'asll', which is not a loss; did you mean 'asl'"
    ):
        defaults_of("asll", "here")
    with pytest.raises(RecipeError, match=r"not a loss \(two-way, sample-wise, "):
        defaults_of("quite other")


def test_rate_follows_what_a_loss_is_a_mean_over():
    rate = LOSS_DEFAULTS["bce"].learning_rate
    known = {"labels": 80, "batch_size": 64}
    assert suitable_rate("bce", {"reduction": "image"}, **known) == rate
    assert suitable_rate("bce", {"reduction": "mean"}, **known) == rate * 80
    assert suitable_rate("bce", {"reduction": "sum"}, **known) == rate / 64
    assert suitable_rate("two-way", {}, **known) == LOSS_DEFAULTS["two-way"].learning_rate


@pytest.mark.parametrize(("batch_size", "factor"), [(16, 0.5), (64, 1), (256, 2), (512, 2)])
def test_rate_grows_with_the_root_of_the_batch_as_far_as_measured(batch_size, factor):
    rate = suitable_rate("asl", {}, labels=80, batch_size=batch_size)
    assert rate == pytest.approx(factor * LOSS_DEFAULTS["asl"].learning_rate)
