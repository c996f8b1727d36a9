import sys

import pytest
import torch

from twlcli.errors import ModelError, RecipeError
from twlcli.labels import Vocabulary
from twlcli.model.backbones import build_backbone, last_layer
from twlcli.model.checkpoint import load_checkpoint, write_checkpoint
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.model.user_code import load_backbone, load_loss
from twlcli.model.weights import load_weights, origin_of

NETWORK = """
from torch import nn
import own_parts_of_the_test

def small(*, pretrained):
    network = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU())
    nn.init.constant_(network[0].bias, 1.0 if pretrained else 0.0)
    return network

def nothing(*, pretrained):
    return 3

number = 3

def no_arguments():
    return 1

def other(pretrain: "a\\nlong\\nword" = "b\\nc"):
    return 1

class Own(nn.Sequential):
    def __init__(self, pretrained):
        super().__init__(nn.Conv2d(3, 6, 3, stride=2))

def anything(*arguments, **options):
    return 3.0

def ends(*, pretrained):
    import sys
    sys.exit(0)

class Flattened(nn.Sequential):
    def forward(self, images):
        return super().forward(images).mean((2, 3)).flatten()[None]

def one_row(*, pretrained):
    return Flattened(nn.Conv2d(3, 6, 3, stride=2))

class Ends(nn.Sequential):
    def forward(self, images):
        if len(images) == 5:
            raise SystemExit
        return super().forward(images)

def ends_later(*, pretrained):
    return Ends(nn.Conv2d(3, 6, 3, stride=2))
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder with a module of the user's, forgotten afterwards."""
    (tmp_path / "own_nets_of_the_test.py").write_text(NETWORK)
    (tmp_path / "own_parts_of_the_test.py").write_text("import json\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    assert sys.path == path
    for name in ("own_nets_of_the_test", "own_parts_of_the_test"):
        sys.modules.pop(name, None)


NAME = "own_nets_of_the_test:small"


def test_a_network_is_found_in_the_current_folder(here):
    for pretrained in (False, True):
        network = build_backbone(NAME, 4, image_size=16, pretrained=pretrained, allow_code=True)
        assert network(torch.rand(2, 3, 16, 16)).shape == (2, 4)
        assert network.state_dict()["backbone.0.bias"].tolist() == [float(pretrained)] * 6
        assert last_layer(network)[0] == "head"
    decoder = build_backbone(NAME, 4, image_size=16, head="ml-decoder", allow_code=True)
    assert decoder(torch.rand(2, 3, 16, 16)).shape == (2, 4)


def test_nothing_is_imported_unless_it_is_allowed(here):
    said = (
        "backbone 'own_nets_of_the_test:small' is 'own_nets_of_the_test:small': code, which "
        "importing the module 'own_nets_of_the_test' would run; nothing was imported"
    )
    with pytest.raises(ModelError) as error:
        build_backbone(NAME, 4, image_size=16)
    assert error.value.message == said
    assert error.value.hint == "`allow_code` allows it, if you trust it"
    assert "own_nets_of_the_test" not in sys.modules


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("own_nets_of_the_test:smal", "has no function 'smal'; did you mean 'small'?"),
        ("own_nets_of_the_test:number", "'number' in 'own_nets_of_the_test' is an int; expected a"),
        ("own_net:small", "there is no module 'own_net' in"),
        ("own_nets_of_the_test.deeper:small", "there is no module 'own_nets_of_the_test.deeper'"),
    ],
)
def test_what_is_not_there_is_said(here, name, said):
    with pytest.raises(RecipeError, match=r"^backbone") as error:
        load_backbone(name, allowed=True)
    assert said in error.value.message


def test_what_the_module_itself_lacks_is_its_own_error(here):
    (here / "own_parts_of_the_test.py").write_text("import there_is_no_such_module\n")
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_module"):
        load_backbone(NAME, allowed=True)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("nothing", "gave an int; expected a torch.nn.Module"),
        ("anything", "gave a float; expected a torch.nn.Module"),
        ("no_arguments", "takes (); expected what can be called with (pretrained=…): got an unexp"),
        (
            "other",
            "takes (pretrain); expected what can be called with (pretrained=…): got an unexp",
        ),
        ("ends", "its code called sys.exit(0); expected it to return, or to raise an error"),
        ("one_row", "gives (1, 12) for N = 2 images; the head 'linear' expects tokens (N, T, F)"),
    ],
)
def test_what_makes_no_network_is_refused(here, function, said):
    name = f"own_nets_of_the_test:{function}"
    with pytest.raises(RecipeError) as error:
        build_backbone(name, 2, image_size=16, allow_code=True)
    assert error.value.message.startswith(f"backbone '{name}'")
    assert said in error.value.message


def test_a_class_is_a_function_too(here):
    network = build_backbone("own_nets_of_the_test:Own", 2, image_size=16, allow_code=True)
    assert network(torch.zeros(2, 3, 16, 16)).shape == (2, 2)


def test_a_module_or_network_that_ends_the_program_is_an_error(here):
    later = build_backbone("own_nets_of_the_test:ends_later", 2, image_size=16, allow_code=True)
    assert later(torch.zeros(2, 3, 16, 16)).shape == (2, 2)
    with pytest.raises(RecipeError, match=r"'own_nets_of_the_test:ends_later': .*sys\.exit\(\)"):
        later(torch.zeros(5, 3, 16, 16))
    (here / "own_parts_of_the_test.py").write_text("raise SystemExit('no')\n")
    for module in ("own_nets_of_the_test", "own_parts_of_the_test"):
        del sys.modules[module]
    with pytest.raises(RecipeError, match=rf"^backbone '{NAME}': its code called sys.exit\('no'\)"):
        load_backbone(NAME, allowed=True)


def test_options_that_a_loss_does_not_take_are_refused(here):
    name = "own_nets_of_the_test:other"
    with pytest.raises(RecipeError) as error:
        load_loss(name, ["gamma"], allowed=True)
    assert error.value.message == (
        f"loss '{name}' takes (pretrain); expected what can be called with (logits, targets, "
        "gamma=…): too many positional arguments"
    )
    assert error.value.hint == "`settings` loss.NAME=VALUE supplies an option"
    assert load_loss("own_nets_of_the_test:anything", ["gamma"], allowed=True)(1, 2, gamma=3) == 3.0


def test_a_checkpoint_and_weights_of_it_are_read_again(here):
    network = build_backbone(NAME, 2, image_size=16, pretrained=True, allow_code=True)
    spec = ModelSpec(Vocabulary(("a", "b")), NAME, Preprocessing(16, 16))
    write_checkpoint(network, spec, here / "m.safetensors")
    with pytest.raises(ModelError, match=r"m\.safetensors: its backbone is 'own_nets_of_the_test"):
        load_checkpoint(here / "m.safetensors")
    assert load_checkpoint(here / "m.safetensors", allow_code=True)[1] == spec
    other = build_backbone(NAME, 2, image_size=16, allow_code=True)
    report = load_weights(other, NAME, str(here / "m.safetensors"), ("b", "c"))
    assert report is not None
    assert (report.labels_kept, report.missing, report.unused) == (("b",), (), ())
    assert other.state_dict()["backbone.0.bias"].tolist() == [1.0] * 6
    assert load_weights(other, NAME, "default") is None
    assert origin_of(NAME, "default") == {"source": NAME}
