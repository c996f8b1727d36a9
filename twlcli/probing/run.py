"""Linear evaluation: what `twl probe` does, as a function.

What can be checked without torch, which takes seconds to load, is checked before it is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Unpack

from twlcli.annotations.read_options import ReadKeywords, ReadOptions
from twlcli.errors import RecipeError, check_extra, did_you_mean, needs_extra
from twlcli.features.cache import default_folder
from twlcli.io import listed, write_errors, write_whole
from twlcli.probing.page import write_page
from twlcli.probing.penalties import COUNT, STRONGEST, WEAKEST
from twlcli.probing.penalties import penalties as range_of_penalties
from twlcli.probing.plan import plan_models, plan_sets
from twlcli.probing.result import ProbeResult, to_dict
from twlcli.recipe.names import LOSS_NAMES, WITHOUT_MINIMUM
from twlcli.runs.run_folder import check_place

if TYPE_CHECKING:
    from twlcli.probing.runner import ProbeWatcher

JSON_NAME, PAGE_NAME = "probe.json", "probe.html"
DEFAULT_OUT = "runs/probe"
LOSSES = tuple(name for name in LOSS_NAMES if name not in WITHOUT_MINIMUM)


@dataclass(frozen=True)
class Probed:
    """What `probe` found, and where it is written.

    Attributes:
        results: of each model on all image sets, in the order in which they were named.
        folder: `probe.json`, `probe.html`, and each result in `results/`.
    """

    results: tuple[ProbeResult, ...]
    folder: Path


def probe(
    models: Path | str | list[Path | str],
    data: Path | str | list[Path | str],
    *,
    train_split: str = "train",
    test_split: str | None = None,
    loss: str = "softmax",
    standardise: bool = False,
    penalties: int = COUNT,
    weakest: float = WEAKEST,
    strongest: float = STRONGEST,
    tolerance: float = 1e-4,
    iterations: int = 1000,
    seed: int = 0,
    size: int | None = None,
    out: Path | str = DEFAULT_OUT,
    features: Path | str | None = None,
    device: str = "auto",
    watcher: ProbeWatcher | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    allow_code: bool = False,
    **options: Unpack[ReadKeywords],
) -> Probed:
    """Measure how well frozen networks' features tell the labels of image sets.

    Linear evaluation as in Kobayashi, "Two-Way Multi-Label Loss", CVPR 2023, supplement, section B:
    images go through the network once, and for each of 45 penalties λ, equally spaced on a log
    scale in [1e-6, 1e5], the linear head is found by L-BFGS that has the least

        sum over the training images of the softmax loss + λ / 2 |W|^2

    The bias is not penalised. λ is 1 / C of scikit-learn's `LogisticRegression(C=C)`: where others
    sweep C, this sweeps its inverse. The best penalty is told twice: `paper` is the best on the
    test images, as there, and `validation` the best on a fifth of the training images, held out
    stratified, with which the head is then found on all of them.

    Sets whose images have one label each are scored by accuracy and its mean over classes, others
    by mAP@class and mAP@sample. The first of the two chooses the penalty. What an earlier call
    found in the folder, of the same weights, images and settings, is not computed again.

    Args:
        models: one or several: a run folder, a `.safetensors` checkpoint, or the name of a backbone
            with the weights: `NAME` for the default ones, `NAME=FILE`, or `NAME=none` for random.
        data: one or several: label files or folders, or `SET=FOLDER` for a known set (aircraft,
            caltech101, cars, cub, dtd, flowers, food101, pets, sun397) as its download unpacks it,
            with its own splits.
        train_split: of label files and folders.
        test_split: likewise; None is `test`, and `val` where there is no such split.
        loss: for images of several labels; those of one label have the softmax loss.
        standardise: give all features mean 0 and deviation 1 before; the paper does not.
        penalties: how many.
        weakest: the least λ.
        strongest: the largest.
        tolerance: the norm of the gradient, as a share of that for a head of zeros, at which a head
            has converged.
        iterations: at most, for each head.
        seed: draws the held-out images, and random weights.
        size: side of the square input of backbones, pixels; None is 224, or what a network of timm
            says. Run folders and checkpoints have their own.
        out: the folder to write.
        features: the folder where features are kept; None is the user's cache.
        device: `auto`, `cuda`, `cuda:1`, `mps` or `cpu`.
        watcher: told about progress.
        should_stop: asked now and then; on True what is done is kept.
        allow_code: import a network `module:function` that a run folder or checkpoint names. One in
            `models` is the caller's own, and is imported without.
        **options: how label files are read, as for `read_labels`.

    Raises:
        AnnotationError: an image set cannot be read, is not whole, or an image is missing.
        ModelError: a model or its weights cannot be read, or a checkpoint names code that is not
            allowed.
        RecipeError: there is no such backbone or loss, or a backbone without a linear last layer.
        InterruptedRunError: `should_stop` returned True; the same call continues.
        DeviceError: the device is not available.
        TwlError: a model or set is named twice, or the folder cannot be written.
        MissingExtraError: the `train` extra is not installed.
    """
    check_extra("linear evaluation", "train", "torch")
    if loss not in LOSSES:
        hint = did_you_mean(loss, LOSSES) or f"; expected one of {', '.join(LOSSES)}"
        raise RecipeError(f"no head can be found for the loss '{loss}'{hint}")
    swept = range_of_penalties(penalties, weakest, strongest)
    _check_limits(tolerance, iterations, seed)
    folder = Path(out)
    check_place(folder)
    planned = plan_models([str(each) for each in listed(models)], size=size)
    sets = plan_sets(
        [str(each) for each in listed(data)],
        train_split=train_split,
        test_split=test_split,
        options=ReadOptions(**options),
    )
    with needs_extra("linear evaluation", "train"):
        from twlcli.probing.linear import Evaluation
        from twlcli.probing.runner import Runner, SilentProbe
        from twlcli.probing.sweep import Settings

    evaluation = Evaluation(
        loss=loss,
        standardise=standardise,
        penalties=swept,
        seed=seed,
        settings=Settings(tolerance=tolerance, most=iterations),
    )
    runner = Runner(
        evaluation=evaluation,
        out=folder,
        features=default_folder() if features is None else Path(features),
        device=device,
        watcher=watcher or SilentProbe(),
        should_stop=should_stop,
        allow_code=allow_code,
    )
    for each in sets:
        for note in each.train.notes:
            runner.watcher.noted(f"{each.name}: {note}")
    results = tuple(runner.run(planned, sets))
    said = {key: value for key, value in asdict(evaluation).items() if key != "settings"}
    said |= {"tolerance": tolerance, "iterations": iterations}
    _write(folder, results, said)
    return Probed(results, folder)


def _check_limits(tolerance: float, iterations: int, seed: int) -> None:
    for name, value, least in (("tolerance", tolerance, 0), ("iterations", iterations, 1)):
        if not value >= least:
            raise RecipeError(f"{name} is {value}; expected at least {least}")
    if seed < 0:
        raise RecipeError(f"seed is {seed}; expected at least 0")


def _write(folder: Path, results: tuple[ProbeResult, ...], settings: dict[str, Any]) -> None:
    """Write the page and the JSON."""
    fields = {
        "unit": "fractions 0..1",
        "settings": settings,
        "results": [to_dict(result) for result in results],
    }
    text = json.dumps(fields, allow_nan=False, ensure_ascii=False, indent=1) + "\n"

    def write(file: IO[bytes]) -> None:
        file.write(text.encode(errors="replace"))

    penalties = settings["penalties"]
    facts = {
        "penalties": f"{len(penalties)} from {penalties[-1]:g} to {penalties[0]:g}",
        "features": "standardised" if settings["standardise"] else "as the network gives them",
        "converged": f"gradient at most {settings['tolerance']:g} of that for a head of zeros",
        "seed": str(settings["seed"]),
    }
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / JSON_NAME, write)
        write_page(results, folder / PAGE_NAME, facts)
