"""A run of a small network with random weights for the tests of int8."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from twlcli.labels import Vocabulary
from twlcli.model.backbones import build_backbone
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import SPEC_KEY, Calibration, ModelSpec, Thresholds
from twlcli.recipe import DataRecipe, Recipe
from twlcli.runs.run_folder import Run

SIZE = 48
COLOURS = ("blue", "green", "red")  # the labels of the `photographs`


def small_run(folder: Path, table: Path) -> Run:
    """A run whose network was never trained; its calibration is as good as any."""
    run = Run.create(folder, Recipe(data=DataRecipe(path=str(table))))
    torch.manual_seed(0)
    network = build_backbone("squeezenet1_1", len(COLOURS), image_size=SIZE)
    state = network.state_dict()
    state["classifier.1.weight"] *= 100  # so that the logits differ from image to image
    state["classifier.1.bias"] += 50  # and a ReLU comes after them
    spec = ModelSpec(
        Vocabulary(COLOURS),
        "squeezenet1_1",
        Preprocessing(resize=SIZE, crop=SIZE),
        Calibration((1.0, 0.5, 2.0), (0.0, -1.0, 1.0)),
        Thresholds((0.5, 0.4, 0.3), {"0.9": (0.9, 0.8, 1.01)}),
        {"data": "drawn"},
    )
    save_file(state, run.checkpoint, metadata={SPEC_KEY: spec.to_json()})
    return run
