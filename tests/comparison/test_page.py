import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from tests.scoring.drawn import draw_logits
from twlcli.comparison.page import label_rows, pair_matrix, write_page
from twlcli.comparison.plots import loss_plots, rate_plots, scores_plot
from twlcli.comparison.result import Candidate, RunScores
from twlcli.comparison.statistics import Comparison, compare

UGLY = ('<b>bold</b> & "quoted"', "l'été", "猫", "$x^2$ $")


def comparison_of(
    names: tuple[str, ...] = ("two-way", "asl gamma=2", "bce"),
    *,
    labels: tuple[str, ...] = UGLY,
    seeds: int = 2,
    rates: tuple[tuple[float, float], ...] = ((0.01, 0.6), (0.03, float("nan"))),
    history: bool = True,
) -> Comparison:
    """The first the best by far, the next two alike."""
    targets = draw_logits(0, images=60, labels=len(labels), rate=0.4)[1]
    candidates = []
    for place, name in enumerate(names):
        generator = np.random.default_rng(place)
        runs = []
        for seed in range(seeds):
            logits = generator.normal(size=targets.shape) + (3 if place == 0 else 1) * (
                targets == 1
            )
            records = ({"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.0}) if history else ()
            runs.append(RunScores(seed, logits.astype(np.float32), records))
        candidates.append(Candidate(name, "asl", {"gamma": 2.0}, 0.01, tuple(runs), rates))
    return compare(candidates, targets, labels, resamples=200)


def page_of(comparison: Comparison, folder: Path) -> str:
    path = folder / "compare.html"
    facts = {"data": "<photos> & more"}
    write_page(comparison, path, title="A <title>", command='twl compare "a b"', facts=facts)
    return path.read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Checks that every tag is closed, and collects the tags and the text."""

    VOID = ("meta",)

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    return page_of(comparison_of(), tmp_path_factory.mktemp("page"))


def test_the_page_needs_nothing_else(page):
    tags = Tags(page)
    assert not {"script", "link", "img", "iframe", "image"} & set(tags.seen)
    addresses = set(re.findall(r"https?://[^\"' <)]*", page))
    assert addresses == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "url(http" not in page
    assert "default-src 'none'" in page


def test_names_are_text(page):
    tags = Tags(page)
    assert "b" not in tags.seen
    for name in (*UGLY, "A <title>", "<photos> & more", 'twl compare "a b"', "asl gamma=2"):
        assert name in tags.text


def test_every_part_is_there(page):
    tags = Tags(page)
    for heading in ("Scores", "Pairs", "Learning rates", "Training loss", "Labels"):
        assert f"<h2>{heading}</h2>" in page
    assert tags.seen.count("svg") == 1 + 3 + 3
    assert "Holm's correction for 3 pairs" in tags.text
    assert "2 seeds hardly show" in tags.text
    assert "gamma = 2.0" in tags.text
    assert "All 4 labels, the largest difference first" in tags.text


def test_scores_are_in_percent(page):
    best = comparison_of().results[0].map_class
    assert best.std is not None
    assert f"{100 * best.mean:.2f} ± {100 * best.std:.2f}" in Tags(page).text


def test_a_comparison_of_one_has_no_pairs(tmp_path):
    page = page_of(comparison_of(("bce",), seeds=1, rates=(), history=False), tmp_path)
    headings = re.findall("<h2>(.*)</h2>", page)
    assert headings == ["Scores", "Labels"]
    assert Tags(page).seen.count("svg") == 1
    assert "±" not in page


def test_the_same_comparison_gives_the_same_page(page, tmp_path):
    assert page_of(comparison_of(), tmp_path) == page


def test_plots_take_their_colours_from_the_page():
    comparison = comparison_of()
    svg = scores_plot(comparison)
    plots = [svg, *(each.svg for each in (*rate_plots(comparison), *loss_plots(comparison)))]
    for plot in plots:
        assert plot.startswith("<svg ")
        assert "var(--accent)" in plot
        assert "<style" not in plot
        assert not re.search(r"(fill|stroke): #", plot)
    assert "asl gamma=2" in svg  # text stays text


def test_plots_leave_matplotlib_as_it_was():
    keys = [key for key in mpl.rcParams if key != "backend"]  # reading that one chooses one
    before = [mpl.rcParams[key] for key in keys]
    scores_plot(comparison_of(("two-way", "猫 $x$")))
    assert [mpl.rcParams[key] for key in keys] == before


def test_a_rate_that_diverged_has_a_cross():
    (plot,) = rate_plots(comparison_of(("bce",)))
    (without,) = rate_plots(comparison_of(("bce",), rates=((0.01, 0.6), (0.03, 0.5))))
    assert plot.name == "bce"
    for each in (plot, without):
        assert ">0.01</text>" in each.svg
        assert ">0.03</text>" in each.svg
    cross = "stroke: currentColor"  # the only mark in the colour of text
    assert cross in plot.svg
    assert cross not in without.svg


def test_the_matrix_turns_its_signs():
    matrix = pair_matrix(comparison_of())
    for row in range(3):
        assert matrix[row][row] is None
        for column in range(row):
            below, above = matrix[row][column], matrix[column][row]
            assert below is not None
            assert above is not None
            assert above.text.replace("+", "−") == below.text
            assert above.is_real == below.is_real
    first = matrix[0][1]
    assert first is not None
    assert first.is_real
    assert "var(--above)" in first.style
    assert re.fullmatch(r"two-way − .*: 95 % \+[\d.]+ to \+[\d.]+, adjusted p 0\.\d+", first.title)


def test_labels_are_sorted_by_their_widest_difference():
    comparison = comparison_of()
    best, *others = comparison.results
    widest = {
        label: max(abs(other.label_mean[column] - best.label_mean[column]) for other in others)
        for column, label in enumerate(comparison.labels)
    }
    rows = label_rows(comparison)
    assert [row.label for row in rows] == sorted(widest, key=lambda label: -widest[label])
    assert all(len(row.cells) == 2 for row in rows)


@pytest.mark.parametrize(("count", "shown"), [(100, 100), (101, 40)])
def test_long_vocabularies_show_the_largest_differences(count, shown, tmp_path):
    labels = tuple(f"label{number}" for number in range(count))
    comparison = comparison_of(labels=labels, seeds=1, rates=(), history=False)
    assert len(label_rows(comparison)) == shown
    said = (
        "All 100 labels" if shown == count else "The 40 labels with the largest differences of 101"
    )
    assert said in Tags(page_of(comparison, tmp_path)).text


def test_the_page_is_made_without_torch_and_pyplot(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from tests.comparison.test_page import comparison_of, page_of\n"
        "page_of(comparison_of(), pathlib.Path(sys.argv[1]))\n"
        "print({'torch', 'torchvision', 'matplotlib.pyplot'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "set()"
