from dataclasses import replace

import numpy as np
import pytest

from tests.report.drawn import HOSTILE, evaluated_of
from twlcli.images.image_file import Failure
from twlcli.report.summary import origin_of, summary_of
from twlcli.runs.seen import SEEN_KEY, sample_of
from twlcli.scoring.evaluation import with_cross_fit, with_intervals
from twlcli.scoring.report import notes_on, percent


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    return evaluated_of(tmp_path_factory.mktemp("summary"), written=False)


def test_scores_are_the_evaluation_s(evaluated):
    summary, evaluation = summary_of(evaluated), evaluated.evaluation
    assert [(score.name, score.value) for score in summary.scores] == [
        ("mAP@class", percent(evaluation.map_class.value)),
        ("mAP@sample", percent(evaluation.map_sample.value)),
        ("Brier", percent(evaluation.brier)),
        ("calibration error", percent(evaluation.calibration_error)),
    ]
    low, high = evaluation.intervals.map_class
    assert f"interval {100 * low:.1f}–{100 * high:.1f}" in summary.scores[0].remark
    at_threshold, top = summary.decisions
    assert at_threshold.values[2] == percent(evaluation.at_threshold.class_f1)
    assert at_threshold.intervals is not None
    assert top.values[5] == percent(evaluation.at_top.overall_f1)
    assert top.intervals is None
    assert summary.facts["images"].startswith("80, with ")
    assert summary.notes == tuple(notes_on(evaluation))


def test_intervals_stand_below_what_they_are_of(evaluated):
    scored = evaluated.scored
    fitted = replace(evaluated.evaluation, fitted_on=80, intervals=None)
    crossed, decisions = with_cross_fit(fitted, scored, evaluated.spec)
    evaluation = with_intervals(crossed, scored, decisions)
    summary = summary_of(replace(evaluated, evaluation=evaluation))
    assert [(each.name, each.intervals is not None) for each in summary.decisions] == [
        ("threshold best-f1", False),
        ("cross-fitted", True),
        ("top 3", False),
    ]


def test_what_the_model_was_fitted_on():
    seen = {
        "training": sample_of(np.arange(5008, dtype=np.uint64)),
        "fitted": sample_of(np.arange(502, dtype=np.uint64)),
    }
    assert origin_of({SEEN_KEY: seen}) == (
        "The model was trained on 5,008 images. Its best epoch, calibration and thresholds were "
        "chosen on 502 images."
    )
    frozen = {SEEN_KEY: {**seen, "fitted": seen["training"]}, "cross_validation": {"folds": 5}}
    assert "fitted to them too, each scored by one of 5 heads" in origin_of(frozen)


@pytest.mark.parametrize(
    "provenance", [{SEEN_KEY: 3}, {SEEN_KEY: {"training": {"images": "many"}}}, {SEEN_KEY: {}}]
)
def test_a_damaged_provenance_says_nothing(provenance):
    assert origin_of(provenance).startswith("The model does not say")


def test_names_are_made_readable(evaluated):
    unreadable = tuple(Failure(name, "damaged") for name in HOSTILE)
    evaluation = replace(evaluated.evaluation, unreadable=unreadable, damaged=2, profiles_ignored=1)
    summary = summary_of(replace(evaluated, evaluation=evaluation))
    assert all(name.isprintable() and len(name) <= 200 for name, _ in summary.unreadable)
    assert any("2 damaged images" in note for note in summary.notes)
