"""The metrics again, as plain loops over Python numbers, straight from the equations.

Scores, probabilities and targets are lists of rows, one row for each image. A target is 1 present,
0 absent, -1 unknown.
"""

import math
from fractions import Fraction

Rows = list[list[float]]


# --- average precision -----------------------------------------------------------------------


def average_precision(scores: list[float], targets: list[int]) -> float | None:
    """Sum over the distinct scores, from the highest on, of (R_n - R_{n-1}) * P_n."""
    known = [(s, t) for s, t in zip(scores, targets, strict=True) if t != -1]
    positives = sum(t for _, t in known)
    if positives == 0:
        return None
    total, recall_before = Fraction(0), Fraction(0)
    for threshold in sorted({s for s, _ in known}, reverse=True):
        given = [t for s, t in known if s >= threshold]
        recall = Fraction(sum(given), positives)
        total += (recall - recall_before) * Fraction(sum(given), len(given))
        recall_before = recall
    return float(total)


# --- decisions -------------------------------------------------------------------------------


def counts(decisions: list[list[bool]], targets: list[list[int]]) -> list[tuple[int, int, int]]:
    """(correct, given, present) of each label over its known entries."""
    result = []
    for label in range(len(targets[0])):
        correct = given = present = 0
        for decided, true in zip(decisions, targets, strict=True):
            if true[label] == -1:
                continue
            correct += decided[label] and true[label] == 1
            given += decided[label]
            present += true[label] == 1
        result.append((correct, given, present))
    return result


def decision_scores(decisions: list[list[bool]], targets: list[list[int]]) -> list[float]:
    """[CP, CR, CF1, OP, OR, OF1] of ML-GCN, over labels with a positive and over all entries."""
    by_label = counts(decisions, targets)
    counted = [each for each in by_label if each[2] > 0]
    precision = [c / g if g else 0.0 for c, g, _ in counted]
    recall = [c / p for c, _, p in counted]
    class_precision = sum(precision) / len(counted) if counted else 0.0
    class_recall = sum(recall) / len(counted) if counted else 0.0
    correct, given, present = (sum(each[i] for each in by_label) for i in range(3))
    overall_precision = correct / given if given else 0.0
    overall_recall = correct / present if present else 0.0
    return [
        class_precision,
        class_recall,
        harmonic_mean(class_precision, class_recall),
        overall_precision,
        overall_recall,
        harmonic_mean(overall_precision, overall_recall),
    ]


def harmonic_mean(first: float, second: float) -> float:
    return 2 / (1 / first + 1 / second) if first and second else 0.0


def top(scores: list[float], count: int) -> list[bool]:
    """The `count` highest; of equal scores the first."""
    order = sorted(range(len(scores)), key=lambda column: (-scores[column], column))
    return [column in order[:count] for column in range(len(scores))]


# --- probabilities ---------------------------------------------------------------------------


def brier(probabilities: Rows, targets: list[list[int]]) -> float:
    known = known_pairs(probabilities, targets)
    return sum((p - t) ** 2 for p, t in known) / len(known)


def calibration_error(probabilities: Rows, targets: list[list[int]], bins: int) -> float:
    known = known_pairs(probabilities, targets)
    total = 0.0
    for index in range(bins):
        members = [(p, t) for p, t in known if min(int(p * bins), bins - 1) == index]
        if members:
            confidence = sum(p for p, _ in members) / len(members)
            frequency = sum(t for _, t in members) / len(members)
            total += len(members) / len(known) * abs(frequency - confidence)
    return total


def known_pairs(values: Rows, targets: list[list[int]]) -> list[tuple[float, int]]:
    return [
        (v, t)
        for row, true in zip(values, targets, strict=True)
        for v, t in zip(row, true, strict=True)
        if t != -1
    ]


# --- calibration and thresholds --------------------------------------------------------------


def platt_objective(
    standardised: list[float],
    targets: list[int],
    *,
    parameters: tuple[float, float],
    centre: tuple[float, float],
    precision: tuple[float, float],
) -> float:
    """Negative log posterior of (offset, log slope) of one label."""
    total = sum(precision[i] / 2 * (parameters[i] - centre[i]) ** 2 for i in range(len(parameters)))
    for z, t in zip(standardised, targets, strict=True):
        if t == -1:
            continue
        log_odds = parameters[0] + math.exp(parameters[1]) * z
        total += max(log_odds, 0.0) + math.log1p(math.exp(-abs(log_odds))) - t * log_odds
    return total


def f1_at(probabilities: list[float], targets: list[int], threshold: float) -> float:
    decisions = [[p >= threshold] for p in probabilities]
    ((correct, given, present),) = counts(decisions, [[t] for t in targets])
    return 2 * correct / (given + present) if given + present else 0.0


def lowest_cut_with_precision(
    probabilities: list[float], targets: list[int], target: Fraction, confidence: Fraction
) -> float | None:
    """The lowest known probability p such that giving the label from p on is surely precise enough.

    With c of n given labels correct it is, if c or more correct ones of n have at most the
    probability 1 - confidence where the precision is `target`.
    """
    known = [(p, t) for p, t in zip(probabilities, targets, strict=True) if t != -1]
    for cut in sorted({p for p, _ in known}):
        given = [t for p, t in known if p >= cut]
        if at_least(sum(given), len(given), target) <= 1 - confidence:
            return cut
    return None


def at_least(correct: int, given: int, chance: Fraction) -> Fraction:
    """The probability of `correct` or more of `given` draws with this chance each."""
    return sum(
        (
            math.comb(given, k) * chance**k * (1 - chance) ** (given - k)
            for k in range(correct, given + 1)
        ),
        Fraction(0),
    )
