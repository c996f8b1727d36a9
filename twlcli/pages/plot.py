"""Plots as SVG from plain numbers.

A plot in a page takes its colours and font from the page and is as wide as there is room; it is
made so narrow that a phone shows its text at full size. Nothing in it runs or is loaded, text stays
text, and the same numbers give the same bytes.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from twlcli.io import write_whole
from twlcli.pages.colours import LIGHT, VARIABLES, Colour
from twlcli.pages.scales import Axis
from twlcli.pages.templates import render

Point = tuple[float, float]

# In units, which are pixels where a plot is shown as wide as it was made.
_FONT = 11
_LINE = 13  # from a line of text to the next
_GAP = 5  # between an axis and its labels
_BETWEEN, _MARGIN = 18, 8  # plots of a file; around them
_LETTER, _WIDE_LETTER = 0.62, 1.0  # of the font's size: a digit of the widest usual font; Chinese
_PARTS = re.compile(r"[^-_=/.,:]+[-_=/.,:]*|[-_=/.,:]+")  # of a word too long for a line
_UNPRINTABLE = dict.fromkeys(range(32), "\ufffd")  # most of them have no place in XML


@dataclass(frozen=True)
class Line:
    """A line through points in their order; those without a place are left out."""

    points: Sequence[Point]
    colour: Colour = "accent"
    width: float = 1.4
    opacity: float = 1.0
    dashed: bool = False


@dataclass(frozen=True)
class Dots:
    """Dots; a title is shown where a pointer rests on its dot."""

    points: Sequence[Point]
    titles: Sequence[str] = ()
    colour: Colour = "accent"
    radius: float = 3.0
    opacity: float = 1.0
    hollow: bool = False


@dataclass(frozen=True)
class Crosses:
    """Crosses; a title is shown where a pointer rests on its cross."""

    points: Sequence[Point]
    titles: Sequence[str] = ()
    colour: Colour = "ink"


Mark = Line | Dots | Crosses


@dataclass(frozen=True)
class Plot:
    """Marks between two axes.

    Attributes:
        description: what it shows, for those who do not see it.
        x: the axis that runs to the right.
        y: the axis that runs up; its title stands above it.
        marks: from back to front.
        width: of all of it.
        height: of all of it but the heading.
        heading: stands above it in a file; in a page the caption has it.
    """

    description: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    width: float = 290
    height: float = 180
    heading: str = ""


def svg(plot: Plot) -> Markup:
    """The plot as an `<svg>` element of a page."""
    size = plot.width, plot.height
    return _rendered(_elements(plot, 0, 0), size, plot.description, standalone=False)


def write_svg(path: Path, plots: Sequence[Plot], *, description: str, columns: int = 1) -> None:
    """Write plots into one SVG file, in light colours on white.

    Args:
        path: the file; replaced if it is there.
        plots: at least one, all of the same size.
        description: of all of them together.
        columns: how many stand side by side at most.
    """
    columns = min(columns, len(plots))
    width, height = plots[0].width, plots[0].height
    headings = [wrapped(plot.heading, width) for plot in plots]
    above = _LINE * max(1 + text.count("\n") if text else 0 for text in headings)
    elements: list[_Element] = []
    for place, (plot, heading) in enumerate(zip(plots, headings, strict=True)):
        left = _MARGIN + (width + _BETWEEN) * (place % columns)
        top = _MARGIN + (height + above + _BETWEEN) * (place // columns)
        own = _LINE * (1 + heading.count("\n"))
        elements += _text(left, top + above - own + _FONT, heading, bold=True)
        elements += _elements(plot, left, top + above)
    rows = math.ceil(len(plots) / columns)
    size = (
        columns * (width + _BETWEEN) - _BETWEEN + 2 * _MARGIN,
        rows * (height + above + _BETWEEN) - _BETWEEN + 2 * _MARGIN,
    )
    text = _rendered(elements, size, description, standalone=True)
    write_whole(path, lambda file: file.write(text.encode(errors="replace")))


def text_width(text: str) -> float:
    """About how wide a line of text is in a plot; the reader's font is not known."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return _FONT * (_LETTER * (len(text) - wide) + _WIDE_LETTER * wide)


def wrapped(text: str, width: float, *, most: int = 3) -> str:
    """Text in lines of some width; what `most` lines cannot hold ends with `…`.

    Lines break at spaces; inside of a word only where no line holds it, and then after a sign
    such as a hyphen if there is one.
    """
    lines = [""]
    for word in text.split():
        glue = " " if lines[-1] else ""
        for piece in _pieces(word, width):
            if text_width(lines[-1] + glue + piece) > width:
                lines.append("")
                glue = ""
            lines[-1] += glue + piece
            glue = ""
    lines = [line for line in lines if line]
    if len(lines) > most:
        lines[most - 1 :] = [lines[most - 1][:-1] + "…"]
    return "\n".join(lines)


def _pieces(word: str, width: float) -> Iterator[str]:
    """A word in pieces that a line can hold."""
    if text_width(word) <= width:
        yield word
        return
    for part in _PARTS.findall(word):
        yield from [part] if text_width(part) <= width else part


# --- drawing --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Element:
    """An element of the SVG; `fill` and `stroke` are colours by their names."""

    tag: str
    attributes: Mapping[str, str]
    text: str = ""
    title: str = ""


def _rendered(
    elements: Sequence[_Element], size: tuple[float, float], description: str, *, standalone: bool
) -> Markup:
    return render(
        "pages/plot.svg",
        elements=elements,
        width=_short(size[0]),
        height=_short(size[1]),
        font_size=_FONT,
        description=description.translate(_UNPRINTABLE),
        colours=LIGHT if standalone else VARIABLES,
        standalone=standalone,
    )


@dataclass(frozen=True)
class _Frame:
    """The rectangle between the axes of a plot."""

    plot: Plot
    left: float
    top: float
    right: float
    bottom: float

    def x(self, value: float) -> float:
        return self.left + self.plot.x.place(value) * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - self.plot.y.place(value) * (self.bottom - self.top)

    def point(self, point: Point) -> Point | None:
        """Where a point is drawn; None where it has no place."""
        x, y = self.x(point[0]), self.y(point[1])
        return None if math.isnan(x + y) else (x, y)


def _elements(plot: Plot, left: float, top: float) -> list[_Element]:
    """All of a plot whose upper left corner is there."""
    labels = [line for tick in plot.y.ticks for line in tick.label.split("\n")]
    below = _GAP + _LINE + (_LINE if plot.x.title else 0)
    frame = _Frame(
        plot,
        left=left + max(map(text_width, labels), default=0) + _GAP,
        top=top + (_LINE + 2 * _GAP if plot.y.title else _GAP),
        right=left + plot.width - _GAP,
        bottom=top + plot.height - below,
    )
    elements = [*_y_axis(frame), *_x_axis(frame, left)]
    if plot.y.title:
        elements += _text(left, top + _FONT, plot.y.title, colour="soft")
    if plot.x.title:
        middle = (frame.left + frame.right) / 2
        elements += _text(
            middle, top + plot.height - 3, plot.x.title, colour="soft", anchor="middle"
        )
    return [*elements, *(each for mark in plot.marks for each in _mark(frame, mark))]


def _y_axis(frame: _Frame) -> Iterator[_Element]:
    for tick in frame.plot.y.ticks:
        y = frame.y(tick.value)
        if frame.plot.y.grid:
            yield _stroke([(frame.left, y), (frame.right, y)], "line", 0.8)
        first = y + 0.35 * _FONT - _LINE * tick.label.count("\n") / 2
        yield from _text(frame.left - _GAP, first, tick.label, anchor="end", bold=tick.bold)


def _x_axis(frame: _Frame, left: float) -> Iterator[_Element]:
    axis, end = frame.plot.x, left + frame.plot.width
    for tick in axis.ticks:
        x = frame.x(tick.value)
        upper = frame.top if axis.grid else frame.bottom
        yield _stroke([(x, upper), (x, frame.bottom + 3)], "line", 0.8)
    yield _stroke([(frame.left, frame.bottom), (frame.right, frame.bottom)], "bar", 0.8)
    free: list[tuple[float, float]] = []
    for tick in sorted(axis.ticks, key=lambda tick: not tick.bold):
        half = text_width(tick.label) / 2
        x = min(max(frame.x(tick.value), left + half), end - half)
        if all(x + half + _GAP <= low or high <= x - half - _GAP for low, high in free):
            free.append((x - half, x + half))
            y = frame.bottom + _GAP + _FONT - 1
            yield from _text(x, y, tick.label, anchor="middle", bold=tick.bold)


def _mark(frame: _Frame, mark: Mark) -> Iterator[_Element]:
    points = [frame.point(point) for point in mark.points]
    if isinstance(mark, Line):
        there = [point for point in points if point is not None]
        if len(there) > 1:
            yield _stroke(there, mark.colour, mark.width, mark.opacity, dashed=mark.dashed)
        return
    titles = [*mark.titles, *[""] * (len(points) - len(mark.titles))]
    for point, title in zip(points, titles, strict=True):
        if point is not None:
            yield _dot(point, mark, title) if isinstance(mark, Dots) else _cross(point, mark, title)


def _dot(point: Point, mark: Dots, title: str) -> _Element:
    x, y = map(_short, point)
    shape: dict[str, str] = {"cx": x, "cy": y, "r": _short(mark.radius), "fill": mark.colour}
    if mark.hollow:
        shape |= {"fill": "paper", "stroke": mark.colour, "stroke-width": "1.2"}
    if mark.opacity < 1:
        shape["opacity"] = _short(mark.opacity, 2)
    return _Element("circle", shape, title=title)


def _cross(point: Point, mark: Crosses, title: str) -> _Element:
    corner = f"{_short(point[0] - 4)},{_short(point[1] - 4)}"
    style = {"fill": "none", "stroke": mark.colour, "stroke-width": "1.6"}
    return _Element("path", {"d": f"M{corner}l8,8m0,-8l-8,8", **style}, title=title)


def _stroke(
    points: Sequence[Point],
    colour: Colour,
    width: float,
    opacity: float = 1.0,
    *,
    dashed: bool = False,
) -> _Element:
    style: dict[str, str] = {"fill": "none", "stroke": colour, "stroke-width": _short(width)}
    if opacity < 1:
        style["opacity"] = _short(opacity, 2)
    if dashed:
        style["stroke-dasharray"] = "4 3"
    shown = " ".join(f"{_short(x)},{_short(y)}" for x, y in points)
    return _Element("polyline", {"points": shown, **style})


def _text(
    x: float,
    y: float,
    text: str,
    *,
    colour: Colour = "ink",
    anchor: str = "start",
    bold: bool = False,
) -> Iterator[_Element]:
    """Lines of text, the first at that place."""
    style: dict[str, str] = {"fill": colour}
    if anchor != "start":
        style["text-anchor"] = anchor
    if bold:
        style["font-weight"] = "bold"
    for number, line in enumerate(text.split("\n") if text else ()):
        place = {"x": _short(x), "y": _short(y + _LINE * number)}
        yield _Element("text", {**place, **style}, line.translate(_UNPRINTABLE))


def _short(value: float, digits: int = 1) -> str:
    """A coordinate: rounded to what an eye can see, without zeros at its end."""
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
