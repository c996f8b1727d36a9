from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from twlcli.heads import lbfgs
from twlcli.heads.lbfgs import Problem, forward, solve
from twlcli.losses import LOSSES

IMAGES, FEATURES, LABELS = 120, 15, 6
OPTIONS = {"asl": {"focus_gradient": True}}
SMOOTH = [name for name in LOSSES if name not in ("warp", "rml")]  # which weigh by ranks


@pytest.fixture(scope="module")
def drawn():
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(IMAGES, FEATURES, dtype=torch.float64, generator=generator)
    teacher = torch.randn(FEATURES, LABELS, dtype=torch.float64, generator=generator)
    noise = torch.randn(IMAGES, LABELS, dtype=torch.float64, generator=generator)
    logits = features @ teacher + 3 * noise - 2
    targets = (logits > 0).long()
    targets[torch.rand(targets.shape, generator=generator) < 0.1] = -1
    return features, targets


def loss_of(name, targets):
    return partial(LOSSES[name], targets=targets, **OPTIONS.get(name, {}))


def zeros(count, features, labels=LABELS):
    return features.new_zeros((count, features.shape[1] + 1, labels))


def objective_by_autograd(problem, features, head):
    head = head.clone().requires_grad_()
    value = problem.loss(features @ head[:-1] + head[-1])
    value = value + problem.penalty / 2 * head[:-1].square().sum()
    (gradient,) = torch.autograd.grad(value, head)
    return value.item(), gradient


@pytest.mark.parametrize("name", SMOOTH)
def test_every_loss_comes_to_its_minimum(name, drawn):
    features, targets = drawn
    problems = [Problem(loss_of(name, targets), penalty) for penalty in (1.0, 0.03)]
    solutions = solve(features, problems, zeros(2, features), tolerance=1e-7)
    for problem, solution in zip(problems, solutions, strict=True):
        value, gradient = objective_by_autograd(problem, features, solution.head)
        assert solution.converged
        assert solution.objective == pytest.approx(value, rel=1e-10)
        assert solution.gradient_norm == pytest.approx(gradient.norm().item(), rel=1e-3, abs=1e-10)
        _, at_zero = objective_by_autograd(problem, features, zeros(1, features)[0])
        assert gradient.norm() <= 1.01e-7 * at_zero.norm()
        logits = features @ solution.head[:-1] + solution.head[-1]
        torch.testing.assert_close(solution.logits, logits)


def test_gradients_of_the_first_step_equal_autograd(drawn):
    features, targets = drawn
    problems = [Problem(loss_of(name, targets), 0.1) for name in SMOOTH]
    heads = torch.randn_like(zeros(len(problems), features))
    search = lbfgs._Search.begin(features, problems, heads)
    for place, problem in enumerate(problems):
        value, gradient = objective_by_autograd(problem, features, heads[place])
        assert search.values[place] == pytest.approx(value, rel=1e-10)
        torch.testing.assert_close(search.gradients[place], gradient, rtol=1e-10, atol=1e-12)


def test_softmax_equals_scikit_learn():
    generator = np.random.default_rng(1)
    features = generator.normal(size=(300, 10))
    classes = (features @ generator.normal(size=(10, 4)) + generator.normal(size=(300, 4))).argmax(
        1
    )
    targets = torch.nn.functional.one_hot(torch.from_numpy(classes), 4)
    penalties = [1e-4, 1e-2, 1.0]
    problems = [Problem(loss_of("softmax", targets), penalty) for penalty in penalties]
    start = torch.zeros(3, 11, 4, dtype=torch.float64)
    solutions = solve(torch.from_numpy(features), problems, start, tolerance=1e-6)
    for problem, solution in zip(problems, solutions, strict=True):
        theirs = LogisticRegression(C=1 / (problem.penalty * 300), tol=1e-9, max_iter=10_000)
        theirs.fit(features, classes)
        logits = torch.from_numpy(theirs.decision_function(features))
        value = float(problem.loss(logits)) + problem.penalty / 2 * (theirs.coef_**2).sum()
        assert solution.objective == pytest.approx(value, rel=1e-7)


def test_bce_equals_scikit_learn_one_against_the_rest(drawn):
    features, targets = drawn
    targets = targets.clamp(min=0)
    problem = Problem(partial(LOSSES["bce"], targets=targets, reduction="image"), 0.01)
    (solution,) = solve(features, [problem], zeros(1, features), tolerance=1e-7)
    for label in range(LABELS):
        theirs = LogisticRegression(C=1 / (0.01 * IMAGES), tol=1e-9, max_iter=10_000)
        theirs.fit(features.numpy(), targets[:, label].numpy())
        ours = solution.head[:, label].numpy()
        np.testing.assert_allclose(ours[:-1], theirs.coef_[0], rtol=1e-4, atol=1e-5)
        assert ours[-1] == pytest.approx(theirs.intercept_[0], abs=1e-5)


def test_problems_do_not_see_each_other(drawn):
    features, targets = drawn
    problems = [
        Problem(loss_of(name, targets), penalty)
        for name in ("two-way", "bce")
        for penalty in (3.0, 0.1, 0.01)
    ]
    together = solve(features, problems, zeros(6, features), tolerance=1e-6)
    for problem, solution in zip(problems, together, strict=True):
        (alone,) = solve(features, [problem], zeros(1, features), tolerance=1e-6)
        torch.testing.assert_close(solution.head, alone.head, rtol=1e-3, atol=1e-4)
        assert abs(solution.iterations - alone.iterations) <= 2


def test_unknown_images_are_as_if_they_were_not_there(drawn):
    features, targets = drawn
    left_out = targets.clone()
    left_out[:40] = -1
    for name in SMOOTH:
        (masked,) = solve(
            features,
            [Problem(loss_of(name, left_out), 0.1)],
            zeros(1, features),
            tolerance=1e-8,
        )
        (removed,) = solve(
            features[40:],
            [Problem(loss_of(name, targets[40:]), 0.1)],
            zeros(1, features),
            tolerance=1e-8,
        )
        torch.testing.assert_close(masked.head, removed.head, rtol=1e-4, atol=1e-5)


def test_a_warm_start_takes_fewer_iterations(drawn):
    features, targets = drawn
    problem = Problem(loss_of("two-way", targets), 0.1)
    (cold,) = solve(features, [problem], zeros(1, features), tolerance=1e-6)
    (warm,) = solve(features, [problem], cold.head[None], tolerance=1e-6)
    assert warm.iterations == 0 < cold.iterations
    torch.testing.assert_close(warm.head, cold.head)


def test_what_has_not_converged_says_so(drawn):
    features, targets = drawn
    problems = [Problem(loss_of("two-way", targets), penalty) for penalty in (100.0, 1e-3)]
    easy, hard = solve(features, problems, zeros(2, features), tolerance=1e-4, most=12)
    assert easy.converged and not hard.converged
    assert hard.iterations == 12
    _, gradient = objective_by_autograd(problems[1], features, hard.head)
    assert hard.gradient_norm == pytest.approx(gradient.norm().item(), rel=1e-6)


def test_a_loss_whose_gradient_is_not_its_own_stops(drawn):
    """ASL with its factors held constant: no step of descent by the slopes makes it lower."""
    features, targets = drawn
    problem = Problem(partial(LOSSES["asl"], targets=targets), 0.1)
    (solution,) = solve(features, [problem], zeros(1, features), tolerance=1e-6, most=200)
    assert not solution.converged
    assert solution.head.isfinite().all()


def test_without_any_label_the_head_stays(drawn):
    features, targets = drawn
    problem = Problem(loss_of("two-way", torch.zeros_like(targets)), 0.1)
    (solution,) = solve(features, [problem], zeros(1, features))
    assert solution.converged and solution.iterations == 0
    assert not solution.head.any()


def test_it_stops_when_asked(drawn):
    features, targets = drawn
    problem = Problem(loss_of("two-way", targets), 1e-3)
    asked = iter([False, False, True])
    (solution,) = solve(
        features, [problem], zeros(1, features), tolerance=1e-9, should_stop=lambda: next(asked)
    )
    assert solution.iterations == 2 and not solution.converged


def test_float32_comes_close(drawn):
    features, targets = drawn
    problem = Problem(loss_of("two-way", targets), 0.1)
    (wide,) = solve(features, [problem], zeros(1, features), tolerance=1e-8)
    narrow_features = features.float()
    (narrow,) = solve(narrow_features, [problem], zeros(1, narrow_features), tolerance=1e-4)
    assert narrow.converged
    assert narrow.objective == pytest.approx(wide.objective, rel=1e-5)


def test_many_images_go_through_in_blocks(drawn, monkeypatch):
    features, targets = drawn
    heads = torch.randn_like(zeros(3, features))
    whole = forward(features, heads)
    problem = Problem(loss_of("two-way", targets), 0.1)
    (expected,) = solve(features, [problem], zeros(1, features), tolerance=1e-6)
    monkeypatch.setattr(lbfgs, "_ROWS", 50)
    torch.testing.assert_close(forward(features, heads), whole)
    (found,) = solve(features, [problem], zeros(1, features), tolerance=1e-6)
    torch.testing.assert_close(found.head, expected.head, rtol=1e-4, atol=1e-6)


def test_gradients_have_no_numbers_that_slow_a_product_down():
    """Those too small to be normalised: measured, a product of matrices takes 20 times as long."""
    logits = torch.tensor([[95.0, -95.0]])
    _, gradient = lbfgs.value_and_gradient(loss_of("bce", torch.tensor([[1, 0]])), logits)
    assert not gradient.any()
    value = loss_of("bce", torch.tensor([[1, 0]]))(leaf := logits.clone().requires_grad_())
    (plain,) = torch.autograd.grad(value, leaf)
    assert plain.abs().max() > 0


def test_logits_are_kept_only_where_they_are_wanted(drawn):
    features, targets = drawn
    problems = [Problem(loss_of("softmax", targets), penalty) for penalty in (1.0, 0.01)]
    kept = solve(features, problems, zeros(2, features))
    others = solve(features, problems, zeros(2, features), keep_logits=False)
    for one, other in zip(kept, others, strict=True):
        torch.testing.assert_close(one.head, other.head, rtol=0, atol=0)
        assert one.logits.shape == (IMAGES, LABELS)
        assert other.logits.shape == (0, LABELS)
        assert other.logits.untyped_storage().nbytes() == 0


def test_strong_penalties_take_few_iterations():
    """The weights' curvature is thousands of times the biases' then."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(200, 3, generator=generator) @ torch.randn(3, 300, generator=generator)
    features = shared + 0.3 * torch.randn(200, 300, generator=generator)
    targets = (torch.rand(200, 100, generator=generator) < 0.02).long()
    loss = loss_of("bce", targets)
    start = features.new_zeros((2, 301, 100))
    solutions = solve(features, [Problem(loss, 100), Problem(loss, 10)], start, tolerance=3e-4)
    assert all(solution.converged and solution.iterations <= 40 for solution in solutions)
