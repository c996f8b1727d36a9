"""Activation checkpointing: the same gradients, and less that is kept for them."""

import pytest
import torch
from torch import Tensor, nn

from tests.training.drawn import CPU, network
from twlcli.errors import RecipeError
from twlcli.model.backbones import build_backbone
from twlcli.model.preprocessing import Preprocessing
from twlcli.recipe import Recipe
from twlcli.training import step as step_module
from twlcli.training.augment import Colour
from twlcli.training.devices import Ranks
from twlcli.training.loader import Batch
from twlcli.training.recomputed import blocks_of, recompute_blocks
from twlcli.training.step import Stepper

SIZE, STEPS = 32, 2
# Batch norm, dropout, stochastic depth, layers that take lists, and a network of timm.
NETWORKS = ["resnet18", "mobilenet_v2", "efficientnet_b0", "densenet121", "timm:convnext_atto"]


def stepper(name: str, *settings: str) -> Stepper:
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    recipe = Recipe().with_settings(
        [
            f"model.backbone={name}",
            *("optimizer.learning_rate=0.01", "train.precision=float32", "schedule.batch_size=4"),
            *settings,
        ]
    )
    torch.manual_seed(0)
    net = build_backbone(name, 5, image_size=SIZE)
    return Stepper(net, recipe, Preprocessing(SIZE, SIZE), Ranks(CPU))


def drawn() -> Batch:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (4, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)
    targets = torch.randint(0, 2, (4, 5), generator=generator).to(torch.int8)
    order, ones = torch.arange(3.0).repeat(4, 1), torch.ones(4, 3)
    return Batch(images, Colour(order, ones, torch.zeros(4, 3)), targets)


def trained(one: Stepper) -> tuple[list[float], dict[str, Tensor]]:
    """Losses, weights and running statistics after some steps."""
    losses = [one(drawn(), step, STEPS).item() for step in range(STEPS)]
    return losses, dict(one.network.state_dict())


def kept_bytes(one: Stepper) -> int:
    """What the graph of a forward pass keeps from outside of blocks, with their inputs."""
    sizes: list[int] = []

    def kept(tensor: Tensor) -> Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    one.network.train()
    with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
        one.network(torch.rand(4, 3, SIZE, SIZE)).sum()
    return sum(sizes)


@pytest.mark.parametrize(
    ("name", "dtype", "settings"),
    [
        *((name, None, ()) for name in NETWORKS),
        ("mobilenet_v2", None, ("schedule.micro_batch=2", "train.ema=0.9")),
        ("mobilenet_v2", torch.bfloat16, ()),
    ],
)
def test_training_is_the_same_bit_for_bit(monkeypatch, name, dtype, settings):
    monkeypatch.setattr(step_module, "autocast_dtype", lambda precision, device: dtype)
    losses, state = trained(stepper(name, *settings))
    one = stepper(name, "train.checkpoint_activations=true", *settings)
    their_losses, their_state = trained(one)
    assert their_losses == losses
    assert list(their_state) == list(state)
    assert all(torch.equal(their_state[key], state[key]) for key in state)
    counts = [value for key, value in state.items() if key.endswith("num_batches_tracked")]
    parts = 2 if "schedule.micro_batch=2" in settings else 1
    assert all(count == parts * STEPS for count in counts)


@pytest.mark.parametrize("name", NETWORKS)
def test_less_is_kept(name):
    plain, recomputed = (
        kept_bytes(stepper(name, f"train.checkpoint_activations={value}"))
        for value in ("false", "true")
    )
    assert recomputed < 0.5 * plain


def test_blocks_draw_random_numbers():
    """Without which it would say nothing that both passes draw the same."""
    net = stepper("efficientnet_b0", "train.checkpoint_activations=true").network.train()
    images = torch.rand(4, 3, SIZE, SIZE)
    assert not torch.equal(net(images), net(images))


@pytest.mark.parametrize(
    ("name", "least"),
    [
        *(("resnet50", 16), ("mobilenet_v3_small", 13), ("efficientnet_b0", 18), ("swin_t", 16)),
        *(("vit_b_16", 12), ("convnext_tiny", 22), ("maxvit_t", 11), ("googlenet", 50)),
        *(("densenet121", 61), ("shufflenet_v2_x0_5", 16), ("mnasnet0_5", 16)),
        *(("squeezenet1_0", 8), ("vgg11", 0), ("alexnet", 0), ("inception_v3", 80)),
    ],
)
def test_blocks_are_smaller_than_stages(name, least):
    with torch.device("meta"):
        net = build_backbone(name, 5, image_size=224)
    blocks = list(blocks_of(net))
    assert len(blocks) >= least
    assert bool(blocks) is bool(least)
    inside = [id(module) for block in blocks for module in block.modules()]
    assert len(inside) == len(set(inside))


def test_an_input_that_is_gone_is_an_error_and_no_wrong_gradient():
    wanted = Recipe().with_settings(["train.checkpoint_activations=true"])
    first = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    net = nn.Sequential(first, nn.Sequential(nn.SiLU(inplace=True), nn.Conv2d(3, 3, 1)))
    images = torch.rand(2, 3, 4, 4)
    net(images).sum().backward()
    recompute_blocks(net, wanted)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        net(images).sum().backward()


def test_networks_without_blocks_and_compiled_ones_are_refused():
    wanted = Recipe().with_settings(["train.checkpoint_activations=true", "model.backbone=vgg11"])
    message = r"finds no blocks in backbone 'vgg11'; .*; `micro_batch` saves memory"
    with pytest.raises(RecipeError, match=message):
        recompute_blocks(network(), wanted)
    with pytest.raises(RecipeError, match=r"checkpoint_activations and train\.compile do not go"):
        recompute_blocks(network(), wanted.with_settings(["train.compile=true"]))
