"""Comparing losses, or settings, on one's own data: what `twl compare` does, as a function.

What can be checked without torch, which takes seconds to load, is checked before it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from twlcli.comparison.page import write_page
from twlcli.comparison.plan import DEFAULT_LOSSES, Grid, plan_comparison
from twlcli.comparison.plots import loss_plots, rate_plots, scores_plot, validation_plots
from twlcli.comparison.report import About, about, to_json
from twlcli.comparison.result import Comparison
from twlcli.comparison.statistics import compare_scores, enough_resamples
from twlcli.comparison.tables import latex, markdown
from twlcli.errors import check_extra, needs_extra
from twlcli.io import check_count, listed, write_errors, write_whole
from twlcli.pages.pdf import check_pdf, write_pdf
from twlcli.pages.plot import write_svg
from twlcli.recipe import Recipe
from twlcli.runs.resolve import Settings, resolved_recipe
from twlcli.runs.run_folder import check_network, check_place, read_data

if TYPE_CHECKING:
    from twlcli.comparison.watcher import ComparisonWatcher

JSON_NAME, PAGE_NAME, PLOTS_NAME = "compare.json", "compare.html", "plots"


@dataclass(frozen=True)
class Compared:
    """What `compare` found, and where it is written.

    Attributes:
        comparison: the scores, the best candidate first, and the differences of all pairs.
        folder: the runs, `compare.json`, `compare.html`, the table as `compare.md` and
            `compare.tex`, and the plots as SVG in `plots/`.
    """

    comparison: Comparison
    folder: Path


def compare(
    data: Path | str | Recipe,
    *,
    losses: Sequence[str] = DEFAULT_LOSSES,
    seeds: int | None = None,
    grid: Grid | None = None,
    same_rate: bool = False,
    out: Path | str | None = None,
    recipe: Recipe | Path | str | None = None,
    settings: Settings = (),
    limit: int | None = None,
    pdf: bool = False,
    resamples: int | None = None,
    device: str = "auto",
    features: Path | str | None = None,
    watcher: ComparisonWatcher | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    allow_code: bool = False,
    command: str = "",
) -> Compared:
    """Train several losses under one recipe and find which differences are significant.

    Every loss starts from the same weights and sees the same images in the same order, seed by
    seed. Its learning rate is the best of a grid on held-out training images. The scores are those
    of the last epoch on the validation split. With a frozen backbone (`model.frozen`) heads are
    found to convergence instead, each with the penalty that is best in cross-validation. What an
    earlier call trained in the folder is not trained again, so that more losses, values or seeds
    can be added. Under `torchrun` all ranks train together, and the first one writes.

    Args:
        data: a label file or folder, or a recipe whose `data.path` names one.
        losses: names in `twlcli.recipe.LOSS_NAMES`.
        seeds: runs of each: with the seeds 0, 1, 2 and so on; None is 3, and 1 of a frozen
            backbone, where a seed draws the folds alone.
        grid: values to compare too, by `section.key`, such as
            `{"loss.positive_temperature": [1, 4]}`; an option counts for the losses that have it.
        same_rate: train all with the recipe's learning rate.
        out: the folder; None is `runs/compare-DATA`.
        recipe: to start from: a recipe, a TOML file or the name of a bundled one.
        settings: changes of the recipe, as for `train`.
        limit: a dry run of every step, on at most this many training and validation images and
            with at most 2 epochs, in a separate folder: `out` with `-limit-N` at its end.
        pdf: also write the plots as PDF.
        resamples: of the images, for intervals; None is 100 for each pair, at least 1,000.
        device: `auto`, `cuda`, `cuda:1`, `mps` or `cpu`.
        features: the folder where a frozen backbone's features are kept; None is the user's cache.
        watcher: told about progress.
        should_stop: asked between steps; on True the state is saved and training stops.
        allow_code: import a backbone or loss `module:function` that the recipe names. Those in
            `losses`, `grid` and `settings` are the caller's own, and are imported without.
        command: what the page says makes it again.

    Raises:
        RecipeError: the recipe, a loss or the grid has an unknown name, or a value out of range.
        AnnotationError: the data cannot be read, or an image is missing.
        ModelError: the pretrained weights cannot be read, or the recipe names code that is not
            allowed.
        InterruptedRunError: `should_stop` returned True; the same call continues.
        DivergedError: the loss of a run became NaN or infinite.
        DeviceError: the device is not available, or its memory is exhausted.
        TwlError: the folder holds runs of another recipe or other images, `same_rate` has no rate,
            or there are too few resamples for any difference to be significant.
        MissingExtraError: the `train` extra is not installed, or for PDF the `pdf` extra.
    """
    check_extra("comparing", "train", "torch")
    if isinstance(data, Recipe):
        base = resolved_recipe(data.data.path, data, settings, allow_code=allow_code)
    else:
        base = resolved_recipe(data, recipe, settings, allow_code=allow_code)
    plan = plan_comparison(
        base,
        losses=listed(losses),
        seeds=seeds,
        grid=grid or {},
        same_rate=same_rate,
        out=None if out is None else Path(out),
        limit=limit,
    )
    check_place(plan.folder)
    if pdf:
        check_pdf()
    check_count("resamples", resamples)
    enough_resamples(len(plan.candidates), resamples)
    for candidate in plan.candidates:
        check_network(candidate.recipe)
    read_data(base.data)
    with needs_extra("comparing", "train"):
        from twlcli.comparison.runner import train_plan
        from twlcli.comparison.watcher import SilentComparison
        from twlcli.training.devices import joined_ranks

    told = watcher or SilentComparison()
    with joined_ranks(device) as ranks:
        found = train_plan(
            plan, ranks, told, should_stop, None if features is None else Path(features)
        )
        comparison = compare_scores(
            found.trained,
            found.targets,
            found.labels,
            resamples=resamples,
            progress=told.resampled if ranks.first else lambda runs: None,
        )
        if ranks.first:
            _write(comparison, plan.folder, about(plan, found.recipe, command), pdf=pdf)
    return Compared(comparison, plan.folder)


def _write(comparison: Comparison, folder: Path, said: About, *, pdf: bool) -> None:
    """Write the page, the tables and the plots into the folder of a comparison."""
    texts = {
        JSON_NAME: to_json(comparison, limit=said.limit),
        "compare.md": markdown(comparison, said),
        "compare.tex": latex(comparison, said),
    }
    plots = {
        "scores": [scores_plot(comparison)],
        "rates": rate_plots(comparison),
        "validation": validation_plots(comparison),
        "loss": loss_plots(comparison),
    }
    with write_errors(folder):
        for name, text in texts.items():
            write_whole(folder / name, partial(_write_text, text))
        (folder / PLOTS_NAME).mkdir(exist_ok=True)
        for name, several in plots.items():
            path = folder / PLOTS_NAME / f"{name}.svg"
            if several:
                write_svg(path, several, description=f"{said.title}: {name}", columns=3)
            else:
                path.unlink(missing_ok=True)  # an earlier call may have had them
            path.with_suffix(".pdf").unlink(missing_ok=True)
            if several and pdf:
                write_pdf(path)
        write_page(comparison, folder / PAGE_NAME, said)


def _write_text(text: str, file: IO[bytes]) -> None:
    file.write(text.encode(errors="replace"))
