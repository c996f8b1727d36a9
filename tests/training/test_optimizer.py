import pytest
import torch

from twlcli.model.backbones import build_backbone, head_parameters
from twlcli.recipe import Recipe
from twlcli.training.optimizer import build_optimizer, rate_share, set_rate


def test_rate_rises_then_falls_as_a_half_cosine():
    shares = [rate_share(step, 100, warmup=0.1) for step in range(100)]
    assert shares[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert shares[10] == 1
    assert shares[55] == pytest.approx(0.5)
    assert shares[99] == pytest.approx(0, abs=1e-3)
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert rate_share(0, 1, warmup=0.05) == 1


def test_backbone_learns_at_its_share_of_the_heads_rate():
    network = build_backbone("resnet18", 3, image_size=32)
    recipe = Recipe().with_settings(["optimizer.backbone_rate=0.1"])
    optimizer = build_optimizer(network, recipe)
    set_rate(optimizer, recipe, 0, 1)
    head = {id(parameter) for parameter in head_parameters(network)}
    assert len(head) == 2
    total = 0
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            share = 1 if id(parameter) in head else 0.1
            assert group["lr"] == pytest.approx(recipe.optimizer.learning_rate * share)
            total += 1
    assert total == len(list(network.parameters()))
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults["nesterov"]


def test_adamw_decays_weights_but_not_biases_and_norms():
    network = build_backbone("resnet18", 3, image_size=32)
    recipe = Recipe().with_settings(["optimizer.name=adamw", "optimizer.weight_decay=0.05"])
    optimizer = build_optimizer(network, recipe)
    assert isinstance(optimizer, torch.optim.AdamW)
    for group in optimizer.param_groups:
        dimensions = {parameter.ndim > 1 for parameter in group["params"]}
        assert dimensions == {group["weight_decay"] == 0.05}
