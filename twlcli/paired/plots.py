"""The plot of labels in which two models differ most."""

from __future__ import annotations

from twlcli.pages.plot import Dots, Line, Mark, Plot, wrapped
from twlcli.pages.scales import Axis, Tick, linear_axis
from twlcli.pages.shown_names import shown
from twlcli.paired.report import ranked_labels
from twlcli.paired.result import LabelDifference, ModelDifference
from twlcli.scoring.report import percent

MOST_LABELS = 24
_NAME_WIDTH, _LONGEST = 130, 36  # units; characters, which fit into three lines
_NAME_LINE, _ROW = 13, 8  # height of a name's line, and of what is between two names
_MARGIN = 40  # above and below the rows


def labels_plot(difference: ModelDifference, first: str) -> Plot:
    """The average precision of labels by two models: those that differ most, gains first.

    Args:
        difference: of a model to the first.
        first: the first's name.
    """
    marks: list[Mark] = []
    ticks: list[Tick] = []
    height = 0.0  # of all rows so far, from the foot up
    names = (shown(first, 40), shown(difference.name, 40))
    for label in reversed(most_different(difference)):
        name = wrapped(shown(label.label, _LONGEST), _NAME_WIDTH)
        row_height = _ROW + _NAME_LINE * (1 + name.count("\n"))
        ticks.append(Tick(height + row_height / 2, name, bold=label.difference.significant))
        marks += _row(label, height + row_height / 2, names)
        height += row_height
    scores = [x for mark in marks for x, _ in mark.points]
    return Plot(
        f"average precision of labels by {names[0]} and {names[1]}",
        linear_axis(scores, title="AP", narrowest=1.0, within=(0, 100)),
        Axis(0, max(height, 1.0), tuple(ticks)),
        tuple(marks),
        width=420,
        height=height + _MARGIN,
    )


def most_different(difference: ModelDifference) -> list[LabelDifference]:
    """The `MOST_LABELS` labels that differ most, significant ones before others; gains first."""
    order = sorted(
        difference.labels,
        key=lambda each: (not each.difference.significant, -abs(each.difference.value)),
    )
    chosen = {each.label for each in order[:MOST_LABELS]}
    return [each for each in ranked_labels(difference) if each.label in chosen]


def _row(label: LabelDifference, row: float, names: tuple[str, str]) -> list[Mark]:
    first, value = 100 * label.first, 100 * label.value
    is_real = label.difference.significant
    titles = [
        f"{name}: {percent(score)}"
        for name, score in zip(names, (label.first, label.value), strict=True)
    ]
    line = [(first, row), (value, row)]
    return [
        Line(line, "accent" if is_real else "bar", width=4 if is_real else 1.6),
        Dots([(first, row)], titles[:1], radius=3.6, hollow=True),
        Dots([(value, row)], titles[1:], radius=3.6),
    ]
