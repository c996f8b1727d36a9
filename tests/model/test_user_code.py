import sys

import pytest
import torch

from twlcli.errors import ModelError, RecipeError
from twlcli.labels import Vocabulary
from twlcli.model.backbones import build_backbone, last_layer
from twlcli.model.checkpoint import load_checkpoint, write_checkpoint
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.model.user_code import load_function
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
        ("own_nets_of_the_test:number", "has no function 'number'"),
        ("own_net:small", "there is no module 'own_net' in"),
        ("own_nets_of_the_test.deeper:small", "there is no module 'own_nets_of_the_test.deeper'"),
    ],
)
def test_what_is_not_there_is_said(here, name, said):
    with pytest.raises(RecipeError, match=r"^backbone") as error:
        load_function(name, "backbone", allowed=True)
    assert said in error.value.message


def test_what_the_module_itself_lacks_is_its_own_error(here):
    (here / "own_parts_of_the_test.py").write_text("import there_is_no_such_module\n")
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_module"):
        load_function(NAME, "backbone", allowed=True)


def test_what_is_no_network_is_refused(here):
    with pytest.raises(RecipeError, match=r"gave a int; expected a torch\.nn\.Module"):
        build_backbone("own_nets_of_the_test:nothing", 2, image_size=16, allow_code=True)


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
