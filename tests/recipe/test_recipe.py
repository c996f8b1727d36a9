import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twlcli.errors import RecipeError
from twlcli.model.bundled import recipe_files
from twlcli.model.spec import MAX_SIZE
from twlcli.recipe import (
    DataRecipe,
    ImageRecipe,
    LossRecipe,
    Recipe,
    ScheduleRecipe,
    Setting,
    read_recipe,
    recipe,
    suitable_batch_size,
    suitable_rate,
)
from twlcli.recipe.losses import WarpRecipe
from twlcli.versions import FileFormat, Rename

RESOLVED_0_1_0 = Path(__file__).parent / "recipe-0.1.0.toml"  # written by that version


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(*settings: str | Setting) -> str:
    with pytest.raises(RecipeError) as error:
        Recipe().with_settings(settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_toml_round_trip_keeps_every_key(tmp_path):
    changed = Recipe().with_settings(
        [
            'data.path=C:\\photos "new"\\ü.csv',
            "optimizer.weight_decay=0",
            "train.compile=true",
            "image.interpolation=bicubic",
            "augment.max_stretch=1.5",
        ]
    )
    assert changed.data.path == 'C:\\photos "new"\\ü.csv'
    assert changed.optimizer.weight_decay == 0.0
    assert changed.train.compile is True
    assert read_recipe(write(tmp_path, changed.to_toml())) == changed


@given(path=st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_survives_toml(path):
    changed = Recipe().with_values({"data": {"path": path}})
    assert Recipe.from_toml(changed.to_toml(), place="here") == changed


@given(
    decay=st.floats(0, 1000), flip=st.floats(0, 1), seed=st.integers(0, 2**63 - 1), on=st.booleans()
)
def test_every_number_survives_toml(decay, flip, seed, on):
    tables = {
        "optimizer": {"weight_decay": decay},
        "augment": {"flip": flip},
        "train": {"seed": seed, "compile": on},
    }
    changed = Recipe().with_values(tables)
    assert Recipe.from_toml(changed.to_toml(), place="here") == changed


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
        ("schedule.epochs=2.5", "schedule.epochs is 2.5, expected a whole number from 1 to 10000"),
        ("schedule.epochs=ten", 'schedule.epochs is "ten", expected a whole number from 1 to 100'),
        ("schedule.epochs=0", "schedule.epochs is 0, expected a whole number from 1 to 1000000"),
        ("schedule.epochs=true", "schedule.epochs is true, expected a whole number"),
        ("train.compile=1", "train.compile is 1, expected true or false"),
        ("model.backbone=18", "model.backbone is 18, expected text"),
        ("data.path=a\udcff", 'data.path is "a\udcff", expected text of valid Unicode'),
        ("data.holdout=1", "data.holdout is 1, expected a number above 0 and below 1"),
        ("optimizer.name=sgdd", "is \"sgdd\", expected sgd or adamw; did you mean 'sgd'?"),
        ("image.resize=100", "image.resize is 100, expected a whole number from 224 to 8192"),
        ("image.size=7", "image.size is 7, expected a whole number from 8 to 4096"),
        (f"image.size={10**400}", "expected a whole number from 8 to 4096"),
        ("epochs=2", "expected section.key=value"),
        ("schedule.epochs", "expected section.key=value"),
        (".epochs=2", "expected section.key=value"),
        ("schedule.=2", "expected section.key=value"),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate is nan, expected a number from 0"),
        ("optimizer.learning_rate=inf", "optimizer.learning_rate is inf, expected a number from 0"),
        ("loss.name=asll", "loss.name is \"asll\", which is not a loss; did you mean 'asl'?"),
        ("loss.name=quite-other", "which is not a loss (two-way, sample-wise, class-wise, "),
        ("loss.name=3", "loss.name is 3, which is not a loss (two-way, "),
        ("loss.name=[1]", "loss.name is [1], which is not a loss (two-way, "),
        ("loss.clip=0.1", "'clip' is not an option of the loss 'two-way' (it has positive_temp"),
    ],
)
def test_settings_that_do_not_fit_are_refused(setting, message):
    assert refusal(setting).startswith(f"{setting}: ")
    assert message in refusal(setting)


def test_errors_name_the_setting_that_is_wrong():
    bad = Setting("schedule", "epochs", 0, "--epochs")
    good = Setting("schedule", "batch_size", 64, "--batch-size")
    for settings in ([bad, good], [good, bad]):
        assert refusal(*settings).startswith("--epochs: schedule.epochs is 0, expected")
    named = [Setting.parse("loss.name=asl", place="--loss"), Setting.parse("loss.clip=1")]
    assert refusal(*named).startswith("loss.clip=1: loss.clip is 1, expected")
    small = [Setting.parse("image.resize=300"), Setting.parse("image.size=384")]
    assert refusal(*small).startswith("image.resize=300: image.resize is 300, expected a whole num")
    assert refusal("optimiser.name=sgd", good).startswith("optimiser.name=sgd: no section")


@pytest.mark.parametrize(
    "settings",
    [
        ("image.size=384", "image.resize=440"),
        ("loss.clip=0.1", "loss.name=asl", "loss.gamma_negative=2"),
        ("loss.class_scope=local", "loss.name=bce", "image.resize=400", "image.size=300"),
    ],
)
def test_the_order_of_settings_means_nothing(settings):
    first, *others = [Recipe().with_settings(order) for order in itertools.permutations(settings)]
    assert first != Recipe()
    assert all(other == first for other in others)


def test_of_two_settings_for_a_key_the_last_counts():
    settings = ["schedule.epochs=ten", "schedule.epochs=2", "schedule.epochs=3"]
    assert Recipe().with_settings(settings).schedule.epochs == 3
    last = [Setting("train", "seed", 1, "--seed"), Setting("train", "seed", -1, "--set")]
    assert refusal(*last).startswith("--set: train.seed is -1")


@given(size=st.integers(8, 4096))
def test_resize_follows_a_size_that_is_given_alone(size):
    resize = round(size * 8 / 7)
    base = Recipe().with_settings(["image.size=100", "image.resize=100"])
    assert base.with_values({"image": {"size": size}}).image.resize == resize
    assert ImageRecipe(size=size).resize == resize
    text = f"[image]\nsize = {size}\n"
    assert Recipe.from_toml(text, place="here").image.resize == resize
    both = {"image": {"size": size, "resize": size}}
    assert base.with_values(both).image.resize == size


def test_largest_image_of_a_recipe_is_the_largest_of_a_model():
    assert refusal(f"image.resize={MAX_SIZE + 1}").endswith(f" to {MAX_SIZE}")


def test_size_stays_where_another_key_of_its_section_changes():
    base = Recipe().with_settings(["image.size=96", "image.resize=96"])
    image = base.with_values({"image": {"interpolation": "bicubic"}}).image
    assert (image.size, image.resize) == (96, 96)


def test_with_values_is_checked_and_leaves_the_recipe_as_it_is():
    base = Recipe()
    changed = base.with_values({"schedule": {"epochs": 3}, "train": {"seed": 7}})
    assert (changed.schedule.epochs, changed.train.seed, base.schedule.epochs) == (3, 7, 40)
    with pytest.raises(RecipeError, match=r"^schedule.epochs is 0, expected a whole number"):
        base.with_values({"schedule": {"epochs": 0}})
    with pytest.raises(RecipeError, match=r"^here: no section 'shedule' in a recipe; did you"):
        base.with_values({"shedule": {}}, place="here")
    with pytest.raises(RecipeError, match=r"^'train' is a section, expected \[train\]$"):
        base.with_values({"train": 3})
    with pytest.raises(RecipeError, match=r"^'loss' is a section, expected \[loss\]$"):
        base.with_values({"loss": "asl"})


def test_sections_made_by_hand_are_checked_in_one_line():
    assert Recipe(data=DataRecipe(path="a.csv")).data.path == "a.csv"
    for make in (
        lambda: ScheduleRecipe(epochs=0),
        lambda: Recipe.model_validate({"schedule": {"epochs": 0}}),
    ):
        with pytest.raises(RecipeError) as error:
            make()
        assert str(error.value) == (
            "schedule.epochs is 0, expected a whole number from 1 to 1000000"
        )


def test_another_loss_brings_its_own_options(tmp_path):
    base = Recipe().with_settings(["loss.positive_temperature=2", "loss.class_scope=local"])
    assert base.loss.options["positive_temperature"] == 2.0
    same = base.with_settings(["loss.name=two-way"])
    assert same == base
    other = base.with_values({"loss": {"name": "focal", "gamma": 1}})
    assert isinstance(other.loss, LossRecipe)
    assert other.loss.class_scope == "local"
    assert other.loss.options == {"gamma": 1.0, "alpha": None, "reduction": "image"}
    assert read_recipe(write(tmp_path, other.to_toml())) == other
    with pytest.raises(RecipeError, match=r"^here: 'gamma' is not an option of the loss 'two-way'"):
        base.with_values({"loss": {"gamma": 1}}, place="here")


def test_what_a_recipe_leaves_open_is_suited_to_data_and_loss():
    base = Recipe().with_settings(["loss.name=warp"])
    suited = base.suited(images=20_000, labels=80)
    assert suited.schedule.batch_size == 128
    expected = suitable_rate(WarpRecipe(), labels=80, batch_size=128)
    assert suited.optimizer.learning_rate == expected
    given = base.with_settings(["optimizer.learning_rate=0.5", "schedule.batch_size=7"])
    assert given.suited(images=20_000, labels=80) == given


@pytest.mark.parametrize(
    ("images", "batch_size"),
    [(2, 64), (99, 64), (6_400, 64), (12_799, 64), (12_800, 128), (51_200, 512), (10**6, 512)],
)
def test_suitable_batch_size_leaves_a_hundred_batches(images, batch_size):
    assert suitable_batch_size(images) == batch_size


def test_read_recipe_names_the_file(tmp_path):
    with pytest.raises(RecipeError, match=r"recipe\.toml: not a TOML recipe"):
        read_recipe(write(tmp_path, "[schedule\n"))
    with pytest.raises(RecipeError, match=r"recipe\.toml: 'data' is a section"):
        read_recipe(write(tmp_path, "data = 3\n"))
    with pytest.raises(RecipeError, match=r"recipe\.toml: no section 'epochs' in a recipe"):
        read_recipe(write(tmp_path, "epochs = 3\n"))
    with pytest.raises(RecipeError, match=r"recipe\.toml: no section 'traning'.*'train'"):
        read_recipe(write(tmp_path, "[traning]\n"))
    with pytest.raises(RecipeError, match=r"recipe\.toml: schedule\.epochs is 0, expected a wh"):
        read_recipe(write(tmp_path, "[schedule]\nepochs = 0\n"))
    with pytest.raises(RecipeError, match=r"cannot read the recipe"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "recipe.toml").write_bytes(b'[data]\npath = "\xff"\n')
    with pytest.raises(RecipeError, match=r"recipe\.toml: not a TOML recipe .*utf-8"):
        read_recipe(tmp_path / "recipe.toml")


def test_toml_begins_with_the_version():
    assert Recipe().to_toml().startswith("version = 1\n\n[data]\n")


def test_recipe_that_twl_0_1_0_resolved_is_read():
    expected = Recipe().with_values(
        {"data": {"path": "/home/kim/photos/labels.csv", "images": "/home/kim/photos/images"}}
    )
    read = read_recipe(RESOLVED_0_1_0)
    assert read == expected.suited(images=5000, labels=20)
    written = RESOLVED_0_1_0.read_text("utf-8")
    later = (
        "join_rows = false\n",
        *(f'{key}_column = ""\n' for key in ("image", "labels", "split", "group")),
        *(f'{key}_columns = ""\n' for key in ("label", "ignore")),
        *("ignore_labels = []\n", 'blank = "auto"\n', 'minus_one = "auto"\n'),
        *(
            'extension = ""\n',
            'names = ""\n',
            'val_data = ""\n',
            'test_data = ""\n',
            'corrections = ""\n',
            'splits = ""\n',
            "min_images = 0\n",
            "people = false\n",
            "own_keywords = false\n",
            "missing_positives = 0.0\n",
            "mean = [0.485, 0.456, 0.406]\n",
            "std = [0.229, 0.224, 0.225]\n",
            'head = "linear"\n',
            "rand_augment = 0\n",
            "magnitude = 9\n",
            "erasing = 0.0\n",
            "layer_decay = 1.0\n",
        ),
        "save_minutes = 10.0\n",
        "checkpoint_activations = false\n",
        "sync_batch_norm = false\n",
        "frozen = false\n",
        "\n[frozen]\nviews = 1\nfolds = 5\npenalty = 0.0\ntolerance = 0.0003\n",
    )  # keys that it did not have
    text = read.to_toml()
    for line in later:
        assert line in text
        text = text.replace(line, "")
    assert text == f"version = 1\n\n{written}"  # no key was lost


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[loss]\ntilt = 1\n[run]\nspeed = 3\n[train]\nseed = 1\n",
            "here: written by a newer twl (recipe version 3; this one reads 1); "
            "unknown keys: loss.tilt, run; upgrade twlcli",
        ),
        (
            '[loss]\nname = "four-way"\ntilt = 1\n[train]\nsed = 1\n',
            "here: written by a newer twl (recipe version 3; this one reads 1); "
            "unknown keys: train.sed; upgrade twlcli",
        ),
        (
            '[optimizer]\nname = "lion"\n',
            'here: optimizer.name is "lion", expected sgd or adamw; written by a newer twl '
            "(recipe version 3; this one reads 1); upgrade twlcli",
        ),
    ],
)
def test_recipe_of_a_newer_twl_says_what_is_not_known(text, message):
    with pytest.raises(RecipeError) as error:
        Recipe.from_toml(f"version = 3\n{text}", place="here")
    assert str(error.value) == message


def test_recipe_of_a_newer_twl_is_read_where_all_of_its_keys_are_known():
    read = Recipe.from_toml("version = 3\n[train]\nseed = 1\n", place="here")
    assert read == Recipe().with_settings(["train.seed=1"])


@pytest.mark.parametrize("version", ["-1", "1.0", '"1"', "true", "[1]"])
def test_version_that_is_none_is_refused(version):
    with pytest.raises(RecipeError, match=r"^here: version is .*, expected a whole number$"):
        Recipe.from_toml(f"version = {version}\n", place="here")


def test_keys_of_an_older_version_are_read_under_their_new_names(monkeypatch):
    renames = (Rename(2, "train.rate", "optimizer.learning_rate"),)
    monkeypatch.setattr(recipe, "RECIPE_FORMAT", FileFormat("recipe", 2, renames))
    for version in ("", "version = 1\n"):
        read = Recipe.from_toml(f"{version}[train]\nrate = 0.5\nseed = 2\n", place="here")
        assert (read.optimizer.learning_rate, read.train.seed) == (0.5, 2)
    assert read.to_toml().startswith("version = 2\n")
    with pytest.raises(RecipeError, match=r"^here: no key 'rate' in \[train\]"):
        Recipe.from_toml("version = 2\n[train]\nrate = 0.5\n", place="here")
    both = "[train]\nrate = 0.5\n[optimizer]\nlearning_rate = 0.1\n"
    with pytest.raises(RecipeError, match=r"^here: has 'optimizer\.learning_rate' and also 'train"):
        Recipe.from_toml(both, place="here")


@pytest.mark.parametrize("file", recipe_files(), ids=lambda file: file.parent.name)
def test_recipes_that_come_with_twl_are_read_and_described(file):
    read = read_recipe(file)
    assert not read.data.path
    assert read.model.weights in ("default", "none")
    assert f"--recipe {file.parent.name}" in (file.parent / "CARD.md").read_text("utf-8")


def test_lists_of_texts():
    recipe = Recipe().with_settings(['data.ignore_labels=["a \\"b", "c"]'])
    assert recipe.data.ignore_labels == ('a "b', "c")
    assert Recipe.from_toml(recipe.to_toml(), place="x") == recipe
    assert Recipe().with_settings(["data.ignore_labels=No Finding"]).data.ignore_labels == (
        "No Finding",
    )
    with pytest.raises(RecipeError, match="ignore_labels is 3, expected a list of texts"):
        Recipe().with_settings(["data.ignore_labels=3"])
    with pytest.raises(RecipeError, match="expected a list of texts"):
        Recipe().with_settings(["data.ignore_labels=[3]"])


def test_splits_that_are_numbers():
    data = Recipe().with_settings(["data.train_split=0,1", "data.validation_split=2"]).data
    assert (data.train_split, data.validation_split) == ("0,1", "2")
