"""A WD tagger through `twl tag`, against the loop that people write.

    python benchmarks/tag_wd.py photographs/

The model has the layout of a WD tagger and the network of a MobileNetV2 with random weights, which
changes nothing of how long it takes. The loop opens each image with Pillow, pads and resizes it,
and calls ONNX Runtime, with its own number of threads, for batches of eight. Both write the tags
above 0.35; the rounds take turns.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
import torch
from PIL import Image
from torch import Tensor, nn

from twlcli import tag_files
from twlcli.model.backbones import build_backbone

SIDE, LABELS, BATCH, THRESHOLD = 448, 1000, 8, 0.35


class WdTagger(nn.Module):
    """Float32 BGR images (N, H, W, 3) of 0..255 to probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.network = build_backbone("mobilenet_v2", LABELS, image_size=SIDE)

    def forward(self, images: Tensor) -> Tensor:
        return torch.sigmoid(self.network(images.permute(0, 3, 1, 2) / 127.5 - 1))


def write_model(folder: Path) -> None:
    torch.manual_seed(0)
    torch.onnx.export(
        WdTagger().eval(),
        (torch.zeros(2, SIDE, SIDE, 3),),
        folder / "model.onnx",
        dynamo=True,
        external_data=False,
        input_names=["input"],
        output_names=["output"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    with (folder / "selected_tags.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("tag_id", "name", "category", "count"))
        table.writerows((number, f"tag_{number}", 0, 1) for number in range(LABELS))


def loop(folder: Path, files: list[Path], out: Path) -> None:
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    with (folder / "selected_tags.csv").open(newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    with out.open("w", newline="") as file:
        table = csv.writer(file)
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            values = np.stack([prepared(path) for path in batch])
            (certain,) = session.run(None, {"input": values})
            for path, row in zip(batch, certain, strict=True):
                given = [names[place] for place in np.flatnonzero(row >= THRESHOLD)]
                table.writerow((path.name, "|".join(given)))


def prepared(path: Path) -> np.ndarray:
    image = Image.open(path).convert("RGB")
    side = max(image.size)
    square = Image.new("RGB", (side, side), (255, 255, 255))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    square = square.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(square, dtype=np.float32)[:, :, ::-1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    files = sorted(given.photographs.rglob("*.jpg"))[: given.count]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "wd"
        folder.mkdir()
        write_model(folder)
        twl, own = [], []
        for turn in range(given.rounds):
            began = time.perf_counter()
            tag_files(
                files,
                model=folder,
                outputs=[Path(name) / f"{turn}.csv"],
                threshold=THRESHOLD,
                journal=None,
            )
            twl.append(time.perf_counter() - began)
            began = time.perf_counter()
            loop(folder, files, Path(name) / "loop.csv")
            own.append(time.perf_counter() - began)
    for what, seconds in (("twl tag", twl), ("the loop", own)):
        print(f"{what:10} {len(files) / median(seconds):7.1f} images/s")
    ratios = [second / first for first, second in zip(twl, own, strict=True)]
    print(f"twl is {median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
