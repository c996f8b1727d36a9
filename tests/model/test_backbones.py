import pytest
import torch

from twlcli.errors import RecipeError
from twlcli.model.backbones import (
    backbone_names,
    build_backbone,
    head_parameters,
)

FAMILIES = [
    ("resnet18", 64),
    ("mobilenet_v2", 64),
    ("mobilenet_v3_small", 64),
    ("efficientnet_b0", 64),
    ("convnext_tiny", 64),
    ("regnet_y_400mf", 64),
    ("vit_b_32", 64),
    ("swin_t", 64),
    ("squeezenet1_1", 64),
    ("densenet121", 64),
    ("shufflenet_v2_x0_5", 64),
    ("googlenet", 64),
    ("mnasnet0_5", 64),
]


@pytest.mark.parametrize(("name", "size"), FAMILIES)
def test_every_family_gives_one_logit_per_label(name, size):
    network = build_backbone(name, 5, image_size=size).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, size, size)).shape == (2, 5)
    head = head_parameters(network)
    assert {parameter.shape[0] for parameter in head} == {5}


def test_unknown_backbone_names_the_nearest():
    with pytest.raises(RecipeError, match=r"'resnet5'.*did you mean"):
        build_backbone("resnet5", 2, image_size=64)


def test_image_size_that_does_not_fit_is_refused():
    with pytest.raises(RecipeError, match="'vit_b_32' does not take 65 pixels"):
        build_backbone("vit_b_32", 2, image_size=65)


def test_backbone_names_are_classification_networks():
    names = backbone_names()
    assert {"resnet50", "vit_b_16", "swin_t"} <= set(names)
    assert not any("rcnn" in name or "quantized" in name for name in names)
