import pytest
import torch
from safetensors.torch import save_file

from twlcli.errors import ModelError
from twlcli.labels import Vocabulary
from twlcli.model.backbones import build_backbone, head_parameters
from twlcli.model.checkpoint import write_checkpoint
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.model.weights import load_weights


@pytest.mark.parametrize("wrapping", ["plain", "wrapped", "safetensors"])
@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mnasnet0_5"])
def test_weights_fit_all_but_the_head(tmp_path, name, wrapping):
    source = build_backbone(name, 7, image_size=64)
    state = {f"module.{key}": value for key, value in source.state_dict().items()}
    path = tmp_path / "weights.pth"
    if wrapping == "safetensors":
        path = tmp_path / "weights.safetensors"
        save_file(source.state_dict(), path)
    else:
        torch.save({"state_dict": state} if wrapping == "wrapped" else state, path)
    network = build_backbone(name, 3, image_size=64)
    report = load_weights(network, name, str(path))
    assert report is not None
    assert (report.missing, report.unused) == ((), ())
    assert report.fitted == len(source.state_dict()) - 2
    loaded = network.state_dict()
    body = [key for key in source.state_dict() if not key.startswith(("fc.", "classifier."))]
    assert all(torch.equal(loaded[key], source.state_dict()[key]) for key in body)


def test_weights_report_what_did_not_fit(tmp_path):
    source = build_backbone("resnet18", 3, image_size=64).state_dict()
    source["extra.weight"] = torch.zeros(1)
    del source["conv1.weight"]
    source["bn1.weight"] = torch.zeros(3)
    torch.save(source, tmp_path / "weights.pth")
    network = build_backbone("resnet18", 3, image_size=64)
    report = load_weights(network, "resnet18", str(tmp_path / "weights.pth"))
    assert report is not None
    assert report.missing == ("bn1.weight", "conv1.weight")
    assert report.unused == ("extra.weight",)


def test_positions_of_a_vision_transformer_are_resampled(tmp_path):
    source = build_backbone("vit_b_32", 3, image_size=96)
    torch.save(source.state_dict(), tmp_path / "vit.pth")
    network = build_backbone("vit_b_32", 3, image_size=64)
    report = load_weights(network, "vit_b_32", str(tmp_path / "vit.pth"))
    assert report is not None
    assert report.missing == ()


def test_no_weights_are_no_report():
    network = build_backbone("resnet18", 3, image_size=64)
    assert load_weights(network, "resnet18", "none") is None


class Harmful:
    def __reduce__(self):
        return (print, ("code in the file ran",))


def test_files_that_are_not_weights_are_refused(tmp_path, capsys):
    network = build_backbone("resnet18", 3, image_size=64)
    text, harmful, other, empty = (tmp_path / name for name in ("a.pth", "b.pth", "c.pth", "d.pth"))
    text.write_text("not weights")
    torch.save({"weight": Harmful()}, harmful)
    torch.save({"weight": torch.zeros(3)}, other)
    torch.save([1, 2], empty)
    for path, message in (
        (tmp_path / "none.pth", "cannot read the weights"),
        (text, "not a file of weights"),
        (harmful, "not a file of weights alone"),
        (other, "0 of its 1 tensors fit backbone 'resnet18', with 0.0% of its parameters"),
        (empty, "holds no state dict"),
    ):
        with pytest.raises(ModelError, match=message):
            load_weights(network, "resnet18", str(path))
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("shufflenet_v2_x0_5", 64),
        ("squeezenet1_1", 64),
        pytest.param("vit_b_32", 64, marks=pytest.mark.slow),
    ],
)
def test_labels_that_a_model_knows_keep_their_part_of_the_head(tmp_path, name, size):
    source = build_backbone(name, 3, image_size=size)
    spec = ModelSpec(Vocabulary(("bird", "cat", "dog")), name, Preprocessing(size, size))
    write_checkpoint(source, spec, tmp_path / "model.safetensors")
    labels = ("ant", "dog", "bird")
    for weights in (tmp_path, tmp_path / "model.safetensors"):
        network = build_backbone(name, 3, image_size=size)
        new = [parameter.clone() for parameter in head_parameters(network)]
        report = load_weights(network, name, str(weights), labels)
        assert report is not None
        assert (report.labels_kept, report.labels_new) == (("dog", "bird"), ("ant",))
        assert report.missing == report.unused == ()
        parts = zip(head_parameters(network), head_parameters(source), new, strict=True)
        for actual, theirs, drawn in parts:
            assert torch.equal(actual[0], drawn[0])
            assert torch.equal(actual[1:], theirs[[2, 0]])
        assert torch.equal(next(network.parameters()), next(source.parameters()))


def test_a_model_of_another_backbone_is_refused(tmp_path):
    spec = ModelSpec(Vocabulary(("a",)), "shufflenet_v2_x0_5", Preprocessing(64, 64))
    source = build_backbone("shufflenet_v2_x0_5", 1, image_size=64)
    write_checkpoint(source, spec, tmp_path / "model.safetensors")
    network = build_backbone("shufflenet_v2_x1_0", 1, image_size=64)
    message = "its backbone is shufflenet_v2_x0_5, not shufflenet_v2_x1_0; `backbone` shuffle"
    with pytest.raises(ModelError, match=message):
        load_weights(network, "shufflenet_v2_x1_0", str(tmp_path), ("a",))


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(build_backbone("resnet50", 3, image_size=64).state_dict(), tmp_path / "a.pth")
    network = build_backbone("resnet18", 3, image_size=64)
    with pytest.raises(ModelError, match=r"a\.pth: \d+ of its 320 tensors fit backbone 'resnet18'"):
        load_weights(network, "resnet18", str(tmp_path / "a.pth"))
