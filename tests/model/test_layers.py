import pytest
import timm
import torch
from timm.optim._param_groups import param_groups_layer_decay
from torch import nn

from twlcli.model.backbones import build_backbone
from twlcli.model.headed import Headed
from twlcli.model.layers import depths


@pytest.mark.parametrize(
    "name",
    [
        *("resnet10t", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv4_conv_small"),
        "swin_tiny_patch4_window7_224",
    ],
)
def test_depths_of_a_network_of_timm_are_those_that_timm_decays_by(name):
    network = build_backbone(f"timm:{name}", 3, image_size=64)
    found = depths(network)
    expected: dict[int, float] = {}
    for group in param_groups_layer_decay(network, layer_decay=0.5):
        expected |= dict.fromkeys(map(id, group["params"]), group["lr_scale"])
    for key, parameter in network.named_parameters():
        assert 0.5 ** found[key] == expected[id(parameter)], key
    with_decoder = depths(build_backbone(f"timm:{name}", 3, image_size=64, head="ml-decoder"))
    assert {with_decoder[key] for key in with_decoder if key.startswith("head.")} == {0}
    trunk = {key for key, depth in found.items() if depth}
    assert {with_decoder[f"backbone.{key}"] - found[key] for key in trunk} == {0}


STAGES: dict[str, list[tuple[str, ...]]] = {
    "resnet18": [("fc",), ("layer4",), ("layer3",), ("layer2",), ("layer1",), ("conv1", "bn1")],
    "densenet121": [
        ("classifier",),
        ("features.denseblock4", "features.norm5"),
        *[(f"features.{kind}{n}",) for n in (3, 2, 1) for kind in ("transition", "denseblock")],
        ("features.conv0", "features.norm0"),
    ],
    "vit_b_32": [
        ("heads",),
        ("encoder.layers.encoder_layer_11", "encoder.ln"),
        *[(f"encoder.layers.encoder_layer_{number}.",) for number in range(10, -1, -1)],
        ("conv_proj", "class_token", "encoder.pos_embedding"),
    ],
    "swin_t": [
        ("head",),
        ("features.7", "norm"),
        *[(f"features.{number}",) for number in range(6, -1, -1)],
    ],
    "mobilenet_v2": [("classifier",), *[(f"features.{n}.",) for n in range(18, -1, -1)]],
    "regnet_y_400mf": [
        ("fc",),
        *[(f"trunk_output.block{number}",) for number in (4, 3, 2, 1)],
        ("stem",),
    ],
}


@pytest.mark.parametrize("name", STAGES)
def test_layers_of_torchvision_are_its_stages(name):
    found = depths(build_backbone(name, 3, image_size=64))
    for depth, starts in enumerate(STAGES[name]):
        names = {key for key, own in found.items() if own == depth}
        assert names == {key for key in found if key.startswith(starts)}, depth


def test_layers_of_any_network_are_its_modules_in_order():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 1)
            self.norm = nn.GroupNorm(1, 4)
            self.blocks = nn.ModuleList([nn.Conv2d(4, 4, 1), nn.Sequential(nn.Conv2d(4, 4, 1))])

    network = Headed(Own(), nn.Linear(4, 2))
    assert depths(network) == {
        **dict.fromkeys(("head.weight", "head.bias"), 0),
        **dict.fromkeys(("backbone.blocks.1.0.weight", "backbone.blocks.1.0.bias"), 1),
        **dict.fromkeys(("backbone.blocks.0.weight", "backbone.blocks.0.bias"), 2),
        **dict.fromkeys(("backbone.first.weight", "backbone.first.bias"), 3),
        **dict.fromkeys(("backbone.norm.weight", "backbone.norm.bias"), 3),
    }


def test_a_timm_network_of_the_users_own_goes_by_its_groups():
    backbone = timm.create_model("resnet10t", num_classes=0)
    found = depths(Headed(backbone, nn.Linear(512, 2)))
    plain = depths(timm.create_model("resnet10t", num_classes=2))
    assert found == {
        **{f"backbone.{key}": depth for key, depth in plain.items() if not key.startswith("fc.")},
        **dict.fromkeys(("head.weight", "head.bias"), 0),
    }
    assert torch.tensor(list(found.values())).max() == 5
