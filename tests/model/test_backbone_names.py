import pytest

from twlcli.errors import RecipeError
from twlcli.model.backbone_names import _REGISTERED, _source, check_backbone
from twlcli.model.backbones import backbone_names


def test_names_are_found_without_importing_torchvision():
    assert sorted(_REGISTERED.findall(_source())) == sorted(backbone_names())
    for name in backbone_names():
        check_backbone(name)


@pytest.mark.parametrize("name", ["resnet5", "resnet500", "", "resnet50.*", "ResNet-50"])
def test_a_name_that_is_nowhere_is_refused(name):
    with pytest.raises(RecipeError, match="there is no backbone"):
        check_backbone(name)


def test_without_torchvision_every_name_passes(monkeypatch):
    monkeypatch.setattr("twlcli.model.backbone_names.find_spec", lambda name: None)
    check_backbone("resnet5")
