"""Makes the images of the documentation: `python -m tools.screenshots`.

Tags photographs of scikit-image, which has to be installed, into a gallery with the default model,
evaluates and compares on a drawn sample set, and takes a screenshot of each page with a headless
Chromium. It takes some minutes on a CPU.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

import twlcli

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
COMPARE = (
    "compare shapes --recipe shapes-small --epochs 6 --losses two-way,bce,softmax --seeds 3 "
    "--out comparison"
)
# Eileen Collins by NASA and the rocket by SpaceX, in the public domain; and under CC0 Chelsea by
# Stefan van der Walt, the camera man by Lav Varshney and coffee by Rachel Michetti.
PHOTOGRAPHS = ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "rocket.jpg")
MOST_BYTES = 150_000


def main() -> None:
    """Write all images."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_photographs(folder / "photographs")
        twl("tag photographs --gallery gallery.html", folder)
        screenshot(folder / "gallery.html", IMAGES / "gallery.png", size=(1200, 640))
        twl("review photos-small photographs", folder)
        screenshot(folder / "review.html", IMAGES / "review.png", size=(1100, 700))
        twl("data sample shapes", folder)
        twl("eval shapes-small shapes --report report.html", folder)
        screenshot(
            folder / "report.html",
            IMAGES / "report.png",
            size=(1200, 1270),
            fragment="label=triangle",
        )
        twl("train shapes --recipe shapes-small --epochs 1 --out runs/shapes", folder)
        twl("eval runs/shapes shapes-small shapes --report models.html", folder)
        screenshot(folder / "models.html", IMAGES / "models.png", size=(1200, 1400))
        train_in_part(folder)
        screenshot(folder / "photos/then.html", IMAGES / "run.png", size=(1200, 1475))
        twl(COMPARE, folder)
        screenshot(folder / "comparison/compare.html", IMAGES / "comparison.png", size=(1200, 800))


def copy_photographs(folder: Path) -> None:
    """Those that are in the public domain or under CC0."""
    found = find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        sys.exit("expected scikit-image, whose photographs are shown: pip install scikit-image")
    folder.mkdir()
    for name in PHOTOGRAPHS:
        shutil.copy(Path(found.submodule_search_locations[0]) / "data" / name, folder)


def twl(arguments: str, folder: Path) -> None:
    """Run a command of twl in a folder."""
    subprocess.run([sys.executable, "-m", "twlcli", *arguments.split()], cwd=folder, check=True)


def train_in_part(folder: Path) -> None:
    """Keep the page of a training as it was after some epochs."""

    def keep(record: dict[str, Any]) -> None:
        if record["epoch"] == 5:
            shutil.copy(run / "report.html", run / "then.html")

    run = folder / "photos"
    settings = {"schedule.epochs": 12}
    twlcli.train(
        folder / "shapes", out=run, recipe="shapes-small", settings=settings, on_epoch=keep
    )


def screenshot(page: Path, file: Path, *, size: tuple[int, int], fragment: str = "") -> None:
    """The top of a page, or what the fragment names, as a PNG of few colours."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"expected one of {', '.join(BROWSERS)}")
    with tempfile.TemporaryDirectory() as name:
        shot, frame = Path(name) / "shot.png", Path(name) / "frame.html"
        # Of a page that has scrolled by itself Chromium shows nothing, unless it is in a frame.
        frame.write_text(
            '<body style="margin: 0"><iframe style="border: 0; width: 100%; height: 100vh" '
            f'src="{page.absolute().as_uri()}#{fragment}"></iframe>'
        )
        subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
                *("--no-first-run", "--disable-background-networking", "--disable-sync"),
                *("--disable-component-update", "--hide-scrollbars"),
                f"--user-data-dir={name}/profile",
                f"--window-size={size[0]},{size[1]}",
                "--virtual-time-budget=5000",
                f"--screenshot={shot}",
                frame.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        Image.open(shot).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(
            file, optimize=True
        )
    written = file.stat().st_size
    print(f"{file.relative_to(ROOT)}: {written / 1000:.0f} kB")
    if written > MOST_BYTES:
        sys.exit(f"expected at most {MOST_BYTES / 1000:.0f} kB")


if __name__ == "__main__":
    main()
