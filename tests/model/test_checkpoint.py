import pytest
import torch

from tests.exporting.drawn import small_run
from twlcli.errors import ModelError
from twlcli.labels import Vocabulary
from twlcli.model.backbones import build_backbone
from twlcli.model.checkpoint import load_checkpoint, write_checkpoint
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec


def test_loading_leaves_the_random_generator_as_it_was(tmp_path, photographs):
    run = small_run(tmp_path / "run", photographs)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_checkpoint(run.folder)
    assert torch.equal(torch.rand(3), expected)


def test_damaged_weights_are_refused(tmp_path):
    network = build_backbone("shufflenet_v2_x0_5", 3, image_size=32)
    spec = ModelSpec(
        Vocabulary(("a", "b", "c")),
        "shufflenet_v2_x0_5",
        Preprocessing(resize=36, crop=32, interpolation="bilinear"),
        None,
        None,
        {},
    )
    path = tmp_path / "model.safetensors"
    write_checkpoint(network, spec, path)
    loaded, _ = load_checkpoint(path)
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is damaged: its weights are not those"):
        load_checkpoint(path)
    with torch.no_grad():
        next(network.parameters())[0] = float("nan")
    write_checkpoint(network, spec, path)
    with pytest.raises(ModelError, match=r"'conv1\.0\.weight' holds numbers that are not finite"):
        load_checkpoint(path)
