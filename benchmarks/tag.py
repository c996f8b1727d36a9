"""`twl tag` against the loops that people write, on the same files, model and machine.

Photographs of 12 megapixels, 1600 x 1200 and 500 x 375 in equal parts, made from those of a folder.
Each contestant is a process of its own, in turn; figures are medians.

    twl         twl tag FOLDER --model MODEL --out tags.csv
    serial      Pillow decodes in full, uint8 into the same model, batch 1, ONNX Runtime's defaults
    usual       the taggers' loop: full decode, float32 preprocessing in NumPy, batch 1, defaults
    torch       the loop of timm and transformers: torchvision's transforms, eager, batch 1

Seconds are those of the whole process, and without its start: less those for three photographs.
Memory is the peak of the process, with twl's decoders on top.
The bound is (CPU seconds of twl's decoding + CPU seconds of inference, one thread each) / cores.
Needs twl's `train` extra, to build the models, with random weights.

    python benchmarks/tag.py PHOTOGRAPHS [--backbone resnet50] [--each 40] [--rounds 3]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
from PIL import Image
from processes import Cost, cost_of

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

    from twlcli.exporting.onnx import Deployable, write_model
    from twlcli.labels import Vocabulary
    from twlcli.model.backbones import build_backbone
    from twlcli.model.preprocessing import Preprocessing
    from twlcli.model.spec import Calibration, ModelSpec, Thresholds

    torch.manual_seed(0)
    network = build_backbone(backbone, LABELS, image_size=CROP).eval()
    spec = ModelSpec(
        Vocabulary(tuple(f"label {number}" for number in range(LABELS))),
        backbone,
        Preprocessing(RESIZE, CROP),
        Calibration((1.0,) * LABELS, (0.0,) * LABELS),
        Thresholds((0.5,) * LABELS, {}),
    )
    write_model(Deployable(network, spec), spec, folder / "twl.onnx")
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


def eager(folder: Path, photographs: Path) -> None:
    import torch
    import torchvision
    from torchvision import transforms

    name = (folder / "backbone").read_text()
    network = torchvision.models.get_model(name, num_classes=LABELS).eval()
    steps = transforms.Compose(
        [
            transforms.Resize(RESIZE),
            transforms.CenterCrop(CROP),
            transforms.ToTensor(),
            transforms.Normalize(MEAN.tolist(), DEVIATION.tolist()),
        ]
    )
    with torch.inference_mode():
        for file in sorted(photographs.iterdir()):
            with Image.open(file) as image:
                torch.sigmoid(network(steps(image.convert("RGB"))[None]))


def prepare(folder: Path, source: Path, options: argparse.Namespace) -> None:
    photographs, few = folder / "photographs", folder / "few"
    photographs.mkdir()
    few.mkdir()
    make_photographs(source, photographs, options.each)
    for file in sorted(photographs.iterdir())[: len(SIZES)]:
        (few / file.name).hardlink_to(file)
    make_models(options.backbone, folder)
    (folder / "backbone").write_text(options.backbone)


def bound(folder: Path, photographs: Path) -> None:
    """Print the CPU seconds of decoding and of inference in one thread, spread over the cores."""
    from twlcli.images.preprocess import load_crop
    from twlcli.model.onnx import OnnxPredictor
    from twlcli.parallel import usable_cores

    predictor = OnnxPredictor(folder / "twl.onnx", threads=1)
    files = sorted(photographs.iterdir())
    start = time.process_time()
    images = np.stack(
        [np.asarray(load_crop(file, None, predictor.spec.preprocessing)) for file in files]
    )
    for first in range(0, len(images), 8):
        predictor(images[first : first + 8])
    print((time.process_time() - start) / usable_cores())


PARTS = {"serial": serial, "usual": usual, "torch": eager, "bound": bound}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--each", type=int, default=40, help="photographs of each size")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--as", dest="part", help="what this process does; set by the script")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.part == "prepare":
        prepare(options.folder, options.photographs, options)
    elif options.part:
        PARTS[options.part](options.folder, options.photographs)
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    """Every part in a process of its own: a child is charged for its parent's memory."""
    from twlcli.parallel import usable_cores

    def part(name: str, photographs: Path) -> list[str]:
        place = [str(photographs), "--folder", str(folder), "--as", name]
        return [sys.executable, __file__, *place]

    def twl(photographs: Path) -> list[str]:
        outputs = ["--model", str(folder / "twl.onnx"), "--out", str(folder / "tags.csv")]
        command = [sys.executable, "-m", "twlcli", "tag", str(photographs), *outputs]
        return [*command, "--force", "--no-journal"]

    settings = ["--backbone", options.backbone, "--each", str(options.each)]
    preparing = [*part("prepare", options.photographs), *settings]
    subprocess.run(preparing, check=True, stderr=subprocess.DEVNULL)
    names = ("twl", "serial", "usual", "torch")
    whole: dict[str, list[Cost]] = {name: [] for name in names}
    start: dict[str, list[Cost]] = {name: [] for name in names}
    bounds = []
    for _ in range(options.rounds):
        bounds.append(float(subprocess.check_output(part("bound", folder / "photographs"))))
        for name in names:
            for costs, photographs in ((whole, "photographs"), (start, "few")):
                place = folder / photographs
                costs[name].append(cost_of(twl(place) if name == "twl" else part(name, place)))
    count = options.each * len(SIZES)
    print(f"{options.backbone}, {count} photographs, {usable_cores()} cores")
    print("            whole process           without its start")
    print("contestant  seconds  of twl's       seconds  of twl's   peak MB  of twl's")
    rows = {}
    for name in names:
        seconds = median(cost.seconds for cost in whole[name])
        few = median(cost.seconds for cost in start[name])
        steady = (seconds - few) * count / (count - len(SIZES))
        rows[name] = seconds, steady, median(cost.megabytes for cost in whole[name])
    for name, values in rows.items():
        cells = "".join(
            f"{value:11.2f} {value / ours:9.2f} "
            for value, ours in zip(values, rows["twl"], strict=True)
        )
        print(f"{name:8}{cells}")
    lowest = median(bounds)
    print(f"twl's time over the bound of {lowest:.2f} s:", end=" ")
    print(f"{rows['twl'][0] / lowest:.2f} whole, {rows['twl'][1] / lowest:.2f} without its start")


if __name__ == "__main__":
    main()
