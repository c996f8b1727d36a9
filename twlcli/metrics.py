"""Multi-label metrics, exact and without torch: functions of arrays, and classes that add batches.

Scores and probabilities are (N, C), targets (N, C) of 1 present, 0 absent, -1 unknown; unknown
entries count nowhere. Both may be NumPy arrays, anything that NumPy makes an array of, or torch
tensors on any device, with or without gradients. All results are in 0..1.

The classes work as those of torchmetrics do: `update` adds a batch, `compute` gives the result of
all batches, which is that of computing on them at once, and `reset` forgets them. To put together
what ranks, or the workers of a pool, have each seen, pickle the metrics and merge them:

    everywhere = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everywhere, metric)
    for other in everywhere[1:]:
        everywhere[0].merge_state(other)
    everywhere[0].compute()
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twlcli.scoring.arrays import as_array
from twlcli.scoring.average_precision import (
    MeanOverLines,
    average_precision_per_image,
    average_precision_per_label,
    mean_over_lines,
)
from twlcli.scoring.batched import BatchedMetric
from twlcli.scoring.metrics import (
    CALIBRATION_BINS,
    Counts,
    DecisionScore,
    brier_of,
    brier_score,
    brier_sums,
    calibration_error,
    calibration_error_of,
    calibration_sums,
    count_decisions,
    decide_top,
    score_decisions,
    top_accuracy,
)

__all__ = [
    "BrierScore",
    "CalibrationError",
    "Counts",
    "DecisionScore",
    "MeanAveragePrecision",
    "MeanOverLines",
    "PrecisionRecallF1",
    "average_precision_per_image",
    "average_precision_per_label",
    "brier_score",
    "calibration_error",
    "count_decisions",
    "decide_top",
    "mean_over_lines",
    "score_decisions",
    "top_accuracy",
]

Average = Literal["class", "sample"]


class MeanAveragePrecision(BatchedMetric[float]):
    """mAP: the mean over labels ("class"), or over images ("sample"), of the average precision.

    Kobayashi, CVPR 2023, section 4; the average precision is that of `average_precision_per_label`.
    The mean runs over the lines with a positive, and is NaN without any. Of the scores only their
    order matters, so logits do. Over classes all scores are kept, since any two images may have to
    be compared; over samples one number an image.

    torchmetrics (1.9) treats tied scores as one group as well. But its
    `MultilabelAveragePrecision` counts a label without a positive as 0, refuses unknowns unless
    `ignore_index=-1`, and passes scores through a sigmoid where one is outside 0..1, which makes
    ties of high float32 logits. In its `MultilabelRankingAveragePrecision` an image without a
    positive counts as 1.

    Args:
        average: "class" or "sample".

    Example:
        >>> metric = MeanAveragePrecision()
        >>> metric.update([[0.9], [0.8]], [[1], [0]])
        >>> metric.update([[0.7], [0.6]], [[1], [-1]])
        >>> round(metric.compute(), 4)  # (1/1 + 2/3) / 2
        0.8333
    """

    def __init__(self, average: Average = "class") -> None:
        super().__init__(average=average)
        if average not in get_args(Average):
            raise ValueError(f"expected an average over class or sample, got '{average}'")
        self.average = average

    def compute_lines(self) -> NDArray[np.float64]:
        """The average precision of each label (C,) or image (N,), NaN for one without a positive.

        `mean_over_lines` of it says how many lines the mean runs over and how many it leaves out.

        Raises:
            RuntimeError: there was no batch.
        """
        return self._lines(self._all_batches())

    def _summary(self, scores: NDArray[np.floating], targets: NDArray[np.int8]) -> list[Any]:
        if self.average == "sample":
            return [average_precision_per_image(scores, targets)]
        return [(scores.copy(), targets.copy())]

    def _result(self, kept: list[Any]) -> float:
        return mean_over_lines(self._lines(kept)).value

    def _lines(self, kept: list[Any]) -> NDArray[np.float64]:
        if self.average == "sample":
            return np.concatenate(kept)
        scores, targets = (np.concatenate(each) for each in zip(*kept, strict=True))
        return average_precision_per_label(scores, targets)


class PrecisionRecallF1(BatchedMetric[DecisionScore]):
    """CP, CR, CF1, OP, OR and OF1 of decisions, by thresholds or for the top labels of each image.

    See `DecisionScore` for the equations and sources. torchmetrics (1.9) decides by score >
    threshold; its macro means also run over labels that are given but never present; and its macro
    F1 is the mean of the labels' F1, where CF1 is the harmonic mean of CP and CR.

    Args:
        thresholds: one for all labels, or (C,); a label is given where its score is at least that,
            in the dtype of the scores.
        top: give each image its `top` labels with the highest scores instead.

    Example:
        >>> metric = PrecisionRecallF1(0.5)
        >>> metric.update([[0.9, 0.6]], [[1, 1]])
        >>> metric.update([[0.7, 0.2]], [[0, 1]])
        >>> score = metric.compute()
        >>> score.class_precision, score.class_recall, score.class_f1
        (0.75, 0.75, 0.75)
    """

    def __init__(self, thresholds: ArrayLike | None = None, *, top: int | None = None) -> None:
        if (thresholds is None) == (top is None):
            raise ValueError("expected either thresholds or top")
        if top is not None and top < 1:
            raise ValueError(f"expected a top of at least 1, got {top}")
        self.top = top
        self.thresholds = None if thresholds is None else as_array(thresholds).astype(np.float64)
        if self.thresholds is not None and np.isnan(self.thresholds).any():
            raise ValueError("expected thresholds that are numbers, got NaN")
        listed = None if self.thresholds is None else self.thresholds.tolist()
        super().__init__(thresholds=listed, top=top)

    @property
    def counts(self) -> Counts:
        """The counts of each label, with its precision, recall and F1.

        Raises:
            RuntimeError: there was no batch.
        """
        return Counts(*self._all_batches().copy())

    def _summary(
        self, scores: NDArray[np.floating], targets: NDArray[np.int8]
    ) -> NDArray[np.int64]:
        counts = count_decisions(self._decide(scores), targets)
        return np.stack((counts.correct, counts.given, counts.present, counts.unknown))

    def _result(self, kept: NDArray[np.int64]) -> DecisionScore:
        return score_decisions(Counts(*kept))

    def _decide(self, scores: NDArray[np.floating]) -> NDArray[np.bool_]:
        if self.top is not None:
            return decide_top(scores, self.top)
        assert self.thresholds is not None
        if self.thresholds.shape not in ((), scores.shape[1:]):
            raise ValueError(
                f"expected thresholds of one number or {scores.shape[1:]}, "
                f"got {self.thresholds.shape}"
            )
        is_float = np.issubdtype(scores.dtype, np.floating)
        return scores >= (self.thresholds.astype(scores.dtype) if is_float else self.thresholds)


class BrierScore(BatchedMetric[float]):
    """The mean squared difference of probability and target over all known entries, 0 is best.

    See `brier_score`. NaN where nothing is known.

    Example:
        >>> metric = BrierScore()
        >>> metric.update([[0.9]], [[1]])
        >>> metric.update([[0.2]], [[0]])
        >>> round(metric.compute(), 3)
        0.025
    """

    def _summary(
        self, scores: NDArray[np.floating], targets: NDArray[np.int8]
    ) -> NDArray[np.float64]:
        return brier_sums(scores, targets)

    def _result(self, kept: NDArray[np.float64]) -> float:
        return brier_of(kept)


class CalibrationError(BatchedMetric[float]):
    """The expected calibration error over all known entries, 0 is best.

    See `calibration_error`; NaN where nothing is known. The same number as torchmetrics'
    `BinaryCalibrationError(n_bins=bins, norm="l1")` of the known entries of all labels together.

    Args:
        bins: number of bins of equal width.

    Example:
        >>> metric = CalibrationError(bins=2)
        >>> metric.update([[0.9]], [[1]])
        >>> metric.update([[0.8]], [[0]])
        >>> round(metric.compute(), 3)
        0.35
    """

    def __init__(self, bins: int = CALIBRATION_BINS) -> None:
        super().__init__(bins=bins)
        if bins < 1:
            raise ValueError(f"expected at least 1 bin, got {bins}")
        self.bins = bins

    def _summary(
        self, scores: NDArray[np.floating], targets: NDArray[np.int8]
    ) -> NDArray[np.float64]:
        return calibration_sums(scores, targets, bins=self.bins)

    def _result(self, kept: NDArray[np.float64]) -> float:
        return calibration_error_of(kept)
