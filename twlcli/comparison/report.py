"""A comparison in words for people and as JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from twlcli.comparison.plan import Plan
from twlcli.comparison.result import Comparison, Gap, History, Result, Spread
from twlcli.recipe import Recipe
from twlcli.scoring.bootstrap import CONFIDENCE
from twlcli.scoring.report import percent

_ENOUGH_SEEDS = 5  # from here on the seeds themselves show how widely they spread


@dataclass(frozen=True)
class About:
    """What the pages and tables of a comparison say of it besides its results.

    Attributes:
        title: the heading.
        facts: what was compared, in the order in which they are shown.
        command: that makes it again; empty if there is none.
        limit: the most training and validation images of a dry run; None otherwise.
    """

    title: str
    facts: Mapping[str, str]
    command: str = ""
    limit: int | None = None


def about(plan: Plan, recipe: Recipe, command: str = "") -> About:
    """What a plan says of itself.

    Args:
        plan: that was carried out.
        recipe: of one of its runs, complete.
        command: that carries it out again.
    """
    data, schedule = recipe.data, recipe.schedule
    facts = {
        "data": f"{_from_here(Path(data.path))}, {data.train_split} to {data.validation_split}",
        "network": f"{recipe.model.backbone} at {recipe.image.size} pixels, "
        f"weights {recipe.model.weights}",
    }
    if recipe.model.frozen:
        facts["head"] = "found to convergence, over features of the frozen network"
        facts["penalty"] = "each loss its own, by cross-validation"
    else:
        how_long = f"{schedule.epochs} epochs in batches of {schedule.batch_size}"
        facts["training"] = f"{how_long}; the last epoch is scored"
        facts["learning rate"] = "one for all" if plan.rate else "each loss its own"
    return About(f"Losses on {Path(data.path).name}", facts, command, plan.limit)


def _from_here(path: Path) -> Path:
    """A path as it is read from the working folder, where it lies in it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def dry_run(limit: int) -> str:
    """What is said of every result of a dry run."""
    return (
        f"A dry run on at most {limit:,} training and {limit:,} validation images: it shows that "
        "everything works, and its scores mean nothing."
    )


def mean_and_deviation(spread: Spread) -> str:
    """`75.31 ± 0.40` in percent; the mean alone where there is one seed."""
    deviation = "" if spread.std is None else f" ± {percent(spread.std)}"
    return percent(spread.mean) + deviation


def to_the_best(gap: Gap) -> str:
    """`−1.20 [−1.63, −0.78]` in percent, of the best minus another, turned around."""
    return f"{signed(-gap.value)} [{signed(-gap.high)}, {signed(-gap.low)}]"


def signed(fraction: float) -> str:
    """A difference in percent with its sign.

    Example:
        >>> signed(0.0123), signed(-0.5), signed(-0.000001), signed(float("nan"))
        ('+1.23', '−50.00', '0.00', '–')
    """
    if math.isnan(fraction):
        return percent(fraction)
    text = percent(abs(fraction))
    if float(text) == 0:
        return text
    return f"{'−' if fraction < 0 else '+'}{text}"


def p_value(p: float) -> str:
    """A p-value as it is printed.

    Example:
        >>> p_value(0.0004), p_value(0.0312), p_value(1.0)
        ('< 0.001', '0.031', '1.000')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def notes(comparison: Comparison) -> tuple[str, ...]:
    """Lines that say how to read the table."""
    seeds, pairs = len(comparison.seeds), len(comparison.differences)
    lines = []
    if seeds > 1:
        lines.append(f"± is the standard deviation over {seeds} seeds.")
    if pairs:
        of = f"the {comparison.images:,} images{' and the seeds' if seeds > 1 else ''}"
        lines.append(
            f"[ ] is the 95 % interval of the difference, from {comparison.resamples:,} resamples "
            f"of {of}."
        )
        correction = f" after Holm's correction for {pairs:,} pairs" if pairs > 1 else ""
        lines.append(
            "p < 0.05 says whether the difference to the best is statistically significant"
            f"{correction}."
        )
        if seeds < _ENOUGH_SEEDS and not comparison.is_frozen:  # whose seed draws the folds alone
            lines.append(_warning(seeds))
    return tuple(lines)


def _warning(seeds: int) -> str:
    if seeds == 1:
        return "One seed says nothing about the spread between seeds: use three or more."
    return (
        f"{seeds} seeds say little about the spread between seeds: where ± is about as large as "
        "the difference, do not rely on p."
    )


def to_json(comparison: Comparison, *, limit: int | None = None) -> str:
    """The comparison as JSON text; see `to_dict`."""
    fields = to_dict(comparison, limit=limit)
    return json.dumps(fields, allow_nan=False, ensure_ascii=False, indent=1)


def to_dict(comparison: Comparison, *, limit: int | None = None) -> dict[str, Any]:
    """The comparison for JSON: scores as fractions 0..1 in full precision, null for NaN.

    `label_average_precision` stands in the order of `labels`, `loss` of a run in that of epochs;
    `validation` has the epochs after which the run was validated.

    Args:
        comparison: what to write.
        limit: of a dry run.
    """
    fields = {
        "unit": "fractions 0..1",
        "limit": limit,
        "images": comparison.images,
        "seeds": comparison.seeds,
        "resamples": comparison.resamples,
        "confidence": CONFIDENCE,
        "labels": comparison.labels,
        "support": comparison.support,
        "candidates": [_result_fields(result, comparison.seeds) for result in comparison.results],
        "differences": [asdict(each) for each in comparison.differences],
    }
    plain: dict[str, Any] = _plain(fields)
    return plain


def _result_fields(result: Result, seeds: tuple[int, ...]) -> dict[str, Any]:
    loss, deviation = result.candidate.recipe.loss, result.label_std
    scores = zip(
        seeds, result.map_class.values, result.map_sample.values, result.histories, strict=True
    )
    return {
        "name": result.name,
        "loss": loss.name,
        "options": loss.options,
        **_tuned_fields(result),
        "map_class": _spread_fields(result.map_class),
        "map_sample": _spread_fields(result.map_sample),
        "runs": [
            {
                "seed": seed,
                "map_class": by_class,
                "map_sample": by_sample,
                "loss": [record["loss"] for record in history if "loss" in record],
                "validation": _validation_fields(history),
            }
            for seed, by_class, by_sample, history in scores
        ],
        "label_average_precision": {
            "mean": result.label_mean.tolist(),
            "std": None if deviation is None else deviation.tolist(),
        },
    }


def _validation_fields(history: History) -> list[dict[str, Any]]:
    keys = {"epoch", "map_class", "map_sample"}
    return [{key: each[key] for key in keys} for each in history if keys <= each.keys()]


def _tuned_fields(result: Result) -> dict[str, Any]:
    """The learning rate, or the penalty of a frozen backbone's head, and those that were tried."""
    one, several = "learning_rate", "rates"
    if result.candidate.recipe.model.frozen:
        one, several = "penalty", "penalties"
    return {
        one: result.chosen,
        several: [{one: value, "map_class": score} for value, score in result.tried],
    }


def _spread_fields(spread: Spread) -> dict[str, Any]:
    return {"mean": spread.mean, "std": spread.std, "low": spread.low, "high": spread.high}


def _plain(value: Any) -> Any:
    """Lists and dictionaries that JSON can hold: what is not a finite number becomes null."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
