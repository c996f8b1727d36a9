"""Images to features by way of a network and a cache."""

import os
import shutil

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
import torch
from PIL import Image

from twlcli.annotations.detect import read_labels
from twlcli.errors import RecipeError, TwlError
from twlcli.features import network as networks
from twlcli.features.cache import FeatureCache
from twlcli.features.extract import Extracted, Stopped, extract
from twlcli.features.views import view
from twlcli.images.preprocess import load_crop
from twlcli.model.backbones import build_backbone
from twlcli.model.bundled import model_path
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.torch import normalise, to_unit

FORM = Preprocessing(36, 32)
CPU = torch.device("cpu")
BACKBONE = "resnet18"  # of few and simple layers: it is exported in a third of the time
WIDTH = 512


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_backbone(BACKBONE, 3, image_size=32).eval()


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    """The folder of a cache in which the network is already an ONNX file."""
    folder = tmp_path_factory.mktemp("exported")
    about = networks.about(network, BACKBONE, FORM, CPU)
    with FeatureCache(folder, about) as cache:
        networks.predictor(network, about, cache.network, CPU)
    return folder


@pytest.fixture
def data(photographs, tmp_path):
    folder = shutil.copytree(photographs.parent, tmp_path / "photographs")
    return read_labels(folder / "labels.csv")


@pytest.fixture
def cache(network, exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "cache")
    with FeatureCache(folder, networks.about(network, BACKBONE, FORM, CPU)) as cache:
        yield cache


@pytest.fixture
def extracted(network, cache):
    def extracted(data, **options) -> Extracted:
        def predictor():
            return networks.predictor(network, cache.about, cache.network, CPU)

        return extract(predictor, cache, data, **options)

    return extracted


class Small(torch.nn.Module):
    """A network whose code may change while its weights stay."""

    def __init__(self, activation):
        super().__init__()
        torch.manual_seed(1)
        self.convolution = torch.nn.Conv2d(3, 8, 3)
        self.activation = activation
        self.fc = torch.nn.Linear(8, 3)

    def forward(self, images):
        return self.fc(self.activation(self.convolution(images)).mean((2, 3)))


def test_features_of_own_code_are_known_by_what_it_does():
    def key(name, activation):
        return networks.about(Small(activation), name, FORM, CPU).key

    assert key("own:small", torch.relu) == key("own:small", torch.relu)
    assert key("own:small", torch.relu) != key("own:small", torch.tanh)
    assert networks.about(Small(torch.relu), "resnet18", FORM, CPU).response == ""


def by_hand(network, cuts, path):
    """The input of the network's last layer, for each cut of an image."""
    seen = []
    hook = network.fc.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        crops = np.stack([np.asarray(load_crop(path, None, cut)) for cut in cuts])
        network(normalise(to_unit(torch.from_numpy(crops)), FORM))
    hook.remove()
    return seen[0].numpy()


def test_features_are_what_the_head_is_given(network, data, extracted):
    found = extracted(data, views=3)
    assert found.features.shape == (90, WIDTH) and found.computed == 90
    views = found.features.reshape(3, 30, WIDTH)
    for row in range(0, 30, 7):
        path = data.path(row)
        cuts = [view(number, os.fsencode(path.absolute()), FORM) for number in range(3)]
        expected = by_hand(network, cuts, path)
        np.testing.assert_allclose(views[:, row], expected, rtol=1e-3, atol=1e-4)


def test_only_new_and_changed_images_go_through_the_network(data, extracted):
    first = extracted(data.select(range(20)))
    assert first.computed == 20
    progress: list[tuple[int, int]] = []
    second = extracted(data, progress=lambda *done: progress.append(done))
    assert second.computed == 10
    assert progress[-1] == (10, 10)
    np.testing.assert_array_equal(second.features[:20], first.features)
    Image.new("RGB", (50, 40), (255, 255, 0)).save(data.path(4))
    os.utime(data.path(4), ns=(1, 1))
    third = extracted(data)
    assert third.computed == 1
    assert (third.features[4] != second.features[4]).any()
    np.testing.assert_array_equal(np.delete(third.features, 4, 0), np.delete(second.features, 4, 0))
    assert extracted(data).computed == 0


def test_images_that_cannot_be_read_are_left_out_and_named(data, extracted):
    data.path(3).write_bytes(b"no image")
    data.path(5).unlink()
    found = extracted(data, views=2)
    assert [failure.image for failure in found.unreadable] == ["3.png", "5.png"]
    assert list(found.rows) == [row for row in range(30) if row not in (3, 5)]
    assert found.features.shape == (56, WIDTH)
    assert extracted(data, views=2).computed == 4  # they are tried again


def test_what_was_computed_before_a_stop_is_kept(data, extracted):
    asked = iter([False] * 5 + [True] * 100)
    with pytest.raises(Stopped):
        extracted(data, workers=1, should_stop=lambda: next(asked))
    assert 10 <= 30 - extracted(data).computed < 30


def test_no_network_is_asked_for_where_the_cache_has_all(data, extracted, cache):
    extracted(data)
    found = extract(lambda: pytest.fail("made a predictor"), cache, data)
    assert found.computed == 0 and found.features.shape == (30, WIDTH)


@pytest.mark.parametrize(
    "what",
    [
        "other weights",
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in ("garbage", "nothing", "other outputs")
        ),
    ],
)
def test_a_network_file_that_is_another_is_written_anew(network, cache, data, extracted, what):
    before = extracted(data.select(range(3)))
    good = cache.network.read_bytes()
    if what == "other weights":
        other = onnx.load(cache.network)
        kernel = next(each for each in other.graph.initializer if len(each.dims) == 4)
        changed = onnx.numpy_helper.to_array(kernel) + np.float32(0.1)
        kernel.CopyFrom(onnx.numpy_helper.from_array(changed, kernel.name))
        onnx.save(other, cache.network)
    elif what == "other outputs":
        shutil.copy(model_path("shapes-small"), cache.network)
    else:
        cache.network.write_bytes(b"" if what == "nothing" else b"no network")
    predictor = networks.predictor(network, cache.about, cache.network, CPU)
    assert cache.network.stat().st_size == len(good)
    again = extract(lambda: predictor, cache, data)
    np.testing.assert_allclose(again.features[:3], before.features, atol=1e-5)


def test_features_that_are_no_numbers_are_not_used(data, extracted, cache):
    extracted(data)
    with (cache.folder / "features.f32").open("r+b") as file:
        file.write(np.full(10, np.nan, np.float32).tobytes())
    with pytest.raises(TwlError, match="has features that are not finite numbers"):
        extracted(data)


def test_other_weights_have_another_digest_and_another_head_has_not(network):
    about = networks.about(network, BACKBONE, FORM, CPU)
    other = build_backbone(BACKBONE, 7, image_size=32)
    other.load_state_dict(
        {key: value for key, value in network.state_dict().items() if not key.startswith("fc.")},
        strict=False,
    )
    assert networks.about(other, BACKBONE, FORM, CPU) == about
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    assert networks.about(other, BACKBONE, FORM, CPU).weights != about.weights


def test_a_network_without_a_linear_head_is_refused():
    squeezenet = build_backbone("squeezenet1_1", 3, image_size=64)
    with pytest.raises(RecipeError, match="'squeezenet1_1' has no linear last layer"):
        networks.head_of(squeezenet, "squeezenet1_1")


@pytest.mark.parametrize(
    "backbone", ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "vit_b_16", "timm:resnet10t"]
)
def test_any_backbone_gives_what_its_head_is_given(backbone):
    torch.manual_seed(0)
    network = build_backbone(backbone, 3, image_size=32).eval()
    about = networks.about(network, backbone, FORM, CPU)
    assert about.width == networks.head_of(network, backbone).in_features
