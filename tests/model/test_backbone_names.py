import pytest

from twlcli.errors import RecipeError
from twlcli.model.backbone_names import _REGISTERED, _source, check_backbone
from twlcli.model.backbones import backbone_names
from twlcli.recipe import Recipe


def test_names_are_found_without_importing_torchvision():
    assert sorted(_REGISTERED.findall(_source())) == sorted(backbone_names())
    for name in backbone_names():
        check_backbone(name)


@pytest.mark.parametrize("name", ["resnet5", "resnet500", "", "resnet50.*", "ResNet-50"])
def test_a_name_that_is_nowhere_is_refused(name):
    with pytest.raises(RecipeError, match="there is no backbone"):
        check_backbone(name)


@pytest.mark.parametrize("name", ["b:", ":net", "b:net:x", "b:net()"])
def test_what_is_nearly_code_is_told_its_form(name):
    with pytest.raises(RecipeError, match=r"there is no backbone '.*'; expected module:function"):
        check_backbone(name)
    with pytest.raises(RecipeError, match=r"loss\.name is \".*\".*; expected module:function"):
        Recipe().with_settings([f"loss.name={name}"])


def test_of_a_name_like_no_other_it_is_said_where_the_names_are():
    with pytest.raises(RecipeError) as error:
        check_backbone("nosuch")
    assert str(error.value) == (
        "there is no backbone 'nosuch' in torchvision; `twl doctor --backbones` lists those that "
        "there are"
    )


def test_without_torchvision_every_name_passes(monkeypatch):
    monkeypatch.setattr("twlcli.model.backbone_names.find_spec", lambda name: None)
    check_backbone("resnet5")
