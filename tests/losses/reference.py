"""The losses again, as plain loops over Python floats, straight from the equations."""

import math
from typing import Any

Matrix = list[list[float]]


def line_loss(
    logits: list[float],
    targets: list[float],
    *,
    positive_temperature: float = 4.0,
    negative_temperature: float = 1.0,
    margin: float = 0.0,
    anchor: bool = False,
) -> float | None:
    """Kobayashi, CVPR 2023, eq. (14) with (iii); None for a line without positives.

    With an anchor, 0 is one more member on both sides, and None is for a line without known ones.
    """
    positives = [x for x, t in zip(logits, targets, strict=True) if t == 1]
    negatives = [x for x, t in zip(logits, targets, strict=True) if t == 0]
    if anchor and (positives or negatives):
        positives, negatives = [*positives, 0.0], [*negatives, 0.0]
    if not positives:
        return None
    if not negatives:
        return 0.0
    argument = margin
    argument += negative_temperature * log_sum_exp([x / negative_temperature for x in negatives])
    argument += positive_temperature * log_sum_exp([-x / positive_temperature for x in positives])
    return max(argument, 0.0) + math.log1p(math.exp(-abs(argument)))


def sample_wise(logits: Matrix, targets: Matrix, **options: Any) -> float:
    """Eq. (15): the mean over the rows that have a positive."""
    return mean_of_lines(logits, targets, **options)


def class_wise(logits: Matrix, targets: Matrix, **options: Any) -> float:
    """Eq. (16): the mean over the columns that have a positive."""
    return mean_of_lines(transposed(logits), transposed(targets), **options)


def two_way(logits: Matrix, targets: Matrix, **options: Any) -> float:
    """Eq. (17): the plain sum."""
    return sample_wise(logits, targets, **options) + class_wise(logits, targets, **options)


def sample_wise_gradient(
    logits: Matrix, targets: Matrix, *, positive_temperature: float, negative_temperature: float
) -> Matrix:
    """Section A.1, eqs. (iv) and (v): sigmoid(argument) times each side's softmax."""
    rows = [row for row in range(len(logits)) if 1 in targets[row]]
    gradient = [[0.0] * len(row) for row in logits]
    for row in rows:
        loss = line_loss(
            logits[row],
            targets[row],
            positive_temperature=positive_temperature,
            negative_temperature=negative_temperature,
        )
        slope = 1 - math.exp(-loss) if loss is not None else 0.0  # sigmoid of softplus's argument
        for side, sign, temperature in (
            (1, -1.0, positive_temperature),
            (0, 1.0, negative_temperature),
        ):
            columns = [c for c, t in enumerate(targets[row]) if t == side]
            scaled = [sign * logits[row][c] / temperature for c in columns]
            for column, value in zip(columns, scaled, strict=True):
                share = math.exp(value - log_sum_exp(scaled))
                gradient[row][column] = sign * slope * share / len(rows)
    return gradient


def mean_of_lines(logits: Matrix, targets: Matrix, **options: Any) -> float:
    losses = [
        loss
        for line, marks in zip(logits, targets, strict=True)
        if (loss := line_loss(line, marks, **options)) is not None
    ]
    return math.fsum(losses) / len(losses) if losses else 0.0


def transposed(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


def log_sum_exp(values: list[float]) -> float:
    largest = max(values)
    return largest + math.log(math.fsum(math.exp(value - largest) for value in values))
