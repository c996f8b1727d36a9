"""Fitting Platt scaling, logits to probabilities, per label on held-out data.

Relative losses such as the two-way loss leave an arbitrary constant in the logits, so that only a
fit can say what a logit means (Platt, "Probabilistic Outputs for Support Vector Machines", 1999):

    probability = sigmoid(slope * logit + offset)

The fit is maximum a posteriori. With each label's logits standardised to z = (logit - mean) / sd
over its known entries, label c has the parameters b_c and s_c and minimises

    sum_known [softplus(e^{s_c} z + b_c) - t (e^{s_c} z + b_c)]
        + OFFSET_PRECISION / 2 * (b_c - b)^2 + SLOPE_PRECISION / 2 * (s_c - s)^2

where (b, s) is the pooled fit, one offset and one log slope for all labels together. The slope
e^s is positive by construction. A label without positives is pulled down to the rate that none
among so many leaves likely; a label without known entries has the pooled fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import ModelError
from twlcli.labels import PRESENT, UNKNOWN
from twlcli.model.spec import Calibration
from twlcli.parallel import in_threads, usable_cores
from twlcli.scoring.average_precision import blocks, check_scores

# Measured: the pair with the lowest held-out log loss, or within 0.04 % of it, both on a linear
# two-way head on VOC2007 (20 labels) and on drawn logits (40 labels with rates of 0.5 to 30 %),
# fitted on 60 to 1,000 images; offsets 0.05, 0.1, 0.25, 0.5 and slopes 5, 10, 20, 40, 80 were
# tried, and a neighbour costs at most 0.4 %. On VOC2007 two to three positives balance the slope's.
OFFSET_PRECISION = 0.25
SLOPE_PRECISION = 10.0

# Nearly flat: they only keep the pooled fit finite where nothing or everything is present.
POOLED_CENTRE = (0.0, float(np.log(2.0)))  # 2.05 is VOC2007's pooled slope
POOLED_PRECISION = (0.01, 0.1)

POOLED_ENTRIES = 1 << 22  # its two numbers need no more; of larger data every n-th image is taken

MAX_STEPS = 100
TOLERANCE = 1e-7  # in log odds: a hundredth of what float32 probabilities can show

_BLOCK_ENTRIES = 1 << 17  # of a thread: what a core's cache holds

# A function of parameters (2, problems) that gives, in the rows of (6, problems), the loss, its
# gradient by b and s, and its expected second derivatives by bb, bs and ss.
_Terms = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def fit_calibration(logits: NDArray[np.floating], targets: NDArray[np.int8]) -> Calibration:
    """Fit the slope and offset of each label on held-out data.

    Args:
        logits: (N, C), any finite real.
        targets: (N, C) of 1 present, 0 absent, -1 unknown; unknown entries are left out.

    Returns:
        C slopes above 0 and C offsets, each exact in float32.

    Raises:
        ModelError: a logit is not finite, or there is no image.
        ValueError: the shapes differ.
    """
    check_scores(logits, targets)
    if len(logits) == 0:
        raise ModelError("no image to fit the calibration to")
    standard = _Standard.of(logits, targets)
    every = -(-logits.size // POOLED_ENTRIES)
    pooled = _minimise(
        lambda parameters: _pooled_terms(parameters, logits[::every], targets[::every], standard),
        centre=np.array(POOLED_CENTRE)[:, None],
        precision=np.array(POOLED_PRECISION)[:, None],
    )
    fitted = _of_blocks(
        lambda block: _fit_labels(logits, targets, standard, block, pooled), logits.shape
    )
    slope = np.exp(fitted[1]) / standard.deviation
    offset = fitted[0] - slope * standard.mean
    return Calibration(_float32_values(slope), _float32_values(offset))


def _of_blocks(
    work: Callable[[slice], NDArray[np.float64]], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """What work on some labels at a time gives (n, c), beside each other: (n, C).

    NumPy lets other threads work meanwhile; each label's numbers are the same in any number.
    """
    parts = list(blocks(shape[1], shape[0], _BLOCK_ENTRIES))
    if len(parts) <= 1:
        return work(slice(shape[1]))
    threads = min(usable_cores(), len(parts))
    return np.concatenate(
        list(in_threads(work, parts, threads=threads, name="twl-calibration")), axis=1
    )


@dataclass(frozen=True)
class _Standard:
    """The mean and standard deviation of each label's known logits, (C,) each."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, logits: NDArray[np.floating], targets: NDArray[np.int8]) -> _Standard:
        mean, deviation = np.empty((2, logits.shape[1]))
        for block in blocks(logits.shape[1], len(logits)):
            values = logits[:, block].astype(np.float64)
            known = targets[:, block] != UNKNOWN
            known[:, ~known.any(axis=0)] = True  # nothing known: the logits still have a place
            count = known.sum(axis=0)
            mean[block] = (values * known).sum(axis=0) / count
            values -= mean[block]
            deviation[block] = np.sqrt((values**2 * known).sum(axis=0) / count)
        # Logits that are constant up to float32 rounding have no spread of their own.
        spread = deviation > 1e-6 * np.abs(mean)
        deviation[~spread] = np.median(deviation[spread]) if spread.any() else 1.0
        return cls(mean, deviation)

    def apply(
        self, logits: NDArray[np.floating], targets: NDArray[np.int8], block: slice
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Standardised logits, what is present and what is known, labels first: (c, N) each."""
        part = np.ascontiguousarray(targets[:, block].T)
        standardised = logits[:, block].T.astype(np.float64, order="C")
        standardised -= self.mean[block, None]
        standardised /= self.deviation[block, None]
        return standardised, part == PRESENT, part != UNKNOWN


def _fit_labels(
    logits: NDArray[np.floating],
    targets: NDArray[np.int8],
    standard: _Standard,
    block: slice,
    pooled: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Offsets and log slopes (2, c) of some labels."""
    data = standard.apply(logits, targets, block)
    return _minimise(
        lambda parameters: _label_terms(parameters, *data),
        centre=np.repeat(pooled, len(data[0]), axis=1),
        precision=np.array([[OFFSET_PRECISION], [SLOPE_PRECISION]]),
    )


def _pooled_terms(
    parameters: NDArray[np.float64],
    logits: NDArray[np.floating],
    targets: NDArray[np.int8],
    standard: _Standard,
) -> NDArray[np.float64]:
    """The terms (6, 1) of all labels together at one offset and log slope (2, 1)."""

    def terms(block: slice) -> NDArray[np.float64]:
        return _label_terms(parameters, *standard.apply(logits, targets, block))

    total: NDArray[np.float64] = _of_blocks(terms, logits.shape).sum(axis=1, keepdims=True)
    return total


def _label_terms(
    parameters: NDArray[np.float64],
    standardised: NDArray[np.float64],
    present: NDArray[np.bool_],
    known: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """The terms (6, c) of c labels, of standardised logits (c, N)."""
    scaled = np.exp(parameters[1])[:, None] * standardised  # also d(log odds)/ds
    log_odds = scaled + parameters[0][:, None]
    small = np.exp(-np.abs(log_odds))
    loss = np.maximum(log_odds, 0) + np.log(1 + small)
    probability = np.where(log_odds >= 0, 1.0, small) / (1 + small)
    weight = probability * (1 - probability) * known
    residual = (probability - present) * known
    return np.stack(
        [
            _dot(loss, known) - _dot(present, log_odds),
            residual.sum(axis=1),
            _dot(residual, scaled),
            weight.sum(axis=1),
            _dot(weight, scaled),
            _dot(weight * scaled, scaled),
        ]
    )


def _dot(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """The dot product of each pair of rows."""
    product: NDArray[np.float64] = np.einsum("ij,ij->i", first, second, dtype=np.float64)
    return product


def _minimise(
    terms: _Terms, *, centre: NDArray[np.float64], precision: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Minimise terms plus the Gaussian prior, for all problems (columns) side by side.

    Newton's method with the expected second derivatives, which are positive definite, so that
    every step goes downhill; a step that does not lower the loss is halved.
    """

    def posterior(at: NDArray[np.float64]) -> NDArray[np.float64]:
        result = terms(at)
        result[0] += (precision * (at - centre) ** 2).sum(axis=0) / 2
        result[1:3] += precision * (at - centre)
        result[[3, 5]] += precision
        return result

    best = centre.copy()
    current = posterior(best)
    step = _newton_step(current)
    for _ in range(MAX_STEPS):
        if np.abs(step).max() < TOLERANCE:
            break
        trial = posterior(best + step)
        lower = trial[0] <= current[0]
        best = np.where(lower, best + step, best)
        current = np.where(lower, trial, current)
        step = np.where(lower, _newton_step(current), step / 2)
    return best


def _newton_step(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """The step (2, problems) to the minimum of the quadratic, at most 1 in the log slope."""
    _, by_b, by_s, by_bb, by_bs, by_ss = terms
    determinant = by_bb * by_ss - by_bs**2
    step = np.stack([by_bs * by_s - by_ss * by_b, by_bs * by_b - by_bb * by_s])
    step /= determinant
    step /= np.maximum(1.0, np.abs(step[1]))
    return step


def _float32_values(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(values.astype(np.float32).tolist())
