import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.comparison.drawn import HISTORY, UGLY, comparison_of
from twlcli.comparison.page import label_rows, pair_matrix, write_page
from twlcli.comparison.report import About
from twlcli.comparison.result import Comparison


def page_of(comparison: Comparison, folder: Path, *, limit: int | None = None) -> str:
    path = folder / "compare.html"
    facts = {"data": "<photos> & more"}
    write_page(comparison, path, About("A <title>", facts, 'twl compare "a b"', limit))
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
    assert not re.search(r"https?:|url\(", page)
    assert "default-src 'none'" in page


def test_names_are_text(page):
    tags = Tags(page)
    assert "b" not in tags.seen
    for name in (*UGLY, "A <title>", "<photos> & more", 'twl compare "a b"', "asl clip=0.1"):
        assert name in tags.text


def test_every_part_is_there(page):
    tags = Tags(page)
    for heading in (
        "Scores",
        "Pairs",
        "Learning rates",
        "Scores by epoch",
        "Training loss",
        "Labels",
    ):
        assert f"<h2>{heading}</h2>" in page
    assert tags.seen.count("svg") == 1 + 3 + 3 + 3
    assert "Holm's correction for 3 pairs" in tags.text
    assert "2 seeds hardly show" in tags.text
    assert "clip = 0.1" in tags.text
    assert "All 4 labels, the largest difference first" in tags.text


def test_scores_are_in_percent(page):
    best = comparison_of().results[0].map_class
    assert best.std is not None
    assert f"{100 * best.mean:.2f} ± {100 * best.std:.2f}" in Tags(page).text


def test_a_comparison_of_one_has_no_pairs(tmp_path):
    page = page_of(comparison_of(("bce",), seeds=1, rates=(), history=()), tmp_path)
    headings = re.findall("<h2>(.*)</h2>", page)
    assert headings == ["Scores", "Labels"]
    assert Tags(page).seen.count("svg") == 1
    assert "±" not in page


def test_the_same_comparison_gives_the_same_page(page, tmp_path):
    assert page_of(comparison_of(), tmp_path) == page


def test_runs_validated_once_have_no_scores_by_epoch(tmp_path):
    last = ({"epoch": 1, "loss": 3.0}, HISTORY[1])
    page = page_of(comparison_of(history=last), tmp_path)
    assert "<h2>Training loss</h2>" in page
    assert "<h2>Scores by epoch</h2>" not in page


def test_a_dry_run_says_so_first(page, tmp_path):
    warning = "A dry run on at most 50 training and 50 validation images"
    text = Tags(page_of(comparison_of(), tmp_path, limit=50)).text
    assert text.index("A <title>") < text.index(warning) < text.index("Scores")
    assert warning not in page


def test_plots_say_what_they_show(page):
    labels = re.findall(r'<svg [^>]*role="img" aria-label="([^"]*)"', page)
    assert len(labels) == page.count("<svg ")
    assert labels[0] == "mAP@class of each loss"
    assert "training loss of asl clip=0.1 by epoch" in labels


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
    comparison = comparison_of(labels=labels, seeds=1, rates=(), history=())
    assert len(label_rows(comparison)) == shown
    said = (
        "All 100 labels" if shown == count else "The 40 labels with the largest differences of 101"
    )
    assert said in Tags(page_of(comparison, tmp_path)).text


def test_the_page_is_made_without_torch(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from tests.comparison.test_page import comparison_of, page_of\n"
        "page_of(comparison_of(), pathlib.Path(sys.argv[1]))\n"
        "print({'torch', 'torchvision', 'matplotlib'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "set()"
