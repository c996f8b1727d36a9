"""Computing features against `twl tag`, with the same network on the same images.

    python benchmarks/features.py PHOTOGRAPHS [--backbone mobilenet_v2] [--count 1000] [--rounds 3]

Both decode in sandbox processes and run the network in ONNX Runtime; features are written to a
cache on disk, tags to a table with a journal. In turns, in one process, with the network loaded
before and the model not; figures are medians. `cached` is reading the features back.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from twlcli import read_labels, tag_files
from twlcli.exporting.onnx import Deployable, write_model
from twlcli.features import network as networks
from twlcli.features.cache import FeatureCache
from twlcli.features.extract import extract
from twlcli.labels import Vocabulary
from twlcli.model.backbones import build_backbone
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import Calibration, ModelSpec, Thresholds

FORM = Preprocessing()
LABELS = 20
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.manual_seed(0)
    network = build_backbone(given.backbone, LABELS, image_size=FORM.crop).eval()
    about = networks.about(network, given.backbone, FORM, CPU)
    files = sorted(given.photographs.rglob("*.jpg"))[: given.count]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model.onnx"
        spec = ModelSpec(
            Vocabulary(tuple(f"label {number}" for number in range(LABELS))),
            given.backbone,
            FORM,
            Calibration((1.0,) * LABELS, (0.0,) * LABELS),
            Thresholds((0.5,) * LABELS, {}),
        )
        write_model(Deployable(network, spec), spec, model)
        predictor = networks.predictor(network, about, folder / "network.onnx", CPU)
        table = folder / "labels.csv"
        rows = (f"{file.absolute()},label {number % 2}" for number, file in enumerate(files))
        table.write_text("image,labels\n" + "\n".join(rows))
        data = read_labels(table)
        features, tags, cached = [], [], []
        for turn in range(given.rounds):
            began = time.perf_counter()
            with FeatureCache(folder / str(turn), about) as cache:
                extract(lambda: predictor, cache, data)
            features.append(time.perf_counter() - began)
            began = time.perf_counter()
            tag_files(files, model=model, outputs=[folder / f"tags-{turn}.csv"])
            tags.append(time.perf_counter() - began)
            began = time.perf_counter()
            with FeatureCache(folder / str(turn), about) as cache:
                extract(lambda: predictor, cache, data)
            cached.append(time.perf_counter() - began)
    for what, seconds in (("features", features), ("tags", tags), ("cached", cached)):
        print(f"{what:10} {median(seconds):8.2f} s  {len(files) / median(seconds):8.0f} images/s")
    ratios = [own / other for own, other in zip(features, tags, strict=True)]
    print(f"features take {median(ratios):.2f} times as long as tags")


if __name__ == "__main__":
    main()
