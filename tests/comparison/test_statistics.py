import json
from collections.abc import Iterable

import numpy as np
import pytest

from tests.comparison import drawn
from tests.scoring.drawn import draw_logits
from twlcli.cli.console import Console
from twlcli.cli.tables import comparison_table
from twlcli.comparison.report import notes, to_dict
from twlcli.comparison.result import Comparison, RunScores, Trained
from twlcli.comparison.statistics import compare_scores
from twlcli.errors import ModelError, TwlError
from twlcli.scoring.average_precision import (
    average_precision_per_image,
    average_precision_per_label,
    mean_over_lines,
)

IMAGES, LABELS = 120, 5
NAMES = tuple(f"label{number}" for number in range(LABELS))


def targets_of(images: int = IMAGES) -> np.ndarray:
    return draw_logits(0, images=images, labels=LABELS)[1]


def candidate(
    name: str, separation: float, *, seeds: tuple[int, ...] = (0, 1, 2), noise: int = 0
) -> Trained:
    """Runs that share the noise of the images, with a little of their seed's and `noise`'s own."""
    targets = targets_of()
    shared = np.random.default_rng(1).normal(size=targets.shape)
    runs = []
    for seed in seeds:
        own = np.random.default_rng([seed, noise]).normal(size=targets.shape)
        logits = (shared + 0.1 * own + separation * (targets == 1)).astype(np.float32)
        runs.append(RunScores(seed, logits, ({"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0})))
    return trained(name, runs, ((0.01, 0.5), (0.1, np.nan)))


def trained(name: str, runs: Iterable[RunScores], rates=()) -> Trained:
    return Trained(drawn.candidate(name), 0.01, tuple(runs), rates)


def compared(*candidates: Trained, **options) -> Comparison:
    options = {"resamples": 200} | options
    return compare_scores(candidates, targets_of(), NAMES, **options)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compared(
        candidate("asl", 1.0), candidate("two-way", 2.5), candidate("bce", 1.0, noise=1)
    )


def text_of(comparison: Comparison, width: int = 120) -> str:
    console = Console()
    console.width = width
    with console.capture() as capture:
        console.print(comparison_table(comparison))
    return capture.get()


def test_scores_are_means_over_seeds(comparison):
    result = comparison.results[0]
    logits = [run.logits for run in candidate("two-way", 2.5).runs]
    per_label = [average_precision_per_label(each, targets_of()) for each in logits]
    per_image = [average_precision_per_image(each, targets_of()) for each in logits]
    by_class = [mean_over_lines(each).value for each in per_label]
    assert result.map_class.values == pytest.approx(by_class)
    assert result.map_class.mean == pytest.approx(np.mean(by_class))
    assert result.map_class.std == pytest.approx(np.std(by_class, ddof=1))
    by_sample = [mean_over_lines(each).value for each in per_image]
    assert result.map_sample.mean == pytest.approx(np.mean(by_sample))
    np.testing.assert_allclose(result.label_mean, np.mean(per_label, axis=0))
    np.testing.assert_allclose(result.label_std, np.std(per_label, axis=0, ddof=1))
    assert result.map_class.low < result.map_class.mean < result.map_class.high


def test_the_best_comes_first_and_pairs_point_down(comparison):
    names = [result.name for result in comparison.results]
    assert names[0] == "two-way"
    pairs = [(each.first, each.second) for each in comparison.differences]
    assert pairs == [(names[0], names[1]), (names[0], names[2]), (names[1], names[2])]
    assert all(each.map_class.value >= 0 for each in comparison.differences)
    assert comparison.to_best("two-way") is None
    assert comparison.to_best("asl").second == "asl"


def test_a_large_difference_is_significant_and_a_small_one_is_not(comparison):
    large, _, small = (each.map_class for each in comparison.differences)
    assert large.significant
    assert 0 < large.low < large.value < large.high
    assert not small.significant
    assert small.low < 0 < small.high
    for gap in (large, small):
        assert gap.adjusted_p >= gap.p


def test_images_are_drawn_for_both_alike():
    """The noise of the images is shared, so that a difference is surer than either score."""
    pair = compared(candidate("asl", 1.0), candidate("two-way", 1.5))
    (difference,) = pair.differences
    width = difference.map_class.high - difference.map_class.low
    alone = [result.map_class.high - result.map_class.low for result in pair.results]
    assert width < 0.7 * min(alone)


def test_intervals_lie_around_the_difference():
    """Resamples of few positives score higher, the weaker candidate most."""
    (difference,) = compared(
        candidate("asl", 0.3), candidate("bce", 2.0), resamples=500
    ).differences
    gap = difference.map_class
    assert (gap.low + gap.high) / 2 == pytest.approx(gap.value, abs=0.1 * (gap.high - gap.low))


def test_a_candidate_does_not_differ_from_its_double():
    (difference,) = compared(candidate("asl", 1.0), candidate("rml", 1.0)).differences
    assert difference.map_class.value == 0
    assert (difference.map_class.low, difference.map_class.high) == (0, 0)
    assert difference.map_class.adjusted_p == 1
    assert not difference.map_class.significant


def test_the_order_of_runs_and_candidates_changes_nothing():
    first, second = candidate("asl", 1.0), candidate("two-way", 1.5)
    turned = trained("asl", first.runs[::-1], first.tried)
    expected, result = compared(first, second), compared(second, turned)
    assert result.differences == expected.differences
    assert result.seeds == (0, 1, 2)


def test_seeds_widen_the_interval():
    """Two candidates with one ranking of their own for each seed; the images are the same."""
    targets = targets_of()
    runs = [draw_logits(seed + 1, images=IMAGES, labels=LABELS)[0] for seed in range(6)]
    strong = [
        (run + strength * (targets == 1)) for run, strength in zip(runs, range(6), strict=True)
    ]
    several = [
        trained(name, [RunScores(s, x.astype(np.float32)) for s, x in each])
        for name, each in (("a", enumerate(strong[::2])), ("b", enumerate(runs[::2])))
    ]
    single = [trained(each.candidate.name, [RunScores(0, each.runs[1].logits)]) for each in several]
    wide, narrow = (compared(*each).differences[0].map_class for each in (several, single))
    assert wide.high - wide.low > narrow.high - narrow.low


def test_one_seed_has_no_deviation():
    alone = compared(candidate("asl", 1.0, seeds=(4,)), candidate("bce", 2.0, seeds=(4,)))
    assert alone.results[0].map_class.std is None
    assert alone.results[0].label_std is None
    assert "±" not in text_of(alone)
    assert any("One seed says" in note for note in notes(alone))
    json.dumps(to_dict(alone), allow_nan=False)


def test_one_candidate_is_only_scored():
    alone = compared(candidate("asl", 1.0))
    assert alone.differences == ()
    assert text_of(alone).splitlines()[0].split() == ["loss", "rate", "mAP@class", "mAP@sample"]
    assert notes(alone) == ("± is the standard deviation over 3 seeds.",)


def test_labels_without_an_image_are_left_out():
    targets = targets_of()
    targets[:, 2] = 0
    result = compare_scores(
        [candidate("asl", 1.0), candidate("bce", 2.0)], targets, NAMES, resamples=200
    )
    assert result.support[2] == 0
    assert np.isnan(result.results[0].label_mean[2])
    assert 0 < result.results[0].map_class.mean < 1
    fields = json.loads(json.dumps(to_dict(result), allow_nan=False))
    assert fields["candidates"][0]["label_average_precision"]["mean"][2] is None


def test_default_resamples_are_enough_for_the_pairs():
    targets = targets_of()[:10]
    runs = (RunScores(0, np.zeros((10, LABELS), np.float32)),)
    several = [trained(str(number), runs) for number in range(6)]
    assert compare_scores(several[:2], targets, NAMES).resamples == 1000
    assert compare_scores(several, targets, NAMES).resamples == 1500


def test_progress_tells_of_every_run():
    told: list[int] = []
    compared(candidate("asl", 1.0), candidate("bce", 2.0), progress=told.append)
    assert told == [1] * 6


def test_the_table_has_the_best_first_in_percent(comparison):
    lines = text_of(comparison).splitlines()
    best, other = comparison.results[0], comparison.results[1]
    assert lines[1].split() == [
        "two-way",
        "0.01",
        f"{100 * best.map_class.mean:.2f}",
        "±",
        f"{100 * best.map_class.std:.2f}",
        f"{100 * best.map_sample.mean:.2f}",
        "±",
        f"{100 * best.map_sample.std:.2f}",
    ]
    gap = comparison.to_best(other.name).map_class
    shown = f"−{100 * gap.value:.2f} [−{100 * gap.high:.2f}, −{100 * gap.low:.2f}]"
    assert shown in lines[2]
    assert lines[2].split()[-1] == "yes"


def test_the_table_shows_brackets_of_names():
    named = trained("[red] asl", candidate("asl", 1.0).runs)
    assert "[red] asl" in text_of(compared(named))


def test_json_names_its_units_and_holds_everything(comparison):
    fields = json.loads(json.dumps(to_dict(comparison), allow_nan=False))
    assert set(fields) == {
        "unit",
        "limit",
        "images",
        "seeds",
        "resamples",
        "confidence",
        "labels",
        "support",
        "candidates",
        "differences",
    }
    best = fields["candidates"][0]
    assert best["name"] == "two-way"
    assert best["map_class"]["mean"] == comparison.results[0].map_class.mean
    assert best["rates"] == [
        {"learning_rate": 0.01, "map_class": 0.5},
        {"learning_rate": 0.1, "map_class": None},
    ]
    assert [run["seed"] for run in best["runs"]] == [0, 1, 2]
    assert best["runs"][0]["loss"] == [2.0, 1.0]
    assert best["runs"][0]["validation"] == []
    assert fields["limit"] is None
    assert set(fields["differences"][0]["map_class"]) == {
        "value",
        "low",
        "high",
        "p",
        "adjusted_p",
        "significant",
    }
    assert fields["seeds"] == [0, 1, 2]


def test_json_has_the_scores_of_the_epochs_that_were_validated():
    history = ({"epoch": 1, "loss": 3.0}, {**drawn.HISTORY[1], "images_per_second": 9.0})
    fields = to_dict(drawn.comparison_of(history=history), limit=50)
    assert fields["limit"] == 50
    assert fields["candidates"][1]["runs"][1]["validation"] == [
        {"epoch": 2, "map_class": 0.5, "map_sample": 0.6}
    ]


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([], "nothing to compare"),
        ([candidate("asl", 1.0), candidate("asl", 2.0)], "asl: two candidates have this name"),
        (
            [candidate("asl", 1.0), candidate("bce", 1.0, seeds=(0, 2))],
            r"bce: has the seeds \[0, 2\], but asl has \[0, 1, 2\]",
        ),
        ([candidate("asl", 1.0, seeds=(1, 1))], r"asl: has the seeds \[1, 1\]; expected each once"),
        ([candidate("asl", 1.0, seeds=())], "expected each once, at least one"),
    ],
)
def test_refuses_what_cannot_be_compared(candidates, message):
    with pytest.raises(TwlError, match=message):
        compared(*candidates)


def test_refuses_too_few_resamples():
    with pytest.raises(TwlError, match="39 resamples cannot show any of 1 differences"):
        compared(candidate("asl", 1.0), candidate("bce", 1.0), resamples=39)


def test_refuses_images_without_labels():
    with pytest.raises(TwlError, match="no image has a label"):
        compare_scores([candidate("asl", 1.0)], np.zeros((IMAGES, LABELS), np.int8), NAMES)


def test_refuses_logits_that_are_not_finite_and_names_that_are_too_few():
    broken = candidate("asl", 1.0)
    broken.runs[1].logits[0, 0] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        compared(broken)
    with pytest.raises(ValueError, match="5 columns of targets and 1 labels"):
        compare_scores([candidate("asl", 1.0)], targets_of(), ["one"])
