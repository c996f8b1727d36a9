from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from tests.probing.drawn import classes_and_features
from twlcli.heads.lbfgs import solve
from twlcli.losses import softmax_loss
from twlcli.probing import sweep as module
from twlcli.probing.sweep import LEFT_OUT, Settings, block_size, softmax_of_classes, sweep

EXACT = Settings(tolerance=1e-6, most=3000)


def swept(features, classes, penalties, settings=EXACT):
    loss = softmax_of_classes(torch.from_numpy(classes))
    return list(
        sweep(
            torch.from_numpy(features).double(),
            loss,
            penalties,
            images=len(features),
            labels=classes.max() + 1,
            settings=settings,
        )
    )


def objective(features, classes, weights, bias, penalty):
    """Sum over images of the softmax loss + λ / 2 |W|^2, in a plain loop."""
    total = penalty / 2 * float((weights**2).sum())
    for row, of_row in zip(features.astype(np.float64), classes, strict=True):
        logits = row @ weights + bias
        total += float(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[of_row])
    return total


@pytest.mark.parametrize("penalty", [100.0, 1.0, 0.01])
def test_the_penalty_is_one_over_scikit_learns_c(penalty):
    classes, features = classes_and_features(150)
    fitted = LogisticRegression(C=1 / penalty, max_iter=10000, tol=1e-8).fit(features, classes)
    expected = objective(features, classes, fitted.coef_.T, fitted.intercept_, penalty)
    ((_, solution),) = swept(features, classes, [penalty])
    head = solution.head.numpy()
    found = objective(features, classes, head[:-1], head[-1], penalty)
    assert solution.converged
    assert found == pytest.approx(expected, rel=1e-4)
    assert len(features) * solution.objective == pytest.approx(found, rel=1e-6)
    assert found != pytest.approx(
        objective(features, classes, fitted.coef_.T, fitted.intercept_, 2 * penalty), rel=1e-4
    )


def test_blocks_find_what_all_at_once_find():
    classes, features = classes_and_features(150)
    penalties = [0.01, 1.0, 100.0, 0.1, 10.0]
    at_once = swept(features, classes, penalties)
    one_by_one = swept(features, classes, penalties, Settings(1e-6, 3000, block_bytes=1))
    assert [penalty for penalty, _ in at_once] == [100.0, 10.0, 1.0, 0.1, 0.01]
    for (penalty, one), (same, other) in zip(at_once, one_by_one, strict=True):
        assert penalty == same and one.converged and other.converged
        assert one.objective == pytest.approx(other.objective, rel=1e-7)


def test_a_block_begins_with_the_weakest_head_of_the_one_before(monkeypatch):
    starts: list[torch.Tensor] = []
    ends: list[torch.Tensor] = []

    def noted(features, problems, start, **options):
        solutions = solve(features, problems, start, **options)
        starts.append(start.clone())
        ends.append(solutions[-1].head.clone())
        assert not options["keep_logits"]
        return solutions

    monkeypatch.setattr(module, "solve", noted)
    monkeypatch.setattr(module, "block_size", lambda *_, **__: 2)
    classes, features = classes_and_features(80)
    swept(features, classes, [100.0, 10.0, 1.0, 0.1, 0.01])
    assert [len(each) for each in starts] == [2, 2, 1]
    assert not starts[0].any()
    for several, end in zip(starts[1:], ends[:-1], strict=True):
        for start in several:
            assert torch.equal(start[-1], end[-1])
            ratio = start[:-1] / end[:-1]  # features are scaled, block by block
            assert ratio.min() == ratio.max()


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**12])
def test_the_size_of_features_makes_no_difference_to_how_well_heads_are_found(factor):
    classes, features = classes_and_features(150)
    features -= features.mean(0)
    penalties = [100.0, 1.0, 0.01]
    scaled = [penalty * factor**2 for penalty in penalties]
    plain = swept(features, classes, penalties)
    others = swept(features * np.float32(factor), classes, scaled)
    for (_, one), (_, other) in zip(plain, others, strict=True):
        assert one.converged and other.converged
        assert one.objective == pytest.approx(other.objective, rel=1e-9)
        torch.testing.assert_close(one.head[:-1], other.head[:-1] * factor)


def test_features_that_do_not_differ_give_the_shares_of_the_classes():
    classes = np.array([0, 0, 0, 1])
    for penalty, solution in swept(np.zeros((4, 3), np.float32), classes, [1e5, 1.0, 1e-6]):
        assert solution.converged, penalty
        shares = solution.head[-1].softmax(0)
        torch.testing.assert_close(shares, torch.tensor([0.75, 0.25]).double(), atol=1e-5, rtol=0)
        assert not solution.head[:-1].any()


def test_features_are_afterwards_as_they_were():
    classes, features = classes_and_features(80)
    kept = torch.from_numpy(features.copy())
    loss = softmax_of_classes(torch.from_numpy(classes))
    options: dict[str, Any] = {"images": 80, "labels": 4}
    for _ in sweep(kept, loss, [1e4, 1.0, 1e-4], settings=Settings(block_bytes=1), **options):
        assert torch.equal(kept, torch.from_numpy(features))


def test_nothing_is_given_of_a_block_that_was_stopped():
    classes, features = classes_and_features(80)
    loss = softmax_of_classes(torch.from_numpy(classes))
    given_ = sweep(
        torch.from_numpy(features), loss, [1.0], images=80, labels=4, should_stop=lambda: True
    )
    assert list(given_) == []


def test_the_loss_of_classes_is_the_softmax_loss():
    classes, features = classes_and_features(40)
    logits = torch.from_numpy(features[:, :4])
    targets = torch.nn.functional.one_hot(torch.from_numpy(classes))
    targets[:5] = -1
    left_out = torch.from_numpy(classes)
    left_out[:5] = LEFT_OUT
    torch.testing.assert_close(softmax_of_classes(left_out)(logits), softmax_loss(logits, targets))


SIZES = st.integers(1, 100_000)


@given(SIZES, SIZES, SIZES, st.integers(0, 1 << 36))
def test_a_block_takes_no_more_than_it_may(images, features, labels, limit):
    count = block_size(images, features, labels, block_bytes=limit)
    logits, head = 4 * images * labels, 4 * (features + 1) * labels
    least = 3 * logits + 24 * head  # logits, slopes and changes; pairs, head, gradient, direction
    assert count == 1 or count * least <= limit
    assert count <= block_size(images, features, labels, block_bytes=2 * limit)
    assert block_size(images, features, labels, block_bytes=limit, item=8) <= count


def test_the_largest_of_the_known_sets_fits_into_memory():
    assert 2 <= block_size(75_750, 2_048, 101) < 12
    assert block_size(2_501, 1_280, 20) == 12
