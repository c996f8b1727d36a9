import itertools
from pathlib import Path

import pytest

from twlcli.model.bundled import recipe_files
from twlcli.recipe import (
    LOSS_RECIPES,
    Recipe,
    describe_in_markdown,
    describe_in_text,
    describe_in_toml,
    read_recipe,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "recipe.md"
EVERY_KEY = {key.partition(".")[2] for key in Recipe().values()} | {
    option for loss in LOSS_RECIPES.values() for option in loss.option_names()
}


def test_every_key_has_a_sentence():
    for section in (*dict(Recipe()).values(), *(loss() for loss in LOSS_RECIPES.values())):
        assert (type(section).__doc__ or "").endswith(".")
        fields = type(section).model_fields
        for name in fields.keys() - {"name", "class_scope"}:
            assert (fields[name].description or "").endswith("."), name


def test_page_of_the_documentation_is_up_to_date():
    assert PAGE.read_text("utf-8") == describe_in_markdown(), (
        "run: twl recipe show --markdown > docs/recipe.md"
    )


def test_page_has_every_key_and_loss():
    page = describe_in_markdown()
    for key in EVERY_KEY:
        assert f"\n| `{key}` | `" in page
    for loss in LOSS_RECIPES:
        assert f"\n### {loss}\n" in page


def test_text_has_every_key_in_80_columns():
    lines = describe_in_text().splitlines()
    assert max(map(len, lines)) <= 80
    for key in EVERY_KEY:
        assert any(line.startswith(f"  {key} = ") for line in lines), key
    assert "  size = 224  (a whole number from 8 to 4096)" in lines
    assert not any(line.startswith("*") for line in lines)


def test_text_of_a_recipe_marks_what_is_not_the_default():
    recipe = Recipe().with_settings(["image.size=384", "loss.name=asl", "loss.clip=0.1"])
    lines = describe_in_text(recipe).splitlines()
    marked = [line.split("  (")[0] for line in lines if line.startswith("*")]
    assert marked == ["* size = 384", "* resize = 439", '* name = "asl"', "* clip = 0.1"]
    assert "* size = 384  (default 224; a whole number from 8 to 4096)" in lines
    assert not any("positive_temperature" in line for line in lines)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        *(Recipe().with_settings([f"loss.name={name}"]) for name in LOSS_RECIPES),
        *map(read_recipe, recipe_files()),
    ],
)
def test_template_is_the_recipe_with_a_comment_at_every_key(recipe):
    text = describe_in_toml(recipe)
    assert Recipe.from_toml(text, place="here") == recipe
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    for above, line in itertools.pairwise(lines[2:]):
        assert not line or line.startswith(("#", "[")) or above.startswith("#"), line
