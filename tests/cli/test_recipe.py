from pathlib import Path

import pytest
from typer.testing import CliRunner

from twlcli.annotations.read_options import DEFAULTS
from twlcli.cli.app import app
from twlcli.cli.recipe_options import resolved_recipe
from twlcli.errors import RecipeError
from twlcli.model.bundled import recipe_file, recipe_files
from twlcli.recipe import (
    Recipe,
    describe_in_markdown,
    describe_in_text,
    describe_in_toml,
    portable_tables,
    read_recipe,
)


def invoke(*arguments: str | Path):
    return CliRunner().invoke(app, list(map(str, arguments)))


def printed(*arguments: str | Path):
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def resolved(*settings: str, recipe: str | None = None, **flags) -> Recipe:
    return resolved_recipe(Path("photos.csv"), recipe, DEFAULTS, flags, list(settings))


def test_show_prints_every_key_and_so_does_the_help_of_train():
    assert printed("recipe", "show") == describe_in_text()
    assert printed("train", "--help-recipe") == describe_in_text()
    assert printed("train", "photos.csv", "--help-recipe") == describe_in_text()


def test_show_takes_a_name_a_file_and_a_run(tmp_path):
    file = recipe_file("shapes-small")
    expected = describe_in_text(read_recipe(file))
    assert "* size = 96  (default 224; " in expected
    assert printed("recipe", "show", "shapes-small") == expected
    assert printed("recipe", "show", file) == expected
    (tmp_path / "recipe.toml").write_text(read_recipe(file).to_toml(), "utf-8")
    assert printed("recipe", "show", tmp_path) == expected


def test_show_takes_a_model(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    from twlcli.labels import Vocabulary
    from twlcli.model.preprocessing import Preprocessing
    from twlcli.model.spec import SPEC_KEY, ModelSpec

    recipe = Recipe().with_settings(["train.seed=7"])
    for name, provenance in (("new", {"recipe": portable_tables(recipe)}), ("old", {})):
        spec = ModelSpec(Vocabulary(("a",)), "x", Preprocessing(), provenance=provenance)
        path = tmp_path / f"{name}.safetensors"
        save_file({"x": torch.zeros(1)}, path, metadata={SPEC_KEY: spec.to_json()})
    assert printed("recipe", "show", tmp_path / "new.safetensors") == describe_in_text(recipe)
    refused = invoke("recipe", "show", tmp_path / "old.safetensors")
    assert refused.exit_code == 2
    assert "old.safetensors: carries no recipe" in refused.stderr


def test_show_takes_an_exported_model():
    refused = invoke("recipe", "show", recipe_file("shapes-small").with_name("model.onnx"))
    assert refused.exit_code == 2
    assert "model.onnx: carries no recipe" in refused.stderr


def test_show_as_toml_is_a_recipe_to_start_from(tmp_path):
    assert printed("recipe", "show", "--toml") == describe_in_toml()
    text = printed("recipe", "show", "shapes-small", "--toml")
    (tmp_path / "mine.toml").write_text(text, "utf-8")
    assert read_recipe(tmp_path / "mine.toml") == read_recipe(recipe_file("shapes-small"))


def test_show_as_markdown_is_about_recipes_in_general():
    assert printed("recipe", "show", "--markdown") == describe_in_markdown()
    for others in (["shapes-small"], ["--toml"]):
        refused = invoke("recipe", "show", "--markdown", *others)
        assert refused.exit_code == 2
        assert "--markdown" in refused.stderr


def test_show_refuses_what_is_not_there():
    refused = invoke("recipe", "show", "shapes-smal")
    assert refused.exit_code == 2
    assert "recipe 'shapes-smal' is neither a file nor a model of twl" in refused.stderr
    assert "did you mean 'shapes-small'?" in refused.stderr


def test_list_names_every_recipe_and_says_what_it_is_for():
    lines = printed("recipe", "list").splitlines()
    names = [line for line in lines if not line.startswith(" ")]
    assert names == [file.parent.name for file in recipe_files()]
    assert max(map(len, lines)) <= 80
    assert any("PASCAL VOC2007" in line for line in lines)


def test_flags_and_settings_are_merged_and_settings_count():
    recipe = resolved("image.resize=440", "schedule.epochs=3", size=384, epochs=5)
    assert (recipe.image.size, recipe.image.resize, recipe.schedule.epochs) == (384, 440, 3)
    assert recipe.data.path == str(Path("photos.csv").resolve())
    recipe = resolved("loss.clip=0.1", loss="asl")
    assert recipe.loss.options["clip"] == 0.1


def test_size_brings_the_resize_that_goes_with_it():
    assert resolved(size=96).image.resize == 110
    assert resolved(size=96, recipe="shapes-small").image.resize == 110
    assert resolved(recipe="shapes-small").image.resize == 96


@pytest.mark.parametrize(
    ("settings", "flags", "message"),
    [
        (["schedule.epochs=0"], {}, "--set schedule.epochs=0: schedule.epochs is 0, expected"),
        (["train.seed=1"], {"epochs": 0}, "--epochs: schedule.epochs is 0, expected"),
        (["epochs=1"], {}, "--set epochs=1: expected section.key=value"),
        (["loss.clip=0.1"], {"loss": "bce"}, "--set loss.clip=0.1: 'clip' is not an option of"),
        ([], {"loss": "bec"}, '--loss: loss.name is "bec", which is not a loss; did you mean'),
        (["image.resize=99"], {"size": 100}, "--set image.resize=99: image.resize is 99, expec"),
    ],
)
def test_errors_name_the_flag_or_setting(settings, flags, message):
    with pytest.raises(RecipeError) as error:
        resolved(*settings, **flags)
    assert str(error.value).startswith(message)
