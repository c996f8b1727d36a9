import pytest
import torch
from safetensors.torch import save_file

from twlcli.errors import ModelError, RecipeError
from twlcli.model.backbones import (
    backbone_names,
    build_backbone,
    head_parameters,
    load_weights,
)

FAMILIES = [
    ("resnet18", 64),
    ("mobilenet_v2", 64),
    ("mobilenet_v3_small", 64),
    ("efficientnet_b0", 64),
    ("convnext_tiny", 64),
    ("regnet_y_400mf", 64),
    ("vit_b_32", 64),
    ("swin_t", 64),
    ("squeezenet1_1", 64),
    ("densenet121", 64),
    ("shufflenet_v2_x0_5", 64),
    ("googlenet", 64),
    ("mnasnet0_5", 64),
]


@pytest.mark.parametrize(("name", "size"), FAMILIES)
def test_every_family_gives_one_logit_per_label(name, size):
    network = build_backbone(name, 5, image_size=size).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, size, size)).shape == (2, 5)
    head = head_parameters(network)
    assert {parameter.shape[0] for parameter in head} == {5}


def test_unknown_backbone_names_the_nearest():
    with pytest.raises(RecipeError, match=r"'resnet5'.*did you mean"):
        build_backbone("resnet5", 2, image_size=64)


def test_image_size_that_does_not_fit_is_refused():
    with pytest.raises(RecipeError, match="'vit_b_32' does not take 65 pixels"):
        build_backbone("vit_b_32", 2, image_size=65)


def test_backbone_names_are_classification_networks():
    names = backbone_names()
    assert {"resnet50", "vit_b_16", "swin_t"} <= set(names)
    assert not any("rcnn" in name or "quantized" in name for name in names)


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
        (harmful, "not a file of weights that is safe to load"),
        (other, "none of its 1 tensors fits backbone 'resnet18'"),
        (empty, "holds no state dict"),
    ):
        with pytest.raises(ModelError, match=message):
            load_weights(network, "resnet18", str(path))
    assert "ran" not in capsys.readouterr().out
