"""Batch norm over all ranks: what there is of it without several GPUs."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tests.training.drawn import CPU, network
from twlcli.errors import DeviceError, RecipeError
from twlcli.model.backbones import build_backbone
from twlcli.model.preprocessing import Preprocessing
from twlcli.recipe import Recipe
from twlcli.training.devices import Ranks
from twlcli.training.step import Stepper
from twlcli.training.sync_norm import check_sync_norm, synchronised

WANTED = Recipe().with_settings(["train.sync_batch_norm=true"])
GROUP: Any = "a group that nobody asks"
GPUS = Ranks(torch.device("cuda"), world=2)


class OwnNorm(nn.BatchNorm2d):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) + 1


@pytest.mark.parametrize("backbone", ["resnet18", "timm:resnetv2_18", "timm:efficientnet_lite0"])
def test_only_the_statistics_in_training_are_others(backbone):
    if backbone.startswith("timm:"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    net = build_backbone(backbone, 5, image_size=32).eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected, state = net(images), net.state_dict()
        parameters = [(name, id(each)) for name, each in net.named_parameters()]
        converted = synchronised(net, GROUP)
        assert torch.equal(converted(images), expected)
    norms = [each for each in converted.modules() if isinstance(each, nn.BatchNorm2d)]
    assert not norms
    assert any(isinstance(each, nn.SyncBatchNorm) for each in converted.modules())
    assert [(name, id(each)) for name, each in converted.named_parameters()] == parameters
    assert list(converted.state_dict()) == list(state)
    torch.testing.assert_close(converted.state_dict(), state, rtol=0, atol=0)


def test_a_batch_norm_with_code_of_its_own_is_refused():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), OwnNorm(4))
    with pytest.raises(RecipeError, match=r"does not take layer '1', a OwnNorm; expected torch's"):
        synchronised(net, GROUP)


def test_cpus_cannot_and_one_rank_has_nothing_to_share():
    net = nn.Sequential(nn.BatchNorm2d(3), network())
    one = Stepper(net, WANTED, Preprocessing(8, 8), Ranks(CPU))
    assert type(one.network.get_submodule("0")) is nn.BatchNorm2d
    several = Ranks(CPU, world=2)
    with pytest.raises(DeviceError, match=r"sync_batch_norm needs a CUDA GPU for each of 2 ranks"):
        Stepper(net, WANTED, Preprocessing(8, 8), several)
    check_sync_norm(WANTED.train, GPUS)
    check_sync_norm(Recipe().train, several)


def test_it_is_not_compiled():
    compiled = WANTED.with_settings(["train.compile=true"]).train
    check_sync_norm(compiled, replace(GPUS, world=1))
    with pytest.raises(RecipeError, match=r"sync_batch_norm and train\.compile do not go together"):
        check_sync_norm(compiled, GPUS)
