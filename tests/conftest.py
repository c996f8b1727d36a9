import gc
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# The tests' networks are too small to share out, and threads that spin disturb their neighbours.
# Read when torch is imported, also by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave thousands of tests out of what is looked through for garbage, now and later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (40, 40, 220)}


@pytest.fixture(autouse=True)
def own_signals():
    """Give signals back to the test runner: a stopped command ignores them until it has ended."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> Path:
    """A table of 30 pictures of two coloured halves, labelled with the colours in them."""
    folder: Path = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    names = list(COLOURS)
    lines = ["image,labels,split"]
    for number in range(30):
        pair = generator.choice(3, 2)
        pixels = generator.integers(0, 60, (40, 48, 3))
        pixels[:, :24] += np.array(COLOURS[names[pair[0]]])
        pixels[:, 24:] += np.array(COLOURS[names[pair[1]]])
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
        labels = "|".join(sorted({names[index] for index in pair}))
        lines.append(f"{number}.png,{labels},{'val' if number % 3 == 0 else 'train'}")
    table = folder / "labels.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


@pytest.fixture(scope="session")
def features(tmp_path_factory) -> Path:
    """Where frozen backbones keep features; each network is exported into it once, in seconds."""
    folder: Path = tmp_path_factory.mktemp("features")
    return folder


@pytest.fixture
def without_torch(monkeypatch):
    """As if the train extra were not installed."""
    monkeypatch.setitem(sys.modules, "torch", None)
    needing_it = ("training", "exporting", "model.torch", "model.checkpoint", "model.backbones")
    prefixes = tuple(f"twlcli.{name}" for name in needing_it)
    for name in [name for name in sys.modules if name.startswith(prefixes)]:
        monkeypatch.delitem(sys.modules, name)
