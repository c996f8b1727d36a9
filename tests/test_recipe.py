from pathlib import Path

import pytest

from twlcli.errors import RecipeError
from twlcli.loss_defaults import suitable_rate
from twlcli.model.bundled import models_folder
from twlcli.recipe import Recipe, read_recipe, suitable_batch_size


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_toml_round_trip_keeps_every_key(tmp_path):
    recipe = Recipe().with_settings(
        [
            'data.path=C:\\photos "new"\\ü.csv',
            "optimizer.weight_decay=0",
            "train.compile=true",
            "image.interpolation=bicubic",
            "augment.max_stretch=1.5",
        ]
    )
    assert recipe.data.path == 'C:\\photos "new"\\ü.csv'
    assert recipe.optimizer.weight_decay == 0.0
    assert recipe.train.compile is True
    assert read_recipe(write(tmp_path, recipe.to_toml())) == recipe


def test_read_recipe_fills_in_the_base(tmp_path):
    base = Recipe().with_settings(["schedule.epochs=3"])
    recipe = read_recipe(write(tmp_path, "[schedule]\nbatch_size = 64\n"), base=base)
    assert (recipe.schedule.epochs, recipe.schedule.batch_size) == (3, 64)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "optimizer.weight_decy=0",
            "no key 'weight_decy' in [optimizer]; did you mean 'weight_decay'?",
        ),
        (
            "optimiser.weight_decay=0",
            "no section 'optimiser' in a recipe; did you mean 'optimizer'?",
        ),
        ("schedule.epochs=2.5", "schedule.epochs is 2.5, expected int"),
        ("schedule.epochs=ten", 'schedule.epochs is "ten", expected int'),
        ("schedule.epochs=0", "schedule.epochs is 0, expected 1 to 1e+06"),
        ("train.compile=1", "train.compile is 1, expected bool"),
        ("optimizer.name=sgdd", "is 'sgdd', expected sgd or adamw; did you mean 'sgd'?"),
        ("image.resize=100", "image.resize is 100, expected 224 to 8192"),
        ("epochs=2", "expected section.key=value"),
        ("schedule.epochs", "expected section.key=value"),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate is nan, expected 0 to 1000"),
    ],
)
def test_settings_that_do_not_fit_are_refused(setting, message):
    with pytest.raises(RecipeError) as error:
        Recipe().with_settings([setting])
    assert str(error.value).startswith(f"--set {setting}: ")
    assert message in str(error.value)


def test_read_recipe_names_the_file(tmp_path):
    with pytest.raises(RecipeError, match=r"recipe\.toml: not a TOML recipe"):
        read_recipe(write(tmp_path, "[schedule\n"))
    with pytest.raises(RecipeError, match=r"recipe\.toml: 'data' is a section"):
        read_recipe(write(tmp_path, "data = 3\n"))
    with pytest.raises(RecipeError, match=r"cannot read the recipe"):
        read_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("images", "batch_size"),
    [(2, 64), (99, 64), (6_400, 64), (12_799, 64), (12_800, 128), (51_200, 512), (10**6, 512)],
)
def test_suitable_batch_size_leaves_a_hundred_batches(images, batch_size):
    assert suitable_batch_size(images) == batch_size


def test_another_loss_brings_its_own_options(tmp_path):
    recipe = Recipe().with_settings(["loss.positive_temperature=2", "loss.class_scope=local"])
    assert recipe.loss.options["positive_temperature"] == 2.0
    other = recipe.merged({"loss": {"name": "focal", "gamma": 1}}, place="here")
    assert other.loss.class_scope == "local"
    assert other.loss.options == {"gamma": 1.0, "alpha": None, "reduction": "image"}
    assert read_recipe(write(tmp_path, other.to_toml())) == other
    with pytest.raises(RecipeError, match=r"^here: 'gamma' is not an option of the loss 'two-way'"):
        recipe.merged({"loss": {"gamma": 1}}, place="here")
    with pytest.raises(RecipeError, match=r"loss.name is 'tow-way', which is not a loss; did you"):
        recipe.merged({"loss": {"name": "tow-way"}}, place="here")


def test_what_a_recipe_leaves_open_is_suited_to_data_and_loss():
    recipe = Recipe().with_settings(["loss.name=warp"])
    suited = recipe.suited(images=20_000, labels=80)
    assert suited.schedule.batch_size == 128
    expected = suitable_rate("warp", {}, labels=80, batch_size=128)
    assert suited.optimizer.learning_rate == expected
    given = recipe.with_settings(["optimizer.learning_rate=0.5", "schedule.batch_size=7"])
    assert given.suited(images=20_000, labels=80) == given


@pytest.mark.parametrize(
    "file", sorted(models_folder().glob("*/recipe.toml")), ids=lambda file: file.parent.name
)
def test_recipes_that_come_with_twl_are_read_and_described(file):
    recipe = read_recipe(file)
    assert not recipe.data.path
    assert recipe.model.weights in ("default", "none")
    assert f"--recipe {file.parent.name}" in (file.parent / "CARD.md").read_text("utf-8")
