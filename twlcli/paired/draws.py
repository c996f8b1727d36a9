"""The scores of several models on the same resamples of their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twlcli.labels import PRESENT, UNKNOWN
from twlcli.model.decisions import calibration_of, probabilities
from twlcli.model.spec import ModelSpec
from twlcli.scoring.average_precision import average_precision_per_image, blocks, has_negative
from twlcli.scoring.bootstrap import decision_scores, draw_counts, weighted_average_precision
from twlcli.scoring.evaluation import RANKS, Evaluation
from twlcli.scoring.metrics import CALIBRATION_BINS, decide_top, has_one_label_each
from twlcli.scoring.moments import Moments

DECISIONS = (
    "class_precision",
    "class_recall",
    "class_f1",
    "overall_precision",
    "overall_recall",
    "overall_f1",
)


@dataclass(frozen=True)
class ScoredModel:
    """What a model said of the N images of all models.

    Attributes:
        logits: of the K labels of all models, (N, K) float32.
        spec: the model's, of these labels.
        evaluation: of them.
        decisions: at its thresholds, cross-fitted where these were fitted to the images, (N, K).
    """

    logits: NDArray[np.float32]
    spec: ModelSpec
    evaluation: Evaluation
    decisions: NDArray[np.bool_]


@dataclass(frozen=True)
class Draws:
    """Scores of each model on every resample, (R,), and standard errors of the labels.

    Attributes:
        scores: of each model, by name.
        errors: of each model but the first, of the difference in average precision, (K,).
    """

    scores: tuple[Mapping[str, NDArray[np.float64]], ...]
    errors: tuple[NDArray[np.float64], ...]


def draws_of(
    models: Sequence[ScoredModel], targets: NDArray[np.int8], *, resamples: int, seed: int
) -> Draws:
    """The scores of models on resamples of N images, drawn with replacement and the same for all.

    Beside its arguments it holds about 100 MB, or one byte for each image where that is more.

    Args:
        models: of N images and K labels.
        targets: (N, K) of 1 present, 0 absent, -1 unknown.
        resamples: how many draws, R.
        seed: of the draws.
    """
    ranked = np.flatnonzero(has_negative(targets))
    rows = [_ImageScores.of(each, targets) for each in models]
    found: list[list[dict[str, NDArray[np.float64]]]] = [[] for _ in models]
    moments = [Moments.none(targets.shape[1]) for _ in models[1:]]
    for counts in draw_counts(len(targets), resamples=resamples, seed=seed):
        totals = np.zeros((len(models), len(counts)))
        labels = np.zeros(len(counts))
        for column in ranked:
            values = [
                weighted_average_precision(each.logits[:, column], targets[:, column], counts)
                for each in models
            ]
            is_ranked = ~np.isnan(values[0])  # the same for all models: whether a positive is drawn
            labels += is_ranked
            totals += np.nan_to_num(values)
            for moment, value in zip(moments, values[1:], strict=True):
                moment.add(int(column), (value - values[0])[is_ranked])
        with np.errstate(invalid="ignore"):
            by_class = totals / labels
        for each, scores, mean, parts in zip(found, rows, by_class, models, strict=True):
            drawn = scores.on(counts) | _decided(parts.decisions, targets, counts)
            each.append({"map_class": mean} | drawn)
    return Draws(
        tuple(
            {name: np.concatenate([d[name] for d in each]) for name in each[0]} for each in found
        ),
        tuple(each.deviation() for each in moments),
    )


@dataclass(frozen=True)
class _ImageScores:
    """What means over images are made of, one row an image.

    Attributes:
        ratios: names of the scores that are a sum over another.
        parts: those sums' parts, (N, 2 * scores).
        bins: of the calibration error: targets less probabilities, summed by bin, (N, bins).
    """

    ratios: tuple[str, ...]
    parts: NDArray[np.float64]
    bins: NDArray[np.float64]

    @classmethod
    def of(cls, model: ScoredModel, targets: NDArray[np.int8]) -> _ImageScores:
        precision = average_precision_per_image(model.logits, targets)
        columns = [np.nan_to_num(precision), (~np.isnan(precision)).astype(np.float64)]
        names = ["map_sample"]
        if has_one_label_each(targets):
            for rank in (rank for rank in RANKS if rank < targets.shape[1]):
                hits = (decide_top(model.logits, rank) & (targets == PRESENT)).any(axis=1)
                columns += [hits.astype(np.float64), np.ones(len(targets))]
                names.append(f"top_{rank}")
        squares, known, bins = _calibration_parts(model, targets)
        return cls((*names, "brier"), np.stack([*columns, squares, known], axis=1), bins)

    def on(self, counts: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
        """The scores on each of R resamples."""
        sums, bins = (_weighted(counts, each) for each in (self.parts, self.bins))
        known = sums[:, -1]
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = sums[:, 0::2] / sums[:, 1::2]
            error = np.abs(bins).sum(axis=1) / known
        return dict(zip(self.ratios, ratios.T, strict=True)) | {"calibration_error": error}


def _calibration_parts(
    model: ScoredModel, targets: NDArray[np.int8]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of each image: its sum of squares (N,), known entries (N,), and gap in each bin (N, bins)."""
    squares, known = np.zeros(len(targets)), np.zeros(len(targets))
    bins = np.zeros((len(targets), CALIBRATION_BINS))
    calibration = calibration_of(model.spec)
    for block in blocks(*targets.shape):
        is_known = targets[block] != UNKNOWN
        certain = probabilities(model.logits[block], calibration).astype(np.float64)
        gap = np.where(is_known, targets[block] - certain, 0.0)
        squares[block] = (gap * gap).sum(axis=1)
        known[block] = is_known.sum(axis=1)
        place = np.minimum((certain * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
        place += CALIBRATION_BINS * np.arange(len(certain))[:, None]
        summed = np.bincount(
            place.ravel(), weights=gap.ravel(), minlength=len(certain) * CALIBRATION_BINS
        )
        bins[block] = summed.reshape(-1, CALIBRATION_BINS)
    return squares, known, bins


def _decided(
    decisions: NDArray[np.bool_], targets: NDArray[np.int8], counts: NDArray[np.uint8]
) -> dict[str, NDArray[np.float64]]:
    given, present = decisions & (targets != UNKNOWN), targets == PRESENT
    sums = (_weighted(counts, each) for each in (given & present, given, present))
    return dict(zip(DECISIONS, decision_scores(*sums).T, strict=True))


def _weighted(counts: NDArray[np.uint8], parts: NDArray[np.generic]) -> NDArray[np.float64]:
    """The sums (R, F) of parts (N, F) over the images that each resample (R, N) draws."""
    # Sums of bools stay below 2**24, which float32 holds exactly.
    kind = np.float32 if parts.dtype == np.bool_ else np.float64
    result = np.zeros((len(counts), parts.shape[1]))
    for block in blocks(len(parts), max(len(counts), parts.shape[1])):
        result += counts[:, block].astype(kind) @ parts[block].astype(kind)
    return result
