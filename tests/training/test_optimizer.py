import pytest
import torch

from twlcli.model.backbones import build_backbone, head_parameters
from twlcli.model.layers import depths
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


def rates(network: torch.nn.Module, recipe: Recipe) -> dict[str, float]:
    """The highest rate of every parameter that is trained, by its name."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = build_optimizer(network, recipe).param_groups
    return {names[id(each)]: group["peak"] for group in groups for each in group["params"]}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vit_b_32", "timm:resnet10t"])
@pytest.mark.parametrize("head", ["linear", "ml-decoder"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_layers_learn_at_powers_of_the_layer_decay(name, head, optimizer):
    network = build_backbone(name, 3, image_size=32, head=head)
    settings = [
        *("optimizer.learning_rate=0.5", "optimizer.backbone_rate=0.2"),
        *(f"optimizer.name={optimizer}", "optimizer.layer_decay=0.75"),
    ]
    recipe = Recipe().with_settings(settings)
    below = depths(network)
    heads = {id(parameter) for parameter in head_parameters(network)}
    expected = {
        key: 0.5 * (1 if id(parameter) in heads else 0.2) * 0.75 ** below[key]
        for key, parameter in network.named_parameters()
        if parameter.requires_grad
    }
    assert rates(network, recipe) == pytest.approx(expected)
    assert len(set(expected.values())) == 1 + max(below.values())
    for group in build_optimizer(network, recipe).param_groups:
        decays = optimizer == "sgd" or group["params"][0].ndim > 1
        assert group["weight_decay"] == (recipe.optimizer.weight_decay if decays else 0)
    same = recipe.with_settings(["optimizer.layer_decay=1.0"])
    assert set(rates(network, same).values()) == {0.5, 0.1}


def test_parameters_that_are_not_trained_are_in_no_group():
    network = build_backbone("resnet18", 3, image_size=32, head="ml-decoder")
    network.get_parameter("backbone.conv1.weight").requires_grad_(False)
    found = rates(network, Recipe())
    left = {name for name, _ in network.named_parameters()} - found.keys()
    assert left == {"head.query_embed.weight", "backbone.conv1.weight"}
