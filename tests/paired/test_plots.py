import math
from dataclasses import replace

import numpy as np
import pytest

from tests.paired.drawn import paired_of
from twlcli.pages.plot import Dots, Line, svg
from twlcli.paired.plots import MOST_LABELS, labels_plot, most_different


@pytest.fixture(scope="module")
def difference(tmp_path_factory):
    images = [f"{number:03}.png" for number in range(300)]
    folder = tmp_path_factory.mktemp("plots")
    return paired_of(folder, 1.0, np.array([1, 1, 0.2, 1, 3, 3]), images=images)[0].differences[0]


def test_a_row_reaches_from_the_first_to_the_other(difference):
    plot = labels_plot(difference, "old")
    lines = [mark for mark in plot.marks if isinstance(mark, Line)]
    dots = [mark for mark in plot.marks if isinstance(mark, Dots)]
    labels = most_different(difference)[::-1]  # from the foot up
    assert [tick.label for tick in plot.y.ticks] == [each.label for each in labels]
    assert [tick.bold for tick in plot.y.ticks] == [e.difference.significant for e in labels]
    for label, line, first, other, tick in zip(
        labels, lines, dots[0::2], dots[1::2], plot.y.ticks, strict=True
    ):
        expected = [(100 * label.first, tick.value), (100 * label.value, tick.value)]
        assert list(line.points) == expected
        assert [*first.points, *other.points] == expected
        assert first.hollow and not other.hollow
        assert (line.width > 2) == label.difference.significant
    assert str(svg(plot)).startswith("<svg")


def test_the_most_different_are_shown_real_ones_first(difference):
    labels = [
        replace(
            difference.labels[0],
            label=f"label{number}",
            difference=replace(
                difference.labels[0].difference,
                value=(-1) ** number * number / 100,
                significant=False,
            ),
        )
        for number in range(MOST_LABELS + 20)
    ]
    labels[1] = replace(labels[1], difference=replace(labels[1].difference, significant=True))
    shown = most_different(replace(difference, labels=tuple(labels)))
    assert len(shown) == MOST_LABELS
    assert labels[1] in shown  # small, but real
    assert labels[20] not in shown
    values = [each.difference.value for each in shown]
    assert values == sorted(values, reverse=True)
    assert all(math.isfinite(value) for value in values)
