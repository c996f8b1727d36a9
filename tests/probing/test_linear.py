import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, balanced_accuracy_score

from tests.probing.drawn import multi_part_of, part_of
from twlcli.annotations.split import hold_out_images
from twlcli.probing.linear import Evaluation, Part, accuracies, evaluate_features, has_single_labels
from twlcli.probing.result import ProbeResult
from twlcli.probing.sweep import Settings

CPU = torch.device("cpu")
SETTINGS = Settings(tolerance=1e-6, most=3000)
PENALTIES = (1000.0, 10.0, 0.1)


def evaluated(train, test, **options):
    evaluation = Evaluation(**{"penalties": PENALTIES, "settings": SETTINGS, **options})
    return evaluate_features(copy.deepcopy(train), copy.deepcopy(test), evaluation, device=CPU)


def result_of(swept):
    return ProbeResult("model", "set", 4, 12, 120, 80, 0, "softmax", swept)


@pytest.fixture(scope="module")
def single():
    return part_of(120), part_of(80, split="test", seed=1)


def classes_of(part):
    return part.data.labels.dense().argmax(1)


def test_accuracies_are_scikit_learns_with_both_choices(single):
    train, test = single
    classes, test_classes = classes_of(train), classes_of(test)
    held = hold_out_images(train.data, fraction=0.2, seed=0)
    others = np.setdiff1d(np.arange(len(classes)), held)
    swept = evaluated(train, test)
    on_test, on_held = {}, {}
    for each in swept:
        model = LogisticRegression(C=1 / each.penalty, max_iter=10000, tol=1e-8)
        given = model.fit(train.features, classes).predict(test.features)
        on_test[each.penalty] = (given == test_classes).mean()
        assert each.scores["accuracy"] == pytest.approx(on_test[each.penalty])
        balanced = balanced_accuracy_score(test_classes, given)
        assert each.scores["class_accuracy"] == pytest.approx(balanced)
        model.fit(train.features[others], classes[others])
        on_held[each.penalty] = model.score(train.features[held], classes[held])
        assert each.validation == pytest.approx(on_held[each.penalty])
        assert each.converged and each.validation_converged and each.iterations > 0
    result = result_of(swept)
    assert result.selected("paper").penalty == max(on_test, key=on_test.__getitem__)
    assert result.selected("validation").penalty == max(on_held, key=on_held.__getitem__)


def test_features_stay_as_they_are_unless_it_is_said(single):
    train, test = single
    scale = np.geomspace(0.2, 5, train.features.shape[1]).astype(np.float32)
    scaled = tuple(Part(each.data, each.features * scale) for each in (train, test))
    raw = evaluated(*single, standardise=False)
    assert [each.scores for each in evaluated(*scaled)] != [each.scores for each in raw]
    standard = evaluated(*single, standardise=True)
    same = evaluated(*scaled, standardise=True)
    for one, other in zip(standard, same, strict=True):
        assert one.scores["accuracy"] == pytest.approx(other.scores["accuracy"], abs=0.03)


def test_a_shift_of_the_features_changes_nothing(single):
    shifted = tuple(Part(each.data, each.features + 20) for each in single)
    for one, other in zip(evaluated(*single), evaluated(*shifted), strict=True):
        assert one.scores == pytest.approx(other.scores, abs=0.015)


@pytest.mark.parametrize("factor", [1e-6, 1e4])
def test_larger_features_are_those_of_a_smaller_penalty(single, factor):
    scaled = tuple(Part(each.data, each.features * np.float32(factor)) for each in single)
    penalties = tuple(penalty * factor**2 for penalty in PENALTIES)
    for one, other in zip(evaluated(*single), evaluated(*scaled, penalties=penalties), strict=True):
        assert other.penalty == pytest.approx(one.penalty * factor**2)
        assert one.scores == pytest.approx(other.scores, abs=0.015)
        assert other.converged


@pytest.mark.parametrize("loss", ["softmax", "bce", "two-way", "asl"])
def test_images_of_several_labels_are_scored_by_map(loss):
    train, test = multi_part_of(120), multi_part_of(80, split="test", seed=1)
    swept = evaluated(train, test, loss=loss, settings=Settings(1e-4, 1000))
    assert set(swept[0].scores) == {"map_class", "map_sample"}
    assert all(each.converged for each in swept)
    assert swept[-1].scores["map_class"] > 0.6


def test_map_of_one_against_the_rest_is_scikit_learns():
    train, test = multi_part_of(120), multi_part_of(80, split="test", seed=1)
    (swept,) = evaluated(train, test, loss="bce", penalties=(2.0,))
    targets, test_targets = train.data.labels.dense(), test.data.labels.dense()
    scores = []
    for label in range(4):
        known, shown = targets[:, label] >= 0, test_targets[:, label] >= 0
        model = LogisticRegression(C=1 / 2.0, max_iter=10000, tol=1e-8)
        model.fit(train.features[known], targets[known, label])
        given = model.decision_function(test.features[shown])
        scores.append(average_precision_score(test_targets[shown, label], given))
    assert swept.scores["map_class"] == pytest.approx(np.mean(scores), abs=2e-3)


def test_an_unknown_label_makes_it_no_single_label_set(single):
    assert has_single_labels(*(each.data for each in single))
    assert not has_single_labels(multi_part_of(20).data)


def test_heads_that_do_not_converge_are_told(single):
    swept = evaluated(*single, settings=Settings(tolerance=1e-9, most=2))
    assert not any(each.converged or each.validation_converged for each in swept)
    assert all(each.iterations == 2 and each.gradient_norm > 0 for each in swept)


def test_nothing_is_given_when_it_is_stopped(single):
    train, test = copy.deepcopy(single)
    asked = []

    def should_stop():
        asked.append(1)
        return len(asked) > 5

    evaluation = Evaluation(penalties=PENALTIES)
    assert evaluate_features(train, test, evaluation, device=CPU, should_stop=should_stop) == ()


def test_progress_counts_heads(single):
    train, test = copy.deepcopy(single)
    told = []
    evaluation = Evaluation(penalties=PENALTIES)
    evaluate_features(train, test, evaluation, device=CPU, solved=lambda *done: told.append(done))
    assert told == [(number, 6) for number in range(1, 7)]


def test_the_mean_over_classes_leaves_out_those_that_do_not_occur():
    assert accuracies([0, 2, 2, 2], np.array([0, 2, 2, 0])) == {
        "accuracy": 0.75,
        "class_accuracy": 0.75,
    }
