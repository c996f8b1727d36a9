import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from timm.models import save_for_hf

from tests.images.encoded import picture
from tests.model.hub import serving
from twlcli.errors import MissingExtraError, RecipeError
from twlcli.images.preprocess import cropped
from twlcli.labels import Vocabulary
from twlcli.model.backbones import build_backbone, head_parameters
from twlcli.model.checkpoint import load_checkpoint, read_spec, write_checkpoint
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.model.weights import load_weights, origin_of
from twlcli.recipe import Recipe
from twlcli.runs.resolve import resolved_recipe

SMALL = ["timm:resnet10t", "timm:mobilenetv4_conv_small", "timm:vit_tiny_patch16_224"]
PRETRAINED = [
    "resnet10t.c3_in1k",
    "convnext_tiny.fb_in22k_ft_in1k",
    "efficientnet_lite0.ra_in1k",
    "mobilenetv4_conv_small.e2400_r224_in1k",
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    "vit_small_patch14_dinov2.lvd142m",
    "vit_small_patch16_dinov3.lvd1689m",
    "vit_base_patch16_siglip_224.v2_webli",
    "eva02_tiny_patch14_224.mim_in22k",
    "swin_tiny_patch4_window7_224.ms_in1k",
]


@pytest.mark.parametrize("name", SMALL)
def test_a_network_gives_one_logit_per_label(name):
    network = build_backbone(name, 5, image_size=64).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 5)
    head = head_parameters(network)
    assert [len(each) for each in head] == [5, 5]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:resnet1", "no backbone 'resnet1' in timm; did you mean"),
        ("timm:resnet10t.none", "no weights 'none' of 'resnet10t'; it has c3_in1k"),
        ("timm:hf-hub:me/net", "no backbone 'hf-hub:me/net' in timm"),
        ("timm:local-dir:/tmp", "no backbone 'local-dir:/tmp' in timm"),
        ("timm:", "no backbone '' in timm"),
        ("timm:deit_tiny_distilled_patch16_224", "has several heads"),
    ],
)
def test_what_is_no_network_is_refused(name, said):
    with pytest.raises(RecipeError, match=r"backbone|weights") as error:
        build_backbone(name, 2, image_size=65)
    assert said in str(error.value)


def test_the_extra_is_named_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        MissingExtraError, match=r"backbone 'timm:resnet10t' needs the 'timm' extra"
    ):
        build_backbone("timm:resnet10t", 2, image_size=64)


@pytest.mark.parametrize("name", PRETRAINED)
def test_images_become_what_timm_makes_of_them(name):
    """To two grey levels, as the weights were trained on."""
    values = resolved_recipe("data.csv", settings=[f"model.backbone=timm:{name}"]).image
    form = Preprocessing(values.resize, values.size, values.interpolation, values.mean, values.std)
    pretrained = timm.models.get_pretrained_cfg(name)
    assert pretrained is not None
    config = resolve_data_config({}, pretrained_cfg=pretrained.to_dict())
    transform = create_transform(**config, is_training=False)
    assert (tuple(config["mean"]), tuple(config["std"])) == (form.mean, form.std)
    for size in ((640, 480), (301, 500), (200, 200)):
        image = picture(*size)
        expected = transform(image).permute(1, 2, 0) * torch.tensor(form.std)
        expected = 255 * (expected + torch.tensor(form.mean))
        ours = np.asarray(cropped(image, form), dtype=np.float32)
        assert np.abs(ours - expected.numpy()).max() <= 2


def test_values_of_an_image_that_are_given_stay():
    settings = ["model.backbone=timm:vit_small_patch14_dinov2", "image.size=224"]
    image = resolved_recipe("data.csv", settings=settings).image
    assert (image.size, image.resize, image.interpolation) == (224, 224, "bicubic")
    settings += ["image.resize=256", "image.interpolation=bilinear", "image.mean=[0, 0.1, 0.2]"]
    image = resolved_recipe("data.csv", settings=settings).image
    assert (image.resize, image.interpolation, image.mean) == (256, "bilinear", (0.0, 0.1, 0.2))
    again = Recipe.from_toml(
        resolved_recipe("data.csv", settings=settings).to_toml(), place="recipe.toml"
    )
    assert resolved_recipe("data.csv", again).image == image  # what a run was trained with
    assert resolved_recipe("data.csv", settings=["model.backbone=resnet18"]).image.size == 224


def test_a_checkpoint_is_built_again(tmp_path):
    torch.manual_seed(0)
    network = build_backbone("timm:resnet10t", 2, image_size=64)
    spec = ModelSpec(
        Vocabulary(("dog", "cat")),
        "timm:resnet10t",
        Preprocessing(64, 64, "bicubic", (0.5,) * 3, (0.5,) * 3),
    )
    write_checkpoint(network, spec, tmp_path / "m.safetensors")
    loaded, read = load_checkpoint(tmp_path / "m.safetensors")
    assert read == spec
    for name, value in network.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_weights_of_a_file_fit_another_image_size(tmp_path, name):
    torch.manual_seed(0)
    source = timm.create_model(name, num_classes=3)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    network = build_backbone(f"timm:{name}", 2, image_size=96)
    report = load_weights(network, f"timm:{name}", str(tmp_path / "w.safetensors"), image_size=96)
    assert report is not None
    assert report.missing == ()


def test_where_weights_come_from_is_kept():
    found = origin_of("timm:convnext_tiny.fb_in22k_ft_in1k", "default")
    source = "hf-hub:timm/convnext_tiny.fb_in22k_ft_in1k"
    assert found == {"source": source, "licence": "apache-2.0"}
    assert origin_of("timm:resnet10t", "/home/kim/w.pth") == {"source": "w.pth"}
    assert origin_of("timm:resnet10t", "none") is None
    assert origin_of("resnet18", "default") == {
        "source": "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    }


def twl(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "twlcli", *map(str, arguments)]
    environment = {**os.environ, "HF_HUB_DISABLE_XET": "1", **variables}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def hub(folder: Path, **arguments: object) -> dict[str, torch.Tensor]:
    """A model `me/tiny` in a folder; gives its weights."""
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", num_classes=7)
    place = folder / "me" / "tiny"
    place.mkdir(parents=True)
    save_for_hf(network, str(place), model_config={"num_classes": 7}, safe_serialization=True)
    config = json.loads((place / "config.json").read_text())
    config["pretrained_cfg"] |= {"mean": [0.5, 0.5, 0.5], "input_size": [3, 64, 64]}
    config["pretrained_cfg"]["license"] = "cc0-1.0"
    config["model_args"] |= arguments
    (place / "config.json").write_text(json.dumps(config))
    return {key: value.clone() for key, value in network.state_dict().items()}


@pytest.mark.slow
def test_a_model_of_the_hub_is_trained_exported_and_tags_without_the_hub(tmp_path, photographs):
    weights = hub(tmp_path / "hub")
    run, home = tmp_path / "run", str(tmp_path / "home")
    train = ["train", photographs, "--backbone", "hf-hub:me/tiny", "--out", run, "--workers", 0]
    train += ["--epochs", 1, "--batch-size", 8, "--learning-rate", "1e-7"]
    with serving(tmp_path / "hub") as (address, asked):
        done = twl(*train, HF_ENDPOINT=address, HF_HOME=home)
    assert done.returncode == 0, done.stderr
    assert f"weights: {len(weights) - 2} tensors loaded" in done.stderr
    assert sum("GET" in each and "safetensors" in each for each in asked) == 1
    spec = read_spec(run)
    assert (spec.backbone, spec.preprocessing.crop) == ("timm:resnet10t", 64)
    assert spec.preprocessing.mean == (0.5, 0.5, 0.5)
    assert spec.provenance["weights"] == {"source": "hf-hub:me/tiny", "licence": "cc0-1.0"}
    trained = load_checkpoint(run)[0].state_dict()
    for name, value in weights.items():
        if name.endswith("weight") and not name.startswith("fc."):
            torch.testing.assert_close(trained[name], value, atol=1e-4, rtol=1e-3)
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "empty")}
    resumed = twl("train", "--resume", run, "--epochs", 2, **nowhere)
    assert resumed.returncode == 0, resumed.stderr
    exported = twl("export", run, "--out", tmp_path / "m.onnx", **nowhere)
    assert exported.returncode == 0, exported.stderr
    tagged = twl("tag", photographs.parent / "0.png", "--model", tmp_path / "m.onnx", **nowhere)
    assert tagged.returncode == 0, tagged.stderr


@pytest.mark.parametrize(
    ("harm", "files", "said"),
    [
        ({"etag": "../../../../../evil"}, (), r"names a version '../../../../../evil', expected"),
        ({"endless": True}, (), "the hub sends more than 16 MiB"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ({"etag": "/tmp/evil"}, (), "a version '/tmp/evil', expected a digest"),
                ({"commit": "../../../../../evil"}, (), "names a version '../../../../../evil'"),
                ({"commit": "../../../../../evil"}, ("config.json",), "a version '../../../.."),
            )
        ),
    ],
)
def test_a_hub_that_means_harm_writes_nowhere_else_and_not_without_end(
    tmp_path, photographs, harm, files, said
):
    hub(tmp_path / "a" / "b" / "hub")
    for name in files:
        (tmp_path / "a" / "b" / "hub" / "me" / "tiny" / name).unlink()
    home = tmp_path / "a" / "b" / "home"
    with serving(tmp_path / "a" / "b" / "hub", **harm) as (address, _):
        train = ["train", photographs, "--backbone", "hf-hub:me/tiny", "--out", tmp_path / "run"]
        done = twl(*train, HF_ENDPOINT=address, HF_HOME=str(home))
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert not list(tmp_path.rglob("*evil*"))
    assert sum(path.stat().st_size for path in home.rglob("*") if path.is_file()) < 20 << 20


@pytest.mark.parametrize(
    ("arguments", "files", "said"),
    [
        ({"global_pool": "max"}, (), "is a resnet10t with other arguments (global_pool max)"),
        ({}, ("model.safetensors",), "cannot get the weights of 'hf-hub:me/tiny'"),
        pytest.param({"in_chans": 1}, (), "other arguments (in_chans 1)", marks=pytest.mark.slow),
        pytest.param(
            {}, ("config.json",), "hf-hub:me/tiny: cannot be read", marks=pytest.mark.slow
        ),
    ],
)
def test_a_model_of_the_hub_that_cannot_be_used_is_one_line(
    tmp_path, photographs, arguments, files, said
):
    hub(tmp_path / "hub", **arguments)
    for name in files:
        (tmp_path / "hub" / "me" / "tiny" / name).unlink()
    with serving(tmp_path / "hub") as (address, _):
        train = ["train", photographs, "--backbone", "hf-hub:me/tiny", "--out", tmp_path / "run"]
        done = twl(*train, HF_ENDPOINT=address, HF_HOME=str(tmp_path / "home"))
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
