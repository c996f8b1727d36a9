"""`twl tag` against the loops that people write, on the same files, model and machine.

Photographs of 12 megapixels, 1600 x 1200 and 500 x 375 in equal parts, made from those of a folder.
Each contestant is a process of its own, in turn; wall time and peak memory are medians.

    twl         twl tag FOLDER --model MODEL --out tags.csv
    serial      Pillow decodes in full, uint8 into the same model, batch 1, ONNX Runtime's defaults
    usual       the taggers' loop: full decode, float32 preprocessing in NumPy, batch 1, defaults

The bound is (CPU seconds of twl's decoding + CPU seconds of inference, one thread each) / cores.
Needs twl's `train` extra, to build the two models with random weights.

    python benchmarks/tag.py PHOTOGRAPHS [--backbone resnet50] [--each 20] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

SIZES = ((4000, 3000), (1600, 1200), (500, 375))
CROP, RESIZE, LABELS = 224, 256, 20
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def make_photographs(source: Path, folder: Path, each: int) -> None:
    files = sorted(source.rglob("*.jpg"))[: each * len(SIZES)]
    if len(files) < each * len(SIZES):
        raise SystemExit(f"{source}: expected at least {each * len(SIZES)} .jpg files")
    for number, file in enumerate(files):
        with Image.open(file) as image:
            large = image.convert("RGB").resize(
                SIZES[number % len(SIZES)], Image.Resampling.LANCZOS
            )
        large.save(folder / f"{number:04}.jpg", quality=90)


def make_models(backbone: str, folder: Path) -> None:
    """twl's model with uint8 input, and the same network with float32 input as others export it."""
    import torch

    from twlcli.deploy.export import Deployable, _write
    from twlcli.labels import Vocabulary
    from twlcli.spec import Calibration, ModelSpec, Preprocessing, Thresholds
    from twlcli.training.backbones import build_backbone

    torch.manual_seed(0)
    network = build_backbone(backbone, LABELS, image_size=CROP).eval()
    spec = ModelSpec(
        Vocabulary(tuple(f"label {number}" for number in range(LABELS))),
        backbone,
        Preprocessing(RESIZE, CROP),
        Calibration((1.0,) * LABELS, (0.0,) * LABELS),
        Thresholds((0.5,) * LABELS, {}),
    )
    _write(Deployable(network, spec), spec, folder / "twl.onnx")
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, CROP, CROP),),
        folder / "float.onnx",
        dynamo=True,
        input_names=["images"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )


def decoded(file: Path) -> Image.Image:
    """Full decode, shorter side to 256, centre crop."""
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    scale = RESIZE / min(image.size)
    image = image.resize(
        (round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR
    )
    left, top = (image.width - CROP) // 2, (image.height - CROP) // 2
    return image.crop((left, top, left + CROP, top + CROP))


def serial(folder: Path, photographs: Path) -> None:
    session = onnxruntime.InferenceSession(folder / "twl.onnx")
    for file in sorted(photographs.iterdir()):
        session.run(["probabilities"], {"images": np.asarray(decoded(file))[None]})


def usual(folder: Path, photographs: Path) -> None:
    session = onnxruntime.InferenceSession(folder / "float.onnx")
    for file in sorted(photographs.iterdir()):
        pixels = np.asarray(decoded(file), dtype=np.float32) / 255
        batch = ((pixels - MEAN) / DEVIATION).transpose(2, 0, 1)[None]
        logits = session.run(None, {"images": np.ascontiguousarray(batch)})[0]
        1 / (1 + np.exp(-logits))


def prepare(folder: Path, source: Path, options: argparse.Namespace) -> None:
    photographs = folder / "photographs"
    photographs.mkdir()
    make_photographs(source, photographs, options.each)
    make_models(options.backbone, folder)


def bound(folder: Path, photographs: Path) -> None:
    """Print the CPU seconds of decoding and of inference in one thread, spread over the cores."""
    from twlcli.images.preprocess import load
    from twlcli.images.stream import usable_cores
    from twlcli.tagging.session import OnnxPredictor

    predictor = OnnxPredictor(folder / "twl.onnx", threads=1)
    files = sorted(photographs.iterdir())
    start = time.process_time()
    images = np.stack([load(file, predictor.spec.preprocessing) for file in files])
    for first in range(0, len(images), 8):
        predictor(images[first : first + 8])
    print((time.process_time() - start) / usable_cores())


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MB of a process, its start and its imports too."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: ended with {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--each", type=int, default=20, help="photographs of each size")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--as", dest="part", help="what this process does; set by the script")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.part == "prepare":
        prepare(options.folder, options.photographs, options)
    elif options.part:
        part = {"serial": serial, "usual": usual, "bound": bound}[options.part]
        part(options.folder, options.folder / "photographs")
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    """Every part in a process of its own: a child is charged for its parent's memory."""

    def part(name: str) -> list[str]:
        settings = ["--backbone", options.backbone, "--each", str(options.each)]
        place = [str(options.photographs), "--folder", str(folder)]
        return [sys.executable, __file__, *place, *settings, "--as", name]

    subprocess.run(part("prepare"), check=True, stderr=subprocess.DEVNULL)
    tag = [sys.executable, "-m", "twlcli", "tag", str(folder / "photographs"), "--no-journal"]
    outputs = ["--model", str(folder / "twl.onnx"), "--out", str(folder / "tags.csv"), "--force"]
    commands = {"twl": [*tag, *outputs], "serial": part("serial"), "usual": part("usual")}
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    bounds = []
    for _ in range(options.rounds):
        bounds.append(float(subprocess.check_output(part("bound"))))
        for name, command in commands.items():
            results[name].append(measured(command))
    seconds = {key: statistics.median(run[0] for run in runs) for key, runs in results.items()}
    megabytes = {key: statistics.median(run[1] for run in runs) for key, runs in results.items()}
    print(f"{options.backbone}, {options.each * len(SIZES)} photographs, {os.cpu_count()} cores")
    print("contestant   seconds   of twl's   peak MB")
    for key in results:
        print(
            f"{key:10} {seconds[key]:9.2f} {seconds[key] / seconds['twl']:10.2f} "
            f"{megabytes[key]:9.0f}"
        )
    print(f"twl's wall time over the bound: {seconds['twl'] / statistics.median(bounds):.2f}")


if __name__ == "__main__":
    main()
