import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from twlcli.checking.doubtful import doubtful_labels


def by_loops(probabilities, targets):
    """Confident learning for one label after the other, in plain loops."""
    found = []
    for column in range(targets.shape[1]):
        answers: dict[int, list[float]] = {0: [], 1: []}
        for p, target in zip(probabilities[:, column], targets[:, column], strict=True):
            if target >= 0 and np.isfinite(p):
                answers[target].append(p if target else 1 - p)
        for row, target in enumerate(targets[:, column]):
            p = probabilities[row, column]
            other = answers[1 - target] if target >= 0 else []
            if not other or not np.isfinite(p):
                continue
            p_given, p_other = (p, 1 - p) if target else (1 - p, p)
            if p_other > p_given and p_other >= sum(other) / len(other):
                found.append((row, column))
    return found


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10_000))
def test_doubtful_labels_are_those_of_plain_loops(seed):
    rng = np.random.default_rng(seed)
    targets = rng.choice([-1, 0, 0, 1], (30, 4)).astype(np.int8)
    probabilities = np.clip(rng.normal(0.3 + 0.4 * (targets == 1), 0.3), 0, 1)
    probabilities[rng.random(targets.shape) < 0.05] = np.nan
    found = doubtful_labels(probabilities, targets)
    assert sorted((each.row, each.column) for each in found) == sorted(
        by_loops(probabilities, targets)
    )
    confidences = [each.confidence for each in found]
    assert confidences == sorted(confidences)
    for each in found:
        p = probabilities[each.row, each.column]
        assert each.given == (targets[each.row, each.column] == 1)
        assert each.confidence == (p if each.given else 1 - p)


def test_only_flipped_labels_are_in_doubt():
    rng = np.random.default_rng(0)
    truth = (rng.random((500, 6)) < 0.3).astype(np.int8)
    probabilities = np.clip(np.where(truth == 1, 0.9, 0.1) + rng.normal(0, 0.08, truth.shape), 0, 1)
    targets = truth.copy()
    flipped = {(int(rng.integers(500)), int(rng.integers(6))) for _ in range(20)}
    for row, column in flipped:
        targets[row, column] = 1 - targets[row, column]
    found = doubtful_labels(probabilities, targets)
    doubted = {(each.row, each.column) for each in found}
    assert doubted <= flipped
    assert len(doubted) >= 0.4 * len(flipped)  # half of what is present is above its mean


def test_labels_that_are_always_or_never_present_are_in_no_doubt():
    probabilities = np.array([[0.1, 0.9], [0.9, 0.1]])
    assert doubtful_labels(probabilities, np.array([[1, 0], [1, 0]], dtype=np.int8)) == ()
