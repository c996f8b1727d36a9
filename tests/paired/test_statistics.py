import math
from typing import Any

import numpy as np
import pytest

from tests.paired.drawn import draw_models, scored_model, spec_of
from twlcli.labels import ABSENT, PRESENT, UNKNOWN
from twlcli.model.decisions import calibration_of, probabilities
from twlcli.paired.draws import DECISIONS, ScoredModel
from twlcli.paired.statistics import (
    Differences,
    compare_models,
    scores_of,
)
from twlcli.scoring import average_precision, bootstrap
from twlcli.scoring.bootstrap import draw_counts

LABELS = ("a", "b", "c", "d", "e", "f")


def drawn(*separations, intervals=True, **options) -> tuple[list[ScoredModel], np.ndarray]:
    logits, targets = draw_models(*separations, **options)
    labels = [f"label{column}" for column in range(targets.shape[1])]
    spec = spec_of(labels)
    return [scored_model(each, targets, spec, intervals=intervals) for each in logits], targets


# --- a reference in plain loops ----------------------------------------------------------------


def loop_precision(scores: list[float], truth: list[int]) -> float:
    """Average precision of one line; NaN without a positive."""
    known = [(s, t) for s, t in zip(scores, truth, strict=True) if t != UNKNOWN]
    values = []
    for score, each in known:
        if each == PRESENT:
            above = [t for s, t in known if s >= score]
            values.append(sum(t == PRESENT for t in above) / len(above))
    return sum(values) / len(values) if values else math.nan


def loop_mean(values: list[float]) -> float:
    counted = [value for value in values if not math.isnan(value)]
    return sum(counted) / len(counted) if counted else math.nan


def loop_scores(
    model: ScoredModel, targets: np.ndarray, rows: list[int], ranked: list[int]
) -> tuple[dict[str, float], list[float]]:
    """All scores of some images, which may be repeated, and the labels' average precision."""
    logits, truth = model.logits[rows].tolist(), targets[rows].tolist()
    certain = probabilities(model.logits, calibration_of(model.spec))[rows].tolist()
    labels = range(targets.shape[1])
    by_label = [
        loop_precision([row[c] for row in logits], [row[c] for row in truth])
        if c in ranked
        else math.nan
        for c in labels
    ]
    by_image = [loop_precision(*each) for each in zip(logits, truth, strict=True)]
    correct, given, present = ([0] * len(labels) for _ in range(3))
    bins = [[0.0, 0.0] for _ in range(15)]
    squares = known = 0.0
    for row, place in enumerate(rows):
        for c in labels:
            t, p = truth[row][c], certain[row][c]
            if t == UNKNOWN:
                continue
            decided = bool(model.decisions[place, c])
            given[c] += decided
            present[c] += t == PRESENT
            correct[c] += decided and t == PRESENT
            known += 1
            squares += (p - t) ** 2
            bins[min(14, int(p * 15))][0] += t
            bins[min(14, int(p * 15))][1] += p
    there = [c for c in labels if present[c]]
    cp = sum(correct[c] / max(1, given[c]) for c in there) / max(1, len(there))
    cr = sum(correct[c] / present[c] for c in there) / max(1, len(there))
    op, overall_r = sum(correct) / max(1, sum(given)), sum(correct) / max(1, sum(present))
    f1 = [2 * p * r / (p + r) if p + r else 0.0 for p, r in ((cp, cr), (op, overall_r))]
    decided_scores = dict(zip(DECISIONS, (cp, cr, f1[0], op, overall_r, f1[1]), strict=True))
    scores = {
        "map_class": loop_mean(by_label),
        "map_sample": loop_mean(by_image),
        **decided_scores,
        "brier": squares / known,
        "calibration_error": sum(abs(has - expected) for has, expected in bins) / known,
    }
    return scores, by_label


def test_differences_are_those_of_plain_loops():
    resamples = 50
    models, targets = drawn(1.0, 1.6, images=60, labels=4, rate=0.4, unknown=0.1)
    found = compare_models(models, targets, resamples=resamples, seed=3)
    ranked = [c for c in range(4) if (targets[:, c] == ABSENT).any()]
    here = [loop_scores(each, targets, list(range(60)), ranked) for each in models]
    draws: list[list[tuple[dict[str, float], list[float]]]] = [[], []]
    for counts in draw_counts(60, resamples=resamples, seed=3):
        for row in counts:
            rows = [image for image, count in enumerate(row) for _ in range(count)]
            for place, each in enumerate(models):
                draws[place].append(loop_scores(each, targets, rows, ranked))
    [differences] = found.scores
    assert list(differences) == list(here[0][0])
    for name, difference in differences.items():
        value = here[1][0][name] - here[0][0][name]
        moved = [
            [
                each[0][name] - np.mean([d[0][name] for d in own]) + here[place][0][name]
                for each in own
            ]
            for place, own in enumerate(draws)
        ]
        gaps = sorted(b - a for a, b in zip(*moved, strict=True))
        if name == "map_class":
            gaps = [value + 1.1 * (gap - value) for gap in gaps]
        assert difference.value == pytest.approx(value, abs=1e-6), name
        assert (difference.low, difference.high) == pytest.approx(
            tuple(np.percentile(gaps, [2.5, 97.5])), abs=1e-6
        ), name
        smaller = min(sum(gap <= 0 for gap in gaps), sum(gap >= 0 for gap in gaps))
        assert difference.p == pytest.approx(min(1, 2 * (smaller + 1) / (resamples + 1))), name
    for column, label in enumerate(found.labels[0]):
        gaps = [b[1][column] - a[1][column] for a, b in zip(*draws, strict=True)]
        value = here[1][1][column] - here[0][1][column]
        assert label.difference.value == pytest.approx(value, abs=1e-9)
        assert label.difference.low is not None and label.difference.high is not None
        freedom = min((targets[:, column] == t).sum() for t in (PRESENT, ABSENT)) - 1
        width = bootstrap.student_width(freedom) * np.std(gaps, ddof=1)
        assert label.difference.low == pytest.approx(value - width, abs=1e-9)
        assert label.difference.high == pytest.approx(value + width, abs=1e-9)


# --- what has to hold ---------------------------------------------------------------------------


def test_a_model_does_not_differ_from_itself():
    [model], targets = drawn(1.5)
    found = compare_models([model, model, model], targets)
    assert found.resamples == 1000
    for scores, labels in zip(found.scores, found.labels, strict=True):
        assert {(each.value, each.low, each.high, each.adjusted_p) for each in scores.values()} == {
            (0.0, 0.0, 0.0, 1.0)
        }
        assert {(e.difference.value, e.difference.low, e.difference.p) for e in labels} == {
            (0.0, 0.0, 1.0)
        }
        assert not any(each.difference.significant for each in labels)
        assert not any(each.significant for each in scores.values())


def test_the_other_way_round_signs_change():
    models, targets = drawn(1.0, 1.8)
    [there], [back] = (compare_models(each, targets).scores for each in (models, models[::-1]))
    for name, each in there.items():
        low, high = back[name].low, back[name].high
        assert low is not None and high is not None
        assert back[name].value == -each.value
        assert (each.low, each.high) == pytest.approx((-high, -low))
        assert each.p == pytest.approx(back[name].p)


def test_draws_do_not_depend_on_the_blocks(monkeypatch):
    models, targets = drawn(1.0, 1.8, images=50, labels=4)
    whole = compare_models(models, targets, resamples=60)
    monkeypatch.setattr(bootstrap, "DRAWN_ENTRIES", 50 * 7)
    monkeypatch.setattr(average_precision, "BLOCK_ENTRIES", 90)
    parts = compare_models(models, targets, resamples=60)
    for name, each in whole.scores[0].items():
        other = parts.scores[0][name]
        assert (each.low, each.high, each.p) == pytest.approx((other.low, other.high, other.p))
    for a, b in zip(whole.labels[0], parts.labels[0], strict=True):
        assert a.difference.p == pytest.approx(b.difference.p)


def test_labels_that_really_differ_are_found_among_those_that_do_not():
    stronger = np.where(np.arange(40) < 8, 2.4, 1.2)
    models, targets = drawn(1.2, stronger, images=600, labels=40, rate=0.15)
    [labels] = compare_models(models, targets).labels
    real = {each.label for each in labels if each.difference.significant}
    assert {f"label{column}" for column in range(8)} <= real
    assert len(real) <= 9  # one of ten may be by chance


def test_rare_labels_are_not_tested():
    models, targets = drawn(1.0, 2.0, images=300, labels=3, unknown=0.0)
    targets[:, 0] = 0
    targets[:9, 0] = 1  # nine images have it
    targets[:, 1] = 1
    targets[:9, 1] = 0  # nine lack it
    models = [scored_model(each.logits, targets, each.spec) for each in models]
    [labels] = compare_models(models, targets).labels
    assert [each.difference.p is None for each in labels] == [True, True, False]
    assert labels[0].difference.low is None
    assert labels[0].support == 9


def test_labels_that_cannot_be_ranked_are_left_out():
    models, targets = drawn(1.0, 2.0, images=100, labels=3, unknown=0.0)
    targets[:, 0] = 0
    targets[:, 2] = 1
    models = [scored_model(each.logits, targets, each.spec) for each in models]
    [labels] = compare_models(models, targets).labels
    assert [each.label for each in labels] == ["label1"]


@pytest.mark.parametrize(("images", "labels"), [(9, 4), (12, 1)])
def test_few_images_have_no_intervals(images, labels):
    models, targets = drawn(
        1.0, 2.0, images=images, labels=labels, rate=0.0 if labels == 1 else 0.3
    )
    found = compare_models(models, targets)
    assert found.resamples == 0
    assert all(each.low is None and not each.significant for each in found.scores[0].values())


def test_resamples_that_cannot_show_anything_are_not_drawn():
    models, targets = drawn(1.0, 2.0, 3.0, images=50)
    assert compare_models(models, targets, resamples=79).resamples == 0
    assert compare_models(models, targets, resamples=80).resamples == 80


def test_p_is_adjusted_for_the_number_of_models():
    models, targets = drawn(1.0, 1.3, images=400)
    [alone] = compare_models(models, targets).scores
    both = compare_models([*models, models[0]], targets).scores
    for name, each in alone.items():
        assert each.p is not None
        assert each.adjusted_p == each.p
        assert both[0][name].adjusted_p == pytest.approx(min(1.0, 2 * each.p))


def test_cross_fitted_decisions_are_compared_where_thresholds_were_fitted():
    logits, targets = draw_models(1.5, 1.5)
    spec = spec_of(LABELS)
    models = [scored_model(each, targets, spec, fitted=True) for each in logits]
    cross = [each.evaluation.cross_fitted for each in models]
    assert cross[0] is not None and cross[1] is not None
    [differences] = compare_models(models, targets).scores
    expected = cross[1].at_threshold.class_f1 - cross[0].at_threshold.class_f1
    assert differences["class_f1"].value == pytest.approx(expected)
    assert scores_of(models[0].evaluation)["class_f1"] == cross[0].at_threshold.class_f1


def test_top_accuracy_is_compared_where_images_have_one_label():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 6, 200)
    targets = (np.arange(6) == truth[:, None]).astype(np.int8)
    logits = [
        (generator.normal(size=targets.shape) + s * targets).astype(np.float32) for s in (1, 3)
    ]
    models = [scored_model(each, targets, spec_of(LABELS)) for each in logits]
    [differences] = compare_models(models, targets).scores
    for rank in (1, 5):
        order = [np.argsort(-each, axis=1)[:, :rank] for each in logits]
        hits = [(each == truth[:, None]).any(axis=1).mean() for each in order]
        assert differences[f"top_{rank}"].value == pytest.approx(hits[1] - hits[0])
    assert differences["top_1"].significant


# --- whether intervals hold what they promise -----------------------------------------------------


# Of each model alone nothing is wanted but its scores.
EIGHT: dict[str, Any] = {"labels": 8, "rate": 0.2, "unknown": 0.0, "intervals": False}


def compared(seed: int, *, images: int, separations: tuple[float, float]) -> Differences:
    models, targets = drawn(*separations, images=images, seed=seed, **EIGHT)
    return compare_models(models, targets, resamples=200, seed=seed)


def coverage(count: int, *, images: int, separations: tuple[float, float]) -> dict[str, float]:
    """How often intervals hold the difference on very many images; `label` is of single labels."""
    models, _ = drawn(*separations, images=60_000, seed=999, **EIGHT)
    truth = {
        name: value - scores_of(models[0].evaluation)[name]
        for name, value in scores_of(models[1].evaluation).items()
    }
    precision = [
        float(np.mean([row.average_precision for row in each.evaluation.labels])) for each in models
    ]
    held = dict.fromkeys((*truth, "label"), 0.0)
    for seed in range(count):
        found = compared(seed, images=images, separations=separations)
        for name, each in found.scores[0].items():
            assert each.low is not None and each.high is not None
            held[name] += each.low <= truth[name] <= each.high
        for label in found.labels[0]:
            difference = label.difference
            assert difference.low is not None and difference.high is not None
            inside = difference.low <= precision[1] - precision[0] <= difference.high
            held["label"] += inside / len(found.labels[0])
    return {name: value / count for name, value in held.items()}


def test_intervals_hold_a_known_difference():
    held = coverage(60, images=300, separations=(1.2, 1.6))
    # 95 % but for chance: 51 of 60 or fewer have a probability of 0.2 % for one score.
    assert min(held.values()) >= 0.86, held
    assert held["label"] >= 0.93, held


@pytest.mark.slow
@pytest.mark.parametrize("separations", [(1.0, 1.0), (1.0, 1.5), (2.0, 2.8)])
@pytest.mark.parametrize("images", [200, 1000])
def test_intervals_hold_a_known_difference_whatever_it_is(images, separations):
    held = coverage(200, images=images, separations=separations)
    assert min(held.values()) >= 0.9, held


def test_equal_models_rarely_differ():
    """By one label of 8 in any of 60 sets, where p promises one set of twenty at most."""
    any_label = any_score = 0
    for seed in range(60):
        found = compared(seed, images=300, separations=(1.4, 1.4))
        any_label += any(each.difference.significant for each in found.labels[0])
        any_score += found.scores[0]["map_class"].significant
    assert any_label <= 8  # a probability of 0.5 % at 5 %
    assert any_score <= 8
