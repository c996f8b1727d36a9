"""Checkpoints, runs and recipes of strangers that name code: nothing of it is imported."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import twlcli
from twlcli.cli.app import app
from twlcli.errors import ModelError
from twlcli.model.spec import SPEC_KEY

MODULE = """
from pathlib import Path
Path({ran!r}).write_text("ran")

from torch import nn

def small(*, pretrained):
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU())

def mean(logits, targets):
    return logits.square().mean()
"""
SMALL = {
    "image.size": 16,
    "schedule.epochs": 1,
    "schedule.batch_size": 8,
    "train.workers": 0,
    "train.precision": "float32",
    "optimizer.learning_rate": 0.01,
}
OWN = {"model.backbone": "evil_of_the_test:small", "loss.name": "evil_of_the_test:mean"}
REFUSED = "nothing was imported"


@pytest.fixture(scope="module")
def made(tmp_path_factory, photographs) -> Path:
    """A folder with the module, and a run `run` that was trained with it, as by another process."""
    folder: Path = tmp_path_factory.mktemp("stranger")
    (folder / "evil_of_the_test.py").write_text(MODULE.format(ran="ran"))
    settings = [f"--set={key}={value}" for key, value in (SMALL | OWN).items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = twl("train", photographs, "--out", "run", *settings)
    assert done.exit_code == 0, done.stderr
    del sys.modules["evil_of_the_test"]
    assert "weights: those of evil_of_the_test:small" in done.stderr
    assert "next: twl eval run --allow-code, twl export run --allow-code" in done.stderr
    return folder


@pytest.fixture
def stranger(made, tmp_path, monkeypatch):
    """A copy of the folder as the current one; sees that nothing was imported in the end."""
    folder = tmp_path / "stranger"
    shutil.copytree(made, folder)
    (folder / "ran").unlink()
    monkeypatch.chdir(folder)
    yield folder
    assert not (folder / "ran").exists()
    assert "evil_of_the_test" not in sys.modules


def twl(*arguments: object):
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.mark.parametrize(
    "command",
    [
        ["eval", "run"],
        ["eval", "run/model.safetensors", "DATA"],
        ["eval", "run/model.safetensors", "run", "DATA"],
        ["export", "run"],
        ["export", "run", "--int8"],
        ["train", "--resume", "run", "--epochs", "2"],
        ["train", "DATA", "--recipe", "run/recipe.toml", "--out", "other"],
        ["compare", "DATA", "--recipe", "run/recipe.toml", "--out", "other"],
        ["recipe", "show", "run"],
    ],
    ids=" ".join,
)
def test_no_command_imports_what_a_file_names(stranger, photographs, command):
    before = {path: path.read_bytes() for path in stranger.rglob("*") if path.is_file()}
    done = twl(*(photographs if each == "DATA" else each for each in command))
    if command[0] == "recipe":
        assert done.exit_code == 0
        return
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "'evil_of_the_test:small': code, which importing the module 'evil_of" in done.stderr
    assert f"{REFUSED}; --allow-code allows it, if you trust it" in done.stderr
    kept = {path for path in stranger.rglob("*") if path.is_file() and path.name[0] != "."}
    assert {path: path.read_bytes() for path in kept} == before


@pytest.mark.parametrize(
    "call",
    [
        lambda data: twlcli.load_model("run"),
        lambda data: twlcli.evaluate("run"),
        lambda data: twlcli.export("run"),
        lambda data: twlcli.export_int8("run"),
        lambda data: twlcli.resume("run", settings={"schedule.epochs": 2}),
        lambda data: twlcli.train(data, recipe="run/recipe.toml", out="other"),
        lambda data: twlcli.train(data, recipe=twlcli.read_recipe("run/recipe.toml"), out="other"),
        lambda data: twlcli.train(twlcli.read_recipe("run/recipe.toml"), out="other"),
        lambda data: twlcli.compare(data, recipe="run/recipe.toml", out="other", seeds=1),
        lambda data: twlcli.train(
            data,
            recipe="run/recipe.toml",
            settings={"model.backbone": "resnet18"},  # the loss is still the file's
            out="other",
        ),
    ],
)
def test_no_function_imports_what_a_file_names(stranger, photographs, call):
    with pytest.raises(ModelError, match=REFUSED):
        call(photographs)
    assert not (stranger / "other").exists()


def test_weights_of_a_checkpoint_bring_no_code(stranger, photographs):
    settings = {**SMALL, "model.backbone": "resnet18", "model.weights": "run"}
    with pytest.raises(ModelError, match="its backbone is evil_of_the_test:small, not resnet18"):
        twlcli.train(photographs, settings=settings, out="other")


@pytest.mark.parametrize("name", ["os:system", "subprocess:run", "evil_of_the_test:small"])
def test_a_checkpoint_that_names_any_function_is_refused(stranger, name):
    file = stranger / "run" / "model.safetensors"
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        spec = json.loads(opened.metadata()[SPEC_KEY])
    spec["backbone"] = name
    save_file(load_file(file), stranger / "m.safetensors", metadata={SPEC_KEY: json.dumps(spec)})
    with pytest.raises(ModelError, match=f"its backbone is '{name}': code"):
        twlcli.load_model(stranger / "m.safetensors")


def test_with_the_permission_all_goes_on_and_the_exported_file_needs_none(
    made, photographs, monkeypatch
):
    monkeypatch.chdir(made)

    def run(*arguments: object, code: int = 0) -> str:
        done = twl(*arguments)
        assert done.exit_code == code, done.stderr
        imported = sys.modules.pop("evil_of_the_test", None)  # as in a process of its own
        assert (imported is None) == (code != 0 or allow not in arguments)
        return str(done.stdout + done.stderr)

    allow = "--allow-code"
    assert "continuing run" in run("train", "--resume", "run", "--epochs", 2, allow)
    torch_scores = json.loads(run("eval", "run", "--json", allow).partition("\n}")[0] + "\n}")
    run("export", "run", "--out", "m.onnx", allow)
    (made / "evil_of_the_test.py").rename(made / "moved.py")
    try:
        onnx_scores = json.loads(run("eval", "m.onnx", photographs, "--split", "val", "--json"))
        run("tag", photographs.parent / "0.png", "--model", "m.onnx", "--out", "tags.csv")
        said = run("eval", "run", allow, code=2)
        assert "there is no module 'evil_of_the_test' in" in said
    finally:
        (made / "moved.py").rename(made / "evil_of_the_test.py")
    expected = pytest.approx(torch_scores["map_class"]["value"], abs=1e-6)
    assert onnx_scores["map_class"]["value"] == expected
    assert torch.isfinite(torch.tensor(onnx_scores["map_class"]["value"]))


def test_a_frozen_run_with_a_strangers_checkpoint_imports_nothing(
    stranger, photographs, features, tmp_path
):
    """The recipe names a network of torchvision, and the checkpoint beside it another's code."""
    run = tmp_path / "frozen"
    settings: dict[Any, Any] = {"model.frozen": True, "model.weights": "none", "image.size": 32}
    settings["model.backbone"] = "resnet18"
    twlcli.train(
        photographs,
        out=run,
        settings=settings,
        device="cpu",
        features=features,
    )
    shutil.copy(stranger / "run/model.safetensors", run / "model.safetensors")
    done = twl("train", "--resume", run, "--features", features)
    assert done.exit_code == 2
    assert "its backbone is evil_of_the_test:small, not resnet18" in done.stderr
