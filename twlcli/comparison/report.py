"""A comparison in words for people and as JSON for programs."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from twlcli.comparison.statistics import Comparison, Gap, Result, Spread
from twlcli.scoring.bootstrap import CONFIDENCE
from twlcli.scoring.report import percent

_ENOUGH_SEEDS = 5  # from here on the seeds themselves show how widely they spread


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
        lines.append(f"real: p < 0.05{correction}.")
        if seeds < _ENOUGH_SEEDS:
            lines.append(_warning(seeds))
    return tuple(lines)


def _warning(seeds: int) -> str:
    if seeds == 1:
        return "One seed cannot show how much another seed would change: take three or more."
    return (
        f"{seeds} seeds hardly show how widely seeds spread: where ± is about as large as the "
        "difference, do not rely on 'real'."
    )


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """The comparison for JSON: scores as fractions 0..1 in full precision, null for NaN.

    `label_average_precision` stands in the order of `labels`, `loss` of a run in that of epochs.
    """
    fields = {
        "unit": "fractions 0..1",
        "images": comparison.images,
        "seeds": comparison.seeds,
        "resamples": comparison.resamples,
        "confidence": CONFIDENCE,
        "labels": comparison.labels,
        "support": comparison.support,
        "candidates": [_candidate_fields(result) for result in comparison.results],
        "differences": [asdict(each) for each in comparison.differences],
    }
    plain: dict[str, Any] = _plain(fields)
    return plain


def _candidate_fields(result: Result) -> dict[str, Any]:
    candidate = result.candidate
    deviation = result.label_std
    runs = sorted(candidate.runs, key=lambda run: run.seed)
    scores = zip(runs, result.map_class.values, result.map_sample.values, strict=True)
    return {
        "name": candidate.name,
        "loss": candidate.loss,
        "options": dict(candidate.options),
        "learning_rate": candidate.learning_rate,
        "rates": [{"learning_rate": rate, "map_class": score} for rate, score in candidate.rates],
        "map_class": _spread_fields(result.map_class),
        "map_sample": _spread_fields(result.map_sample),
        "runs": [
            {
                "seed": run.seed,
                "map_class": by_class,
                "map_sample": by_sample,
                "loss": [record["loss"] for record in run.history],
            }
            for run, by_class, by_sample in scores
        ],
        "label_average_precision": {
            "mean": result.label_mean.tolist(),
            "std": None if deviation is None else deviation.tolist(),
        },
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
