import math
from functools import partial

import numpy as np
import pytest
import torch

from twlcli.heads import cross_validation
from twlcli.heads.cross_validation import HeadProblem, Tried, try_penalties
from twlcli.heads.lbfgs import Problem, solve
from twlcli.losses import two_way_loss
from twlcli.metrics import average_precision_per_label

FOLDS = 4


@pytest.fixture(scope="module")
def drawn():
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(160, 30, dtype=torch.float64, generator=generator)
    teacher = torch.randn(30, 5, dtype=torch.float64, generator=generator)
    noise = torch.randn(160, 5, dtype=torch.float64, generator=generator)
    return features, (features @ teacher + 8 * noise > 4).long()


@pytest.fixture(scope="module")
def folds():
    return np.random.default_rng(0).permutation(160) % FOLDS


def problem_of(drawn, **options):
    features, targets = drawn
    return HeadProblem(features, targets, two_way_loss, tolerance=1e-6, **options)


def score_of(targets):
    return lambda logits: float(np.nanmean(average_precision_per_label(logits, targets.numpy())))


def test_logits_are_those_of_heads_that_did_not_see_the_image(drawn, folds):
    features, targets = drawn
    best = try_penalties(problem_of(drawn), folds, score_of(targets), penalties=[0.3])
    for fold in range(FOLDS):
        rest, own = torch.from_numpy(folds != fold), torch.from_numpy(folds == fold)
        problem = Problem(partial(two_way_loss, targets=targets[rest]), 0.3)
        (alone,) = solve(features[rest], [problem], torch.zeros(1, 31, 5).double(), tolerance=1e-6)
        expected = features[own] @ alone.head[:-1] + alone.head[-1]
        np.testing.assert_allclose(best.logits[folds == fold], expected, rtol=1e-3, atol=1e-4)


def test_the_best_penalty_is_taken_and_the_search_ends_after_two_worse(drawn, folds):
    _, targets = drawn
    tried: list[Tried] = []
    best = try_penalties(problem_of(drawn), folds, score_of(targets), tried=tried.append)
    assert best.score == max(each.score for each in tried)
    assert [each.penalty for each in tried] == list(cross_validation.PENALTIES[: len(tried)])
    assert tried[-3].penalty == best.penalty
    assert len(tried) < len(cross_validation.PENALTIES)
    assert all(each.converged for each in tried)


def test_scores_that_are_not_defined_are_never_the_best(drawn, folds):
    scores = iter([math.nan, math.nan, 0.3, math.nan, 0.2])
    tried: list[Tried] = []
    best = try_penalties(
        problem_of(drawn),
        folds,
        lambda logits: next(scores),
        penalties=[10, 3, 1, 0.3, 0.1],
        tried=tried.append,
    )
    assert best.penalty == 1


def test_views_are_further_images_with_the_same_labels(drawn, folds):
    features, targets = drawn
    mirrored = features.flip(1)
    problem = problem_of((torch.cat((features, mirrored)), targets))
    found = problem.solved(0.3, problem.zero, lambda: False)
    twice = Problem(partial(two_way_loss, targets=torch.cat((targets, targets))), 0.3)
    (expected,) = solve(problem.features, [twice], torch.zeros(1, 31, 5).double(), tolerance=1e-6)
    torch.testing.assert_close(found.head, expected.head)
    best = try_penalties(problem, folds, score_of(targets), penalties=[0.3])
    assert best.logits.shape == targets.shape


def test_heads_are_found_in_blocks_where_they_are_large(drawn, folds, monkeypatch):
    _, targets = drawn
    whole = try_penalties(problem_of(drawn), folds, score_of(targets), penalties=[0.3])
    calls = []

    def counted(features, problems, *rest, **options):
        calls.append(len(problems))
        return solve(features, problems, *rest, **options)

    monkeypatch.setattr(cross_validation, "solve", counted)
    monkeypatch.setattr(cross_validation, "_BYTES", 3 * 5 * 160 * 5 * 8)
    blocks = try_penalties(problem_of(drawn), folds, score_of(targets), penalties=[0.3])
    assert calls == [3, 1]
    np.testing.assert_allclose(blocks.logits, whole.logits, rtol=1e-3, atol=1e-4)


def test_asked_to_stop_it_gives_what_it_has(drawn, folds):
    _, targets = drawn
    best = try_penalties(problem_of(drawn), folds, score_of(targets), should_stop=lambda: True)
    assert best.penalty == cross_validation.PENALTIES[0]
    assert not best.converged
