from pathlib import Path

import pytest

from twlcli.errors import RecipeError
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
