import json
import re
import time
from dataclasses import replace

import numpy as np
import pytest

from tests.browser import Page, browse, needs_chromium, said
from tests.paired.drawn import paired_of
from tests.report.drawn import HOSTILE
from twlcli.errors import TwlError
from twlcli.images.image_file import Failure
from twlcli.pages.templates import digest
from twlcli.paired.page import MOST_LABELS, write_page
from twlcli.scoring.report import percent
from twlcli.scoring.source import Running

NAMES = ("old.onnx", "new.onnx")
RUNNING = Running(workers=1)


def written(folder, *separations, **options):
    paired, spec, annotations = paired_of(folder, *separations, written=True, **options)
    path = folder / "paired.html"
    write_page(paired, spec, annotations, path, running=RUNNING)
    return paired, path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    return written(folder, 1.0, np.array([1, 1, 0, 1, 3, 3]), names=NAMES)


def test_the_page_is_one_file_that_loads_nothing(made):
    text = made[1].read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    style, script = (
        re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("style", "script")
    )
    assert policy and style and script
    assert policy[1].replace("&#39;", "'") == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src {digest(style[1])}; script-src {digest(script[1])}"
    )
    assert text.count("<script") == 2
    assert not re.search(r" style=| on\w+=|https?://(?!www\.w3\.org/2000/svg)", text)


def test_without_scripts_everything_can_be_read(made):
    paired, path = made
    shown = Page(path.read_text())
    rows = [" ".join(text.split()) for text in shown.texts["tr"]]
    for label in paired.differences[0].labels:
        start = f"{label.label}{label.support}{percent(label.first)}{percent(label.value)}"
        assert any(row.startswith(start) for row in rows), start
    scores = next(row for row in rows if row.startswith("mAP@class"))
    for evaluation in paired.evaluations:
        assert percent(evaluation.map_class.value) in scores
    worst = paired.differences[0].disagreement.worst
    assert [each["alt"] for each in shown.images] == [each.image for each in worst]
    assert all((each["src"] or "").startswith("data:image/jpeg") for each in shown.images)


@needs_chromium
def test_the_table_sorts_and_finds(made):
    paired, path = made
    rows, up, by_name, real, found = said(
        path,
        """
        const cells = () => all("#rows tr").map((row) => [...row.cells].map((c) => c.textContent));
        const first = () => cells().map((row) => row[0]);
        say(cells());
        one('#headings [data-key="difference-0"] button').click();
        say(first());
        one('#headings [data-key="name"] button').click();
        say(first());
        one("#real").click();
        say([first(), text("#found")]);
        one("#real").click();
        one("#find").value = "CA";
        one("#find").dispatchEvent(new Event("input"));
        say([first(), text("#found")]);
        """,
    )
    labels = sorted(paired.differences[0].labels, key=lambda each: -each.difference.value)
    assert [row[0] for row in rows] == [each.label for each in labels]
    assert [row[1:4] for row in rows] == [
        [str(each.support), percent(each.first), percent(each.value)] for each in labels
    ]
    assert up == [each.label for each in labels][::-1]
    assert by_name == sorted(up)
    expected = sorted(each.label for each in paired.differences[0].real)
    assert expected
    assert real == [expected, f"{len(expected)} of 6 labels"]
    assert found == [["car", "cat"], "2 of 6 labels"]


def test_three_models_have_a_column_each(tmp_path):
    paired, path = written(tmp_path, 1.0, 2.0, 0.5, names=("a", "b", "c"))
    shown = Page(path.read_text())
    table = next(text for text in shown.texts["thead"] if "score" in text)
    assert "".join(table.split()) == "scoreabdifferencecdifference"
    values = json.loads(shown.texts["data-table"][0])
    assert values["names"] == ["a", "b", "c"]
    assert [len(row[3]) for row in values["labels"]] == [2] * 6
    assert len(shown.texts["disputed"]) == 2
    assert len(paired.differences) == 2


def test_hostile_names_stay_text(tmp_path):
    images = [f"{number:02}.png" for number in range(40)]
    for number, name in enumerate(("<img src=x onerror=alert(1)>.png", "javascript:alert(2).png")):
        images[number] = name
    _, path = written(
        tmp_path, -1.0, 3.0, labels=HOSTILE, names=HOSTILE[:2], images=images, unknown=0.0
    )
    text = path.read_text()
    assert "<img src=x" not in text and "</script><script>alert" not in text
    assert 'href="javascript:' not in text
    assert "\u202e" not in text and "\x1b" not in text
    shown = Page(text)
    assert len(shown.texts["script"]) == 1
    assert any("onerror=alert(1)" in text for text in shown.texts["bdi"])


@needs_chromium
def test_hostile_names_run_nothing(tmp_path):
    images = [f"{number:02}.png" for number in range(40)]
    _, path = written(tmp_path, -1.0, 3.0, labels=HOSTILE, names=HOSTILE[:2], images=images)
    shown = browse(path)
    assert shown.console == []
    assert len(shown.texts["row"]) == len(HOSTILE)


def test_models_that_agree_have_a_page_too(tmp_path):
    paired, spec, annotations = paired_of(tmp_path, 1.0, 1.0, shared=1.0, written=True)
    path = tmp_path / "paired.html"
    write_page(paired, spec, annotations, path, running=RUNNING)
    text = path.read_text()
    assert "The two give all 80 images the same labels." in text
    assert "<img" not in text


def test_images_that_are_gone_have_no_picture(tmp_path):
    paired, spec, annotations = paired_of(tmp_path, 1.0, 2.0)
    path = tmp_path / "paired.html"
    write_page(paired, spec, annotations, path, running=RUNNING)
    shown = Page(path.read_text())
    assert shown.images == []
    assert "no picture in this file" in shown.texts["missing"]


def test_images_that_could_not_be_read_are_named(tmp_path):
    paired, spec, annotations = paired_of(tmp_path, 1.0, 2.0)
    failures = tuple(Failure(f"<b>{number}.png", "no image") for number in range(150))
    path = tmp_path / "paired.html"
    write_page(replace(paired, unreadable=failures), spec, annotations, path, running=RUNNING)
    text = path.read_text()
    assert "<bdi>&lt;b&gt;99.png</bdi>: no image" in text
    assert "&lt;b&gt;100.png" not in text
    assert "and 50 more" in text


def test_few_images_have_a_page_without_intervals(tmp_path):
    paired, path = written(tmp_path, 1.0, 2.0, images=[f"{number}.png" for number in range(6)])
    assert paired.resamples == 0
    text = path.read_text()
    assert "Benjamini" not in text and "resamples" not in text
    assert "The differences have no intervals" in text


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path):
    paired, spec, annotations = paired_of(tmp_path, 1.0, 2.0)
    with pytest.raises(TwlError, match="cannot be written"):
        write_page(paired, spec, annotations, tmp_path / "gone" / "a.html", running=RUNNING)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@needs_chromium
def test_many_labels_stay_a_page_that_opens(tmp_path):
    labels = [f"label {column}" for column in range(MOST_LABELS + 100)]
    images = [f"{number}.png" for number in range(16)]
    paired, path = written(tmp_path, 1.0, 2.0, labels=labels, images=images, rate=0.3, unknown=0.0)
    assert path.stat().st_size < 8 << 20
    started = time.monotonic()
    (rows, found) = said(path, 'say(all("#rows tr").length); say(text("#found"))')
    assert (rows, found) == (200, "5,000 labels")
    assert time.monotonic() - started < 20
    ranked = len(paired.differences[0].labels)
    assert f"The table has the 5,000 of {ranked:,} labels" in path.read_text()
