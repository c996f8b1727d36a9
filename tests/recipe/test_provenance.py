import json

import pytest

from twlcli.errors import ModelError
from twlcli.recipe import Recipe, portable_tables, recipe_of

RECIPE = Recipe().with_settings(
    [
        "data.path=/home/kim/client/labels.csv",
        "data.images=D:\\client\\photos\\",
        "data.coco_images=/home/kim/client/val2014",
        "model.weights=/home/kim/mobilenet_v2.pth",
        "loss.name=focal",
    ]
)


def test_recipe_is_read_back_with_names_for_paths():
    provenance = json.loads(json.dumps({"recipe": portable_tables(RECIPE)}))
    assert "client" not in str(provenance) and "kim" not in str(provenance)
    expected = RECIPE.with_values(
        {
            "data": {"path": "labels.csv", "images": "photos", "coco_images": "val2014"},
            "model": {"weights": "mobilenet_v2.pth"},
        }
    )
    assert recipe_of(provenance, source="model.onnx") == expected


def test_recipe_without_paths_stays_as_it_is():
    assert recipe_of({"recipe": portable_tables(Recipe())}, source="model.onnx") == Recipe()


@pytest.mark.parametrize(
    ("provenance", "message"),
    [
        ({"twl": "0.1.0"}, "model.onnx: carries no recipe"),
        ({"recipe": "x"}, "model.onnx: carries no recipe"),
        ({"recipe": {"train": {"seed": -1}}}, "model.onnx: recipe: train.seed is -1, expected a w"),
        ({"recipe": {"version": 9, "x": {}}}, "model.onnx: recipe: written by a newer twl"),
    ],
)
def test_model_without_a_recipe_that_can_be_read_is_named(provenance, message):
    with pytest.raises(ModelError) as error:
        recipe_of(provenance, source="model.onnx")
    assert str(error.value).startswith(message)
