import math

import pytest

from tests.comparison.drawn import HISTORY, comparison_of
from twlcli.comparison.plots import loss_plots, rate_plots, scores_plot, validation_plots
from twlcli.pages.plot import Crosses, Dots, Line, Plot


def lines(plot: Plot) -> list[Line]:
    return [mark for mark in plot.marks if isinstance(mark, Line)]


def dots(plot: Plot) -> list[Dots]:
    return [mark for mark in plot.marks if isinstance(mark, Dots)]


def test_scores_show_every_seed_the_mean_and_its_interval():
    comparison = comparison_of(seeds=3)
    plot = scores_plot(comparison)
    results = comparison.results[::-1]  # from the foot up
    assert [tick.label for tick in plot.y.ticks] == [result.name for result in results]
    assert [dot.points for dot in dots(plot)] == [
        [(100 * value, tick.value) for value in result.map_class.values]
        for result, tick in zip(results, plot.y.ticks, strict=True)
    ]
    for result, interval, mean in zip(results, lines(plot)[::2], lines(plot)[1::2], strict=True):
        score = result.map_class
        assert [x for x, _ in interval.points] == [100 * score.low, 100 * score.high]
        assert {x for x, _ in mean.points} == {100 * score.mean}
    assert dots(plot)[0].titles[1].startswith(f"{results[0].name}, seed 1: ")
    values = [x for mark in plot.marks for x, _ in mark.points]
    assert plot.x.low < min(values) < max(values) < plot.x.high


def test_long_names_take_the_lines_that_they_need():
    short, long = "bce", "two-way " + " ".join(f"temperature_{number}=1" for number in range(9))
    plot = scores_plot(comparison_of((short, long)))
    labels = {tick.label.split()[0]: tick.label for tick in plot.y.ticks}
    assert labels["bce"] == "bce"
    assert labels["two-way"].count("\n") == 2
    assert labels["two-way"].endswith("…")


def test_chosen_rate_is_marked_and_diverged_ones_are_crosses_at_the_foot():
    comparison = comparison_of(rates=((0.01, 0.6), (0.03, math.nan), (0.09, 0.5)))
    plots = rate_plots(comparison)
    assert [plot.heading for plot in plots] == [result.name for result in comparison.results]
    for plot in plots:
        (line,) = lines(plot)
        tried, chosen = dots(plot)
        (crosses,) = (mark for mark in plot.marks if isinstance(mark, Crosses))
        assert line.points == tried.points == [(0.01, 60), (0.09, 50)]
        assert chosen.points == [(0.01, 60)]
        assert crosses.points == [(0.03, plot.y.low)]
        assert [(tick.label, tick.bold) for tick in plot.x.ticks] == [
            ("0.01", True),
            ("0.03", False),
            ("0.09", False),
        ]


def test_rates_that_all_diverged_are_drawn():
    (plot,) = rate_plots(comparison_of(("bce",), rates=((0.01, math.nan),)))
    assert [list(mark.points) for mark in plot.marks] == [[], [], [], [(0.01, plot.y.low)]]


def test_there_are_no_plots_of_what_is_not_known():
    comparison = comparison_of(rates=(), history=())
    assert rate_plots(comparison) == validation_plots(comparison) == loss_plots(comparison) == []


def test_validation_shows_the_seeds_and_the_mean_of_the_best_with_one_scale():
    plots = validation_plots(comparison_of())
    assert len({(plot.y.low, plot.y.high) for plot in plots}) == 1
    curve = [(1, 30.0), (2, 50.0)]
    assert [each.points for each in lines(plots[0])] == [curve, curve]
    assert [each.points for each in lines(plots[1])] == [curve, curve, curve]
    assert [each.dashed for each in lines(plots[1])] == [True, False, False]


@pytest.mark.parametrize("loss", [math.nan, None, 1e300])
def test_losses_that_are_no_numbers_leave_a_gap(loss):
    history = (HISTORY[0], {"epoch": 2, "loss": loss}, {"epoch": 3, "loss": 1.0})
    plot = loss_plots(comparison_of(history=history))[0]
    assert plot.y.low < 1 < 3 < plot.y.high < 4


def test_one_epoch_is_a_dot():
    plot = loss_plots(comparison_of(history=HISTORY[:1]))[0]
    assert [dot.points for dot in dots(plot)] == [[(1, 3.0), (1, 3.0)]]
    assert [tick.label for tick in plot.x.ticks] == ["1"]
