"""Heads beside a backbone: ML-Decoder of timm, and what it can stand on."""

import sys
import time
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from twlcli.errors import MissingExtraError, RecipeError
from twlcli.labels import Vocabulary
from twlcli.model.backbones import backbone_of, build_backbone, last_layer
from twlcli.model.checkpoint import load_checkpoint, write_checkpoint
from twlcli.model.headed import before_pooling, ml_decoder, with_head
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.model.weights import WeightsReport, load_weights
from twlcli.recipe.names import HEAD_NAMES, HeadName

SIDE = 64
SMALL = "shufflenet_v2_x0_5"


def decoder_network(labels: int, name: str = SMALL) -> nn.Module:
    torch.manual_seed(labels)
    return build_backbone(name, labels, image_size=SIDE, head="ml-decoder")


def by_hand(head: nn.Module, features: Tensor) -> Tensor:
    """ML-Decoder's logits of tokens (N, T, F), label by label, without dropout."""
    state = head.state_dict()
    memory = torch.relu(features @ state["embed_standart.weight"].T + state["embed_standart.bias"])
    layer: Any = head.get_submodule("decoder.layers.0")
    queries = state["query_embed.weight"]
    per_query = state["duplicate_pooling"].shape[2]
    logits = torch.zeros(len(features), len(state["duplicate_pooling_bias"]))
    for row, places in enumerate(memory):
        tokens = layer.norm1(2 * queries)
        attended = layer.multihead_attn(tokens, places, places)[0]
        tokens = layer.norm2(tokens + attended)
        tokens = layer.norm3(tokens + layer.linear2(torch.relu(layer.linear1(tokens))))
        for label in range(logits.shape[1]):
            group, place = divmod(label, per_query)
            weights = state["duplicate_pooling"][group, :, place]
            logits[row, label] = tokens[group] @ weights + state["duplicate_pooling_bias"][label]
    return logits


@pytest.mark.parametrize("labels", [1, 3, 100, 300])
def test_ml_decoder_attends_to_every_place_of_the_map(labels):
    torch.manual_seed(0)
    head = ml_decoder(24, labels).eval()
    features = torch.randn(2, 24, 3, 2)
    with torch.inference_mode():
        expected = by_hand(head, features.flatten(2).transpose(1, 2))
        torch.testing.assert_close(head(features), expected, rtol=1e-4, atol=1e-4)
    assert not head.get_parameter("query_embed.weight").requires_grad


FAMILIES = [
    *("resnet18", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny"),
    *("regnet_y_400mf", "vit_b_32", "swin_t", "squeezenet1_1", "densenet121", SMALL),
    *("mnasnet0_5", "vgg11", "alexnet", "timm:resnet10t", "timm:convnext_atto"),
    *("timm:mobilenetv4_conv_small", "timm:vit_tiny_patch16_224"),
    "timm:swin_tiny_patch4_window7_224",
]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_that_is_trained_has_a_gradient(name):
    """Several ranks wait for the gradients of all of them. Which ones have one needs no numbers."""
    network = decoder_network(2, name).to("meta")
    network(torch.rand(2, 3, SIDE, SIDE, device="meta")).sum().backward()
    for each, parameter in network.named_parameters():
        assert parameter.requires_grad is (parameter.grad is not None), each
    names = {each for each, own in network.named_parameters() if not own.requires_grad}
    unused = ("conv_head", "norm_head", "head.")  # of timm's, after its pooling
    own = {each.removeprefix("backbone.") for each in names - {"head.query_embed.weight"}}
    assert all(each.startswith(unused) for each in own)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "efficientnet_b0", "swin_t"])
def test_the_feature_map_is_what_the_whole_network_pools(name):
    torch.manual_seed(0)
    network = models.get_model(name, weights=None).eval()
    seen = []
    layer = network.get_submodule(last_layer(network)[0])
    layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        network(images)
        features = before_pooling(network, name)(images)
    torch.testing.assert_close(features.mean((2, 3)), seen[0])


def test_tokens_are_those_of_the_whole_network():
    torch.manual_seed(0)
    network = models.vit_b_32(image_size=SIDE).eval()
    nn.init.normal_(network.heads.head.weight)
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        tokens = before_pooling(network, "vit_b_32")(images)
        torch.testing.assert_close(network.heads(tokens[:, 0]), network(images))
    assert tokens.shape == (2, 5, 768)


def test_the_size_of_the_images_costs_nothing_before_any_is_seen():
    """A spec of a stranger can ask for images of 8,192 pixels."""
    began = time.perf_counter()
    build_backbone("resnet18", 2, image_size=8192, head="ml-decoder")
    assert time.perf_counter() - began < 10  # 200 GB of activations, and minutes


def test_maps_with_channels_last_are_turned():
    network = decoder_network(2, "timm:swin_tiny_patch4_window7_224")
    assert last_layer(network)[1].embed_standart.in_features == 768  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "maxvit_t"])
def test_a_network_without_a_feature_map_is_refused(name):
    with pytest.raises(RecipeError, match=f"backbone '{name}' has no feature map for the head"):
        build_backbone(name, 2, image_size=224, head="ml-decoder")


def test_the_extra_is_named_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm.layers.ml_decoder", None)
    with pytest.raises(MissingExtraError, match="the head 'ml-decoder' needs the 'timm' extra"):
        build_backbone("resnet18", 2, image_size=64, head="ml-decoder")


class Flat(nn.Module):
    """Features of a form of its own."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.unused = nn.Parameter(torch.ones(1))
        self.shape = shape

    def forward(self, images: Tensor) -> Tensor:
        return (
            images.mean((1, 2, 3)).view(-1, *[1] * len(self.shape)).expand(-1, *self.shape)
            * self.scale
        )


@pytest.mark.parametrize("shape", [(5,), (7, 5), (5, 2, 3)])
def test_a_linear_head_takes_features_tokens_and_maps(shape):
    network = with_head(Flat(*shape), "my:own", "linear", 3, image_size=8)
    assert network(torch.rand(2, 3, 8, 8)).shape == (2, 3)
    assert isinstance(network.head, nn.Linear)
    assert network.head.in_features == 5
    trained = {name for name, each in network.named_parameters() if each.requires_grad}
    assert trained == {"backbone.scale", "head.weight", "head.bias"}


def test_features_that_a_head_does_not_take_are_refused():
    with pytest.raises(
        RecipeError, match=r"'my:own' gives \(2, 5\) for N = 2 images; the head 'ml-de"
    ):
        with_head(Flat(5), "my:own", "ml-decoder", 3, image_size=8)
    with pytest.raises(RecipeError, match=r"'my:own' gives \(2, 1, 1, 1, 1\).*expects tokens"):
        with_head(Flat(1, 1, 1, 1), "my:own", "linear", 3, image_size=8)


def spec_of(labels: tuple[str, ...], name: str = SMALL) -> ModelSpec:
    return ModelSpec(Vocabulary(labels), name, Preprocessing(SIDE, SIDE), head="ml-decoder")


@pytest.mark.parametrize("labels", [1, 3, 20, 300])
def test_a_checkpoint_says_which_head(tmp_path, labels):
    network = decoder_network(labels)
    spec = spec_of(tuple(f"label {number}" for number in range(labels)))
    write_checkpoint(network, spec, tmp_path / "m.safetensors")
    loaded, read = load_checkpoint(tmp_path / "m.safetensors")
    assert read == spec
    assert read.head == "ml-decoder"
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        assert torch.equal(loaded(images), network.eval()(images))


def saved(folder, network: nn.Module, spec: ModelSpec) -> str:
    write_checkpoint(network, spec, folder / "m.safetensors")
    return str(folder / "m.safetensors")


def taken(network: nn.Module, weights: str, labels: tuple[str, ...]) -> WeightsReport:
    report = load_weights(network, SMALL, weights, labels)
    assert report is not None
    return report


def test_weights_of_a_whole_network_fit_below_the_head(tmp_path):
    source = build_backbone(SMALL, 7, image_size=SIDE).state_dict()
    save_file(source, tmp_path / "w.safetensors")
    network = decoder_network(3)
    report = taken(network, str(tmp_path / "w.safetensors"), ())
    assert (report.missing, report.unused) == ((), ("fc.bias", "fc.weight"))
    backbone, prefix = backbone_of(network)
    assert prefix == "backbone."
    assert all(torch.equal(value, source[key]) for key, value in backbone.state_dict().items())


def test_labels_that_a_run_with_the_same_head_knows_are_kept(tmp_path):
    theirs = ("ant", "bee", "cat")
    source = decoder_network(3)
    weights = saved(tmp_path, source, spec_of(theirs))
    network = decoder_network(2)
    report = taken(network, weights, ("cat", "dog"))
    assert (report.labels_kept, report.labels_new, report.missing) == (("cat",), ("dog",), ())
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        expected = source.eval()(images)[:, 2]
        torch.testing.assert_close(network.eval()(images)[:, 0], expected)


def test_labels_that_share_queries_are_kept_all_or_none(tmp_path):
    theirs = tuple(f"label {number}" for number in range(101))
    weights = saved(tmp_path, decoder_network(101), spec_of(theirs))
    assert taken(decoder_network(101), weights, theirs).labels_kept == theirs
    assert taken(decoder_network(100), weights, theirs[:100]).labels_kept == ()


@pytest.mark.parametrize("ours", HEAD_NAMES)
def test_a_run_with_another_head_gives_its_backbone(tmp_path, ours: HeadName):
    theirs: HeadName = "linear" if ours == "ml-decoder" else "ml-decoder"
    source = build_backbone(SMALL, 2, image_size=SIDE, head=theirs)
    spec = ModelSpec(Vocabulary(("a", "b")), SMALL, Preprocessing(SIDE, SIDE), head=theirs)
    weights = saved(tmp_path, source, spec)
    network = build_backbone(SMALL, 2, image_size=SIDE, head=ours)
    report = taken(network, weights, ("a", "b"))
    assert (report.labels_kept, report.missing) == ((), ())
    conv = {key.removeprefix("backbone."): value for key, value in source.state_dict().items()}
    own = {key.removeprefix("backbone."): value for key, value in network.state_dict().items()}
    assert torch.equal(own["conv1.0.weight"], conv["conv1.0.weight"])
