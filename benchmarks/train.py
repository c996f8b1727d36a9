"""Images per second of training, and what bounds them.

For each network, precision, mode (eager or compiled) and layout of memory:

- `device`: twl's step on a batch that is on the device already, which nothing can exceed;
- `twl`: the step fed from JPEGs by twl's loader, with each number of processes;
- `plain`: the loop that people write, with the same loss and processes: a DataLoader of Pillow
  images with torchvision's transforms, autocast, and the loss read at each step (eager only).

Beside them the loader alone and the copies to the device alone. All run in turn, in rounds;
medians. MB is the peak that torch allocates on the device in a run of some steps, beyond what is
there before: twl's weights are, those of the plain loop are not. The slowest of loader, copies and
step, each alone, bounds a run; on a CPU the processes that decode take cores from the step.
The JPEGs are drawn, of 500 x 375 pixels, unless a folder is given.

    python benchmarks/train.py [--device auto] [--images FOLDER] [--networks mobilenet_v2 ...]
        [--precision float32 bf16] [--modes eager compiled] [--layouts channels_last contiguous]
        [--feeds device twl plain] [--workers 1 2 4 8 16] [--batch 64] [--size 224]
        [--seconds 5] [--rounds 3]
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import platform
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from memory import peak_bytes
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from twlcli import read_labels
from twlcli.annotations.annotations import Annotations
from twlcli.losses import two_way_loss
from twlcli.model.backbones import build_backbone
from twlcli.model.torch import pick_device
from twlcli.parallel import usable_cores
from twlcli.recipe import Recipe
from twlcli.training.asynchronous import on_device
from twlcli.training.augment import Colour, network_input
from twlcli.training.devices import Ranks, has_bf16
from twlcli.training.loader import Batch, EpochOrder, Key, TrainingImages, TrainingLoader
from twlcli.training.step import Stepper
from twlcli.training.trainer import preprocessing_of

LABELS, RATE = 20, 0.1
WARM_UP = 2  # steps
STEPS = 10**6  # of the schedule; none is so long

Steps = Callable[[], Generator[int]]  # does a step each time it is asked, and says how many images


@dataclass(frozen=True)
class Setting:
    """How a network is trained."""

    network: str
    precision: str
    mode: str
    layout: str

    def __format__(self, form: str) -> str:
        text = f"{self.network:14} {self.precision:8} {self.mode:8} {self.layout}"
        return format(text, form)


@dataclass(frozen=True)
class Run:
    """What is fed to which setting, if any, by how many processes."""

    setting: Setting | None
    feed: str
    workers: int = 0


@dataclass(frozen=True)
class Load:
    """Where images come from, and how many at a time."""

    data: Annotations
    recipe: Recipe
    device: torch.device

    @property
    def batch(self) -> int:
        return self.recipe.schedule.batch_size

    @property
    def labels(self) -> int:
        return len(self.data.vocabulary)

    def drawn_batch(self) -> Batch:
        return drawn_batch(self.recipe, self.labels)


class Endless(EpochOrder):
    """Epoch after epoch, so that a small folder has no end either."""

    def __iter__(self) -> Iterator[list[Key]]:
        for self.epoch in itertools.count():
            yield from super().__iter__()


class PlainImages(Dataset[tuple[Tensor, Tensor]]):
    """Pillow images with torchvision's transforms, as in its reference scripts."""

    def __init__(self, data: Annotations, size: int) -> None:
        self.data = data
        self.transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(size),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(0.4, 0.4, 0.4),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        row %= len(self.data)
        image = Image.open(self.data.path(row)).convert("RGB")
        return self.transform(image), torch.from_numpy(self.data.labels.dense([row])[0])


def draw_photographs(folder: Path, count: int) -> None:
    """Clouds of colour with grain, about as hard to decode as a photograph of their size."""
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels: NDArray[np.float64] = generator.normal(0, 8, (375, 500, 3))
        for cells, weight in ((4, 0.5), (16, 0.3), (64, 0.2)):
            coarse = generator.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
            smooth = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
            pixels += weight * np.asarray(smooth)
        drawn = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        drawn.save(folder / f"{number:05}.jpg", quality=90)


def labelled(images: Path, table: Path) -> Annotations:
    """The JPEGs of a folder with labels drawn at random."""
    generator = np.random.default_rng(0)
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("image", "labels"))
        for path in sorted(images.rglob("*.jpg")):
            present = {*np.flatnonzero(generator.random(LABELS) < RATE), generator.integers(LABELS)}
            rows.writerow((path.resolve(), ";".join(f"label{label:02}" for label in present)))
    return read_labels(table, separator=";")


def drawn_batch(recipe: Recipe, labels: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    count, size = recipe.schedule.batch_size, recipe.image.size
    images = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)
    targets = (torch.rand(count, labels, generator=generator) < RATE).to(torch.int8)
    order, ones = torch.arange(3.0).repeat(count, 1), torch.ones(count, 3)
    return Batch(images, Colour(order, ones, torch.zeros(count, 3)), targets)


def stepper(setting: Setting, recipe: Recipe, labels: int, device: torch.device) -> Stepper:
    recipe = recipe.with_settings(
        [
            f"train.precision={setting.precision}",
            f"train.compile={str(setting.mode == 'compiled').lower()}",
        ]
    )
    network = build_backbone(setting.network, labels, image_size=recipe.image.size)
    one = Stepper(network, recipe, preprocessing_of(recipe.image), Ranks(device))
    if setting.layout == "contiguous":  # which twl does not offer
        one.network.to(memory_format=torch.contiguous_format)
        one._input = lambda *values: network_input(*values).contiguous()
    return one


def batches(load: Load, workers: int) -> Iterator[Batch]:
    """Batches of twl's loader on the device, without end."""
    recipe = load.recipe
    images = TrainingImages(load.data, recipe.augment, recipe.image, seed=0)
    order = Endless(len(load.data), batch_size=load.batch, seed=0, rank=0, world=1)
    pinned = load.device.type == "cuda"
    with closing(TrainingLoader(images, order, workers=workers, pin_memory=pinned)) as loader:
        yield from on_device(loader.epoch(0), load.device)


def loaded(load: Load, workers: int) -> Generator[int]:
    for batch in batches(load, workers):
        yield len(batch)


def stepped(one: Stepper, batch: Batch) -> Generator[int]:
    for step in itertools.count():
        one(batch, step, STEPS)
        yield len(batch)


def fed(one: Stepper, load: Load, workers: int) -> Generator[int]:
    for step, batch in enumerate(batches(load, workers)):
        one(batch, step, STEPS)
        yield len(batch)


def copied(batch: Batch, device: torch.device) -> Generator[int]:
    for each in on_device(itertools.repeat(batch.pin_memory()), device):
        yield len(each)


def plain(setting: Setting, load: Load, workers: int) -> Generator[int]:
    device, size = load.device, load.recipe.image.size
    network = build_backbone(setting.network, load.labels, image_size=size)
    network.to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    loader = DataLoader(
        PlainImages(load.data, size),
        batch_size=load.batch,
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    total = 0.0
    for images, targets in loader:
        images, targets = images.to(device), targets.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=setting.precision == "bf16"):
            logits = network(images)
        loss = two_way_loss(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 20.0)
        optimizer.step()
        total += loss.item()
        yield len(images)


def rate(steps: Generator[int], seconds: float, device: torch.device) -> float:
    """Images per second, after the first steps."""
    for _ in itertools.islice(steps, WARM_UP):
        pass
    synchronize(device)
    start, done = time.perf_counter(), 0
    for images in steps:
        done += images
        if time.perf_counter() - start >= seconds:
            break
    synchronize(device)
    found = done / (time.perf_counter() - start)
    steps.close()
    return found


def peak(steps: Steps, device: torch.device) -> int:
    """Bytes beyond what is there before the first step."""

    def some() -> None:
        found = steps()
        for _ in itertools.islice(found, WARM_UP):
            pass
        found.close()

    return peak_bytes(some, device)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def contestants(
    setting: Setting, one: Stepper, load: Load, options: argparse.Namespace
) -> dict[Run, Steps]:
    """The runs of one setting that are asked for."""
    batch = load.drawn_batch().to(load.device)
    found: dict[Run, Steps] = {}
    for feed, count in itertools.product(options.feeds, options.workers):
        if feed == "twl":
            found[Run(setting, feed, count)] = partial(fed, one, load, count)
        elif feed == "plain" and setting.mode == "eager" and setting.layout == "channels_last":
            found[Run(setting, feed, count)] = partial(plain, setting, load, count)
    return {Run(setting, "device"): partial(stepped, one, batch)} | found


def alone(load: Load, options: argparse.Namespace) -> dict[Run, Steps]:
    """What a fed run is made of beside the step."""
    if "twl" not in options.feeds:
        return {}
    found: dict[Run, Steps] = {
        Run(None, "loader", count): partial(loaded, load, count) for count in options.workers
    }
    if load.device.type == "cuda":
        found[Run(None, "copies")] = partial(copied, load.drawn_batch(), load.device)
    return found


def in_turn(
    runs: dict[Run, Steps], options: argparse.Namespace, device: torch.device
) -> dict[Run, float]:
    """The median of each one's rate."""
    rates: dict[Run, list[float]] = {key: [] for key in runs}
    for _ in range(options.rounds):
        for key, steps in runs.items():
            rates[key].append(rate(steps(), options.seconds, device))
    return {key: median(values) for key, values in rates.items()}


def bound(run: Run, rates: dict[Run, float]) -> str:
    """What bounds a fed run, by the rates of its parts alone."""
    parts = {
        "step": rates[Run(run.setting, "device")],
        "loader": rates[Run(None, "loader", run.workers)],
        "copies": rates.get(Run(None, "copies"), math.inf),
    }
    slowest = min(parts, key=lambda part: parts[part])
    share = rates[run] / parts[slowest]
    return f"{slowest} ({parts[slowest]:,.0f} alone, of which {share:.0%} is reached)"


def report(settings: list[Setting], load: Load, options: argparse.Namespace) -> None:
    """Measure and print the settings of one network."""
    runs = alone(load, options)
    for setting in settings:
        runs |= contestants(
            setting, stepper(setting, load.recipe, load.labels, load.device), load, options
        )
    rates = in_turn(runs, options, load.device)
    for run, found in rates.items():
        line = f"{run.setting or '':46} {run.feed:7} {run.workers or '':>7} {found:9,.1f}"
        if run.setting and run.workers in (0, options.workers[0]):
            line += f" {peak(runs[run], load.device) / 2**20:7,.0f}"
        if run.feed == "twl":
            line = f"{line:81} {bound(run, rates)}"
        print(line, flush=True)


def options_of(on_cpu: bool, bf16: bool) -> dict[str, list[str]]:
    """What is measured unless something else is asked for: on a CPU, what ends in minutes."""
    if on_cpu:
        return {
            "networks": ["mobilenet_v2"],
            "precision": ["bf16" if bf16 else "float32"],
            "modes": ["eager"],
            "layouts": ["channels_last"],
        }
    return {
        "networks": ["resnet50", "convnext_tiny", "mobilenet_v2"],
        "precision": ["float32", "bf16"],
        "modes": ["eager", "compiled"],
        "layouts": ["channels_last", "contiguous"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--images", type=Path)
    for name in ("networks", "precision", "modes", "layouts"):
        parser.add_argument(f"--{name}", nargs="+")
    parser.add_argument(
        "--feeds", nargs="+", default=["twl", "plain"], choices=("device", "twl", "plain")
    )
    parser.add_argument("--workers", type=int, nargs="+")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--size", type=int)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    device = pick_device(options.device)
    on_cpu = device.type == "cpu"
    for name, values in options_of(on_cpu, has_bf16(device)).items():
        setattr(options, name, getattr(options, name) or values)
    most = min(16, usable_cores())
    options.workers = options.workers or [count for count in (1, 2, 4, 8, 16) if count <= most]
    batch, size = options.batch or (32 if on_cpu else 128), options.size or (128 if on_cpu else 224)
    recipe = Recipe().with_settings(
        [f"schedule.batch_size={batch}", f"image.size={size}", "optimizer.learning_rate=0.01"]
    )
    card = platform.processor() or platform.machine()
    name = card if on_cpu else torch.cuda.get_device_name(device)
    print(
        f"{name}, {usable_cores()} cores, torch {torch.__version__}; batch {batch}, {size} pixels"
    )
    head = f"{'network':14} {'type':8} {'mode':8} {'layout':13} {'feed':7}"
    print(f"{head} workers  images/s      MB  bound by the")
    with tempfile.TemporaryDirectory() as folder:
        images = options.images or Path(folder)
        if options.images is None:
            draw_photographs(images, 4 * batch)
        load = Load(labelled(images, Path(folder, "labels.csv")), recipe, device)
        for network in options.networks:
            ways = itertools.product(options.precision, options.modes, options.layouts)
            report([Setting(network, *way) for way in ways], load, options)


if __name__ == "__main__":
    main()
