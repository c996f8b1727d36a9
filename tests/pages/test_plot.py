import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twlcli.pages.plot import (
    Crosses,
    Dots,
    Line,
    Mark,
    Plot,
    svg,
    text_width,
    wrapped,
    write_svg,
)
from twlcli.pages.scales import Axis, Tick, linear_axis

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<b>&amp; \"x\" 'y' $z$ ]]> \x00\x07 猫"


def plot(*marks: Mark, x: Axis | None = None, y: Axis | None = None, **more) -> Plot:
    axis = linear_axis([0, 10], grid=True)
    return Plot("a plot", x or axis, y or axis, marks, **more)


def elements(drawn: Plot, tag: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(svg(drawn)).findall(tag)


def texts(drawn: Plot) -> list[str]:
    return [each.text or "" for each in elements(drawn, "text")]


def test_values_are_where_the_axes_say():
    low, high = Axis(0, 4), Axis(0, 2, (Tick(0, "0"), Tick(1, "1"), Tick(2, "2")))
    drawn = plot(Dots([(0, 0), (4, 2), (1, 1)]), x=low, y=high)
    (left, foot), (right, top), (between, middle) = (
        (float(each.attrib["cx"]), float(each.attrib["cy"])) for each in elements(drawn, "circle")
    )
    assert 0 < left < right < drawn.width
    assert 0 < top < foot < drawn.height
    assert between == pytest.approx(left + (right - left) / 4, abs=0.1)
    assert middle == pytest.approx((top + foot) / 2, abs=0.1)
    places = {each.text: float(each.attrib["y"]) for each in elements(drawn, "text")}
    assert places["0"] - places["1"] == pytest.approx(foot - middle, abs=0.1)


def test_points_without_a_place_are_left_out():
    nan = math.nan
    drawn = plot(
        Line([(1, 1), (2, nan), (3, 3)]),
        Line([(1, nan), (2, 2)]),
        Dots([(nan, 1), (5, 5)], ["no", "yes"]),
        Crosses([(1, math.inf), (2, 2)]),
    )
    lines = [
        each for each in elements(drawn, "polyline") if each.attrib["stroke"] == "var(--accent)"
    ]
    assert [len(each.attrib["points"].split()) for each in lines] == [2]
    (dot,) = elements(drawn, "circle")
    assert [each.text for each in dot] == ["yes"]
    assert len(elements(drawn, "path")) == 1
    assert not re.search("nan|inf", svg(drawn))


def test_a_page_gives_colours_and_font():
    text = svg(plot(Line([(1, 1), (2, 2)]), Dots([(1, 1)], hollow=True), Crosses([(1, 1)])))
    assert text.startswith("<svg viewBox")
    assert set(re.findall(r'(?:fill|stroke)="([^"]*)"', text)) == {
        "none",
        *(f"var(--{name})" for name in ("accent", "paper", "ink", "line", "bar")),
    }
    assert "font-family" not in text
    assert "style" not in text


def test_text_is_text():
    drawn = Plot(HOSTILE, linear_axis([1], title=HOSTILE), Axis(0, 1, (Tick(0, HOSTILE),)), ())
    text = svg(drawn)
    root = ElementTree.fromstring(text)
    shown = HOSTILE.replace("\x00", "\ufffd").replace("\x07", "\ufffd")
    assert root.attrib["aria-label"] == shown
    assert texts(drawn).count(shown) == 2
    assert "<b>" not in text


def test_labels_that_would_overlap_are_left_out_but_for_the_bold_one():
    values = [1.0, 1.1, 1.2, 9.0]
    axis = Axis(0, 10, tuple(Tick(value, f"label {value}", value == 1.1) for value in values))
    assert texts(plot(x=axis, y=Axis(0, 1))) == ["label 1.1", "label 9.0"]


def test_labels_stay_inside():
    axis = Axis(0, 1, (Tick(0, "a long label at the left"), Tick(1, "a long label at the right")))
    drawn = plot(x=axis, y=Axis(0, 1))
    for each in elements(drawn, "text"):
        half = text_width(each.text or "") / 2
        assert half <= float(each.attrib["x"]) + 0.1
        assert float(each.attrib["x"]) - 0.1 <= drawn.width - half


def test_names_beside_the_plot_have_the_room_they_need():
    axis = Axis(0, 1, (Tick(0.5, "one line\nand a longer second one"),))
    first, second = elements(plot(y=axis), "text")[:2]
    assert [first.text, second.text] == ["one line", "and a longer second one"]
    assert first.attrib["x"] == second.attrib["x"]
    assert float(first.attrib["x"]) >= text_width("and a longer second one") - 0.1
    assert float(second.attrib["y"]) - float(first.attrib["y"]) == 13


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), st.integers(30, 200))
def test_wrapped_lines_fit_and_lose_nothing(text, width):
    lines = wrapped(text, width, most=1000).split("\n")
    assert "".join(lines).replace(" ", "") == "".join(text.split())
    assert all(text_width(line) <= width for line in lines)
    shortened = wrapped(text, width).split("\n")
    assert len(shortened) <= 3
    assert shortened == lines if len(lines) <= 3 else shortened[2].endswith("…")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("two-way margin=1", ["two-way", "margin=1"]),
        ("positive_temperature=16", ["positive_", "temperature=", "16"]),
        ("abcdefghijklmnopqrstuvwxyz", ["abcdefghijklm", "nopqrstuvwxyz"]),
        ("", [""]),
    ],
)
def test_words_stay_whole_where_they_can(text, lines):
    assert wrapped(text, 90).split("\n") == lines


def test_a_file_stands_alone(tmp_path):
    path = tmp_path / "plots.svg"
    plots = [plot(Line([(1, 1), (9, 9)]), heading=f"{HOSTILE} {number}") for number in range(5)]
    write_svg(path, plots, description=HOSTILE, columns=3)
    text = path.read_text("utf-8")
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert "var(" not in text
    assert "currentColor" not in text
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert root.attrib["viewBox"] == f"0 0 {width:g} {height:g}"
    assert 3 * 290 < width < 3 * 330
    assert 2 * 180 < height < 2 * 250
    points = [
        tuple(map(float, point.split(",")))
        for line in root.iter(f"{SVG}polyline")
        for point in line.attrib["points"].split()
    ]
    assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
    headings = [each for each in root.iter(f"{SVG}text") if each.get("font-weight")]
    assert len({(each.attrib["x"], each.attrib["y"]) for each in headings}) == 5


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    paths = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for path in paths:
        write_svg(path, [plot(Line([(1, 1 / 3), (9, 2 / 3)]))], description="x")
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(("columns", "rows"), [(1, 3), (2, 2), (9, 1)])
def test_plots_of_a_file_stand_in_rows(tmp_path, columns, rows):
    write_svg(tmp_path / "a.svg", [plot()] * 3, description="x", columns=columns)
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    assert float(root.attrib["height"]) // 180 == rows
    assert float(root.attrib["width"]) // 290 == min(columns, 3)
