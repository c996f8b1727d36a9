import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.browser import Page, browse, needs_chromium
from tests.browser import said as said_by
from tests.report.drawn import HOSTILE, evaluated_of
from twlcli.annotations.corrections import read_corrections
from twlcli.errors import TwlError
from twlcli.model.decisions import decide, thresholds_of
from twlcli.pages.templates import digest
from twlcli.recipe import DataRecipe, Recipe
from twlcli.report import label_cards
from twlcli.report.page import write_report
from twlcli.runs.run_folder import Run
from twlcli.scoring.metrics import count_decisions
from twlcli.scoring.report import percent

LABELS = ("cat", "dog", "bird", "car", "tree", "sky")
NAMES = 'const names = () => all("#rows .open").map((each) => each.textContent);\n'


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    return evaluated_of(tmp_path_factory.mktemp("page"), LABELS)


@pytest.fixture(scope="module")
def page(evaluated):
    path = evaluated.annotations.root / "report.html"
    write_report(evaluated, path)
    return path


def said(path, script, fragment=""):
    """What a script says that acts as the page's user."""
    return said_by(path, NAMES + script, fragment)


def test_the_page_is_one_file_that_loads_nothing(page):
    text = page.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    style, script = (
        re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("style", "script")
    )
    assert policy and style and script
    assert policy[1].replace("&#39;", "'") == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: 'self' file:; "
        f"style-src {digest(style[1])}; script-src {digest(script[1])}"
    )
    assert text.count("<script") == 4
    assert not re.search(r" style=| on\w+=|https?://(?!www\.w3\.org/2000/svg)", text)


def test_the_run_of_a_model_is_shown(evaluated, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("image,labels,split\na,cat|dog,train\nb,cat,train\nc,sky,val\n")
    run = Run.create(tmp_path / "run", Recipe(data=DataRecipe(path=str(table))))
    run.write_metrics([{"epoch": 1, "loss": 2.0, "map_class": 0.25, "map_sample": 0.5}])
    of_run = replace(
        evaluated,
        model=str(run.folder),
        annotations=replace(evaluated.annotations, source=table),
    )
    write_report(of_run, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "mAP@class: 25.00 in epoch 1" in text
    rows = json.loads(Page(text).texts["data-table"][0])["labels"]
    assert [row[-2] for row in rows] == [2, 1, 0, 0, 0, 0]


def test_a_page_that_cannot_be_written_leaves_nothing(evaluated, tmp_path):
    with pytest.raises(TwlError, match="cannot be written"):
        write_report(evaluated, tmp_path / "gone" / "report.html")
    assert list(tmp_path.iterdir()) == []


@needs_chromium
def test_the_table_shows_the_evaluation_s_numbers(page, evaluated):
    shown = browse(page)
    assert shown.console == []
    assert shown.texts["open"] == list(LABELS)
    assert shown.texts["found"] == ["6 labels"]
    (rows,) = said(
        page, 'say(all("#rows tr").map((row) => [...row.cells].map((c) => c.textContent)))'
    )
    for row, label in zip(rows, evaluated.evaluation.labels, strict=True):
        numbers = (label.average_precision, label.f1, label.precision, label.recall)
        counts = (str(label.support), str(label.unknown), f"{label.threshold:.3f}")
        assert row == [label.label, *map(percent, numbers), *counts]


def test_without_scripts_the_table_can_be_read(page, evaluated):
    shown = Page(page.read_text())
    for label in evaluated.evaluation.labels:
        row = f"{label.label}{percent(label.average_precision)}{percent(label.f1)}"
        assert any(text.startswith(row) for text in shown.texts["tr"])
    assert percent(evaluated.evaluation.map_class.value) in shown.texts["tiles"][0]


@needs_chromium
def test_headings_sort(page, evaluated):
    script = """
    const sortBy = (key) => {
      one(`#headings [data-key=${key}] button`).click();
      say([names(), all("#headings th").map((th) => th.getAttribute("aria-sort"))]);
    };
    for (const key of ["ap", "ap", "name", "support"]) sortBy(key);
    """
    down, up, name, support = said(page, script)
    rows = evaluated.evaluation.labels
    by_score = sorted(rows, key=lambda row: -row.average_precision)
    assert down[0] == [row.label for row in by_score]
    assert down[1] == ["none", "descending", *["none"] * 6]
    assert up[0] == down[0][::-1]
    assert up[1][1] == "ascending"
    assert (name[0], name[1][0]) == (sorted(LABELS), "ascending")
    assert support[0] == [row.label for row in sorted(rows, key=lambda row: -row.support)]


@needs_chromium
def test_labels_are_found(page):
    script = """
    const find = (part) => {
      one("#find").value = part;
      one("#find").dispatchEvent(new Event("input"));
      say([names(), text("#found")]);
    };
    ["CA", "zebra", ""].forEach(find);
    """
    some, none, every = said(page, script)
    assert some == [["cat", "car"], "2 of 6 labels"]
    assert none == [[], "0 of 6 labels"]
    assert every == [list(LABELS), "6 labels"]


@needs_chromium
def test_the_slider_shows_what_the_metrics_give(page, evaluated):
    values = [0.0, 0.001, 0.137, 0.25, 0.5, 0.733, 0.999, 1.0]
    script = f"""
    for (const row of all("#rows .open")) row.click();
    const numbers = (card) => Object.fromEntries([...card.querySelectorAll("[data-number]")]
      .map((each) => [each.dataset.number, each.textContent]));
    for (const card of all(".card")) {{
      const range = card.querySelector("input");
      const fitted = Number(range.value);
      const shown = [numbers(card)];
      for (const value of {values}) {{
        const place = Math.round(value * 1000);
        range.value = place >= fitted ? place + 1 : place;  // its own threshold stands between
        range.dispatchEvent(new Event("input"));
        shown.push([card.querySelector(".value").textContent, numbers(card)]);
      }}
      card.querySelector(".fitted").click();
      shown.push(numbers(card));
      say(shown);
    }}
    """
    cards = said(page, script)
    assert len(cards) == len(LABELS)
    own = evaluated.evaluation.labels
    for threshold, place in [*((value, n + 1) for n, value in enumerate(values)), (None, 0)]:
        limits = thresholds_of(evaluated.spec, threshold)
        decisions = decide(evaluated.probabilities, limits)
        counts = count_decisions(decisions, evaluated.scored.targets)
        for column, card in enumerate(cards):
            shown = card[place]
            if threshold is not None:
                assert shown[0] == f"{threshold:.3f}"
                shown = shown[1]
            correct, given = int(counts.correct[column]), int(counts.given[column])
            tagged = int(decisions[:, column].sum())
            assert shown == {
                "precision": percent(counts.precision[column]),
                "recall": percent(counts.recall[column]),
                "f1": percent(counts.f1[column]),
                "tagged": f"{tagged} of 80",
                "correct": str(correct),
                "wrong": str(given - correct),
                "missed": str(int(counts.present[column]) - correct),
                "unknown": str(tagged - given),
            }
    for card, label in zip(cards, own, strict=True):
        assert card[-1] == card[0]
        assert card[0]["f1"] == percent(label.f1)


@needs_chromium
def test_examples_are_judged_at_the_threshold(page):
    script = """
    one("#rows .open").click();
    const range = one(".card input");
    const right = (kind) => all(`[data-examples=${kind}] li`).map((each) =>
      [Number(each.querySelector("b").textContent), each.querySelector(".verdict").textContent]);
    for (const value of [range.value, 0, range.max]) {
      range.value = value;
      range.dispatchEvent(new Event("input"));
      say([right("wrong"), right("missed")]);
    }
    """
    own, lowest, highest = said(page, script)
    (wrong, missed), no, yes = own, "", "right at this threshold"
    assert wrong == sorted(wrong, key=lambda each: -each[0]) and missed == sorted(missed)
    assert len(wrong) > 1 and len(missed) > 1
    assert {verdict for _, verdict in wrong + missed} == {no}
    assert [{verdict for _, verdict in kind} for kind in lowest] == [{no}, {yes}]
    assert [{verdict for _, verdict in kind} for kind in highest] == [{yes}, {no}]


@needs_chromium
def test_halves_are_rounded_as_python_rounds_them(page):
    values = [k / 8 + n for n in (0, 3, 41, 99) for k in range(8)] + [1.005, 2.675, 0.285]
    script = f"say({values}.map((value) => [fixed(value, 2), fixed(value, 1), fixed(value, 0)]))"
    (texts,) = said(page, script)
    assert texts == [[f"{v:.2f}", f"{v:.1f}", f"{v:.0f}"] for v in values]


@needs_chromium
def test_a_card_is_opened_and_closed_by_keys(page):
    script = """
    const [cat, dog] = all("#rows .open");
    const state = () => [all(".card h3").map((each) => each.textContent),
      dog.getAttribute("aria-expanded"), document.activeElement === dog, location.hash];
    dog.focus();
    dog.click();  // what Enter and the space bar do to a button
    say(state());
    say(document.getElementById(dog.getAttribute("aria-controls")).querySelector("h3").textContent);
    const range = one(".card input");
    range.focus();
    say(range.closest("label").textContent.trim());
    say(range.getAttribute("aria-valuetext"));
    range.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
    say(state());
    const isNamed = (each) => each.textContent.trim() || each.closest("label") || each.ariaLabel;
    const focusable = all("button, input, a[href], [tabindex]");
    say(focusable.filter((each) => each.tabIndex >= 0 && !isNamed(each)).length);
    """
    opened, controlled, named, value, closed, unnamed = said(page, script)
    assert opened == [["dog"], "true", True, "#label=dog"]
    assert controlled == "dog" and named == "Threshold"
    assert re.fullmatch(r"0\.\d{3}: precision [\d.]+, recall [\d.]+, F1 [\d.]+", value)
    assert closed == [[], "false", True, ""]
    assert unnamed == 0


@needs_chromium
def test_an_address_opens_a_label(page):
    shown = browse(page, "label=bird")
    assert "bird" in shown.texts["h3"]
    assert shown.console == []
    assert all(image["alt"] and image["src"] for image in shown.images)
    assert shown.images and str(shown.images[0]["src"]).startswith("data:image/jpeg")


@needs_chromium
def test_open_cards_stay_open_while_the_table_is_sorted(page):
    script = """
    one("#rows .open").click();
    one(".card input").value = 137;
    one(".card input").dispatchEvent(new Event("input"));
    one("#headings [data-key=name] button").click();
    one("#headings [data-key=name] button").click();
    say([names(), all("#rows > tr").map((row) => row.className), text(".card .value")]);
    const escape = new KeyboardEvent("keydown", { key: "Escape", bubbles: true });
    one(".card input").dispatchEvent(escape);
    say([all(".card").length, document.activeElement.textContent]);
    """
    (names, rows, value), closed = said(page, script)
    assert value == "0.137" and closed == [0, "cat"]
    assert names == ["tree", "sky", "dog", "cat", "car", "bird"]
    assert rows == ["row"] * 4 + ["opened"] + ["row"] * 2


HOSTILE_IMAGES = (
    "</script><script>alert(1)<",
    "\u202egpj",
    "\"'&amp;",
    "line\nbreak",
    "javascript:alert(3)",
    "x" * 200,
    *"abcdefghijklmnopqrstuvwxyz",
)


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    images = [f"{name.replace('/', '_')}.png" for name in HOSTILE_IMAGES]
    path = folder / "report.html"
    write_report(evaluated_of(folder, HOSTILE, images=images), path)
    return path


class Tags(HTMLParser):
    """The tags and attributes of a page; what stands in scripts is no tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(f"{tag}.{name}" for name, _ in attrs)}


def test_hostile_names_make_no_elements(page, hostile_page):
    own, found = (Tags(each.read_text()).found for each in (page, hostile_page))
    assert found <= own
    assert "img" not in own and not any("." in each and ".on" in each for each in own)


@needs_chromium
def test_hostile_names_do_no_harm(hostile_page):
    assert hostile_page.stat().st_size < 1_000_000
    script = """
    say(names());
    for (const open of all("#rows .open")) open.click();
    say(all(".card h3").map((each) => each.textContent));
    say(all("script").length + all("[onerror]").length);
    say(all(".examples a").map((each) => new URL(each.href).protocol));
    say(all(".examples .file").map((each) => each.textContent));
    """
    names, headings, scripts, protocols, files = said(hostile_page, script)
    assert len(names) == len(HOSTILE) and headings == names
    assert names[:3] == list(HOSTILE[:3])
    assert names[3:5] == ["\\u202egnp.exe", "line\\nbreak\\x1b[31m"]
    assert names[5].startswith("日本xxx") and len(names[5]) == 160
    assert scripts == 5  # the page's four and this one
    assert set(protocols) == {"file:"}
    assert all(name.isprintable() and len(name) <= 160 for name in files)
    assert {"b.png", "\"'&amp;.png"} <= set(files)


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("which", ["page", "hostile_page"])
def test_nothing_is_wider_than_the_window(which, width, request):
    page = request.getfixturevalue(which)
    frame = page.with_name("frame.html")
    script = """
    addEventListener("load", () => {
      const inside = document.querySelector("iframe").contentDocument;
      inside.querySelectorAll("#rows .open").forEach((each) => each.click());
      const { scrollWidth, clientWidth } = inside.documentElement;
      const parts = [...inside.querySelectorAll(".card, .card table")];
      const isInside = parts.every((each) => each.getBoundingClientRect().right <= clientWidth);
      const found = `${clientWidth > 300} ${scrollWidth - clientWidth} ${isInside}`;
      const said = document.createElement("p");
      document.body.append(Object.assign(said, { className: "said", textContent: found }));
    });
    """
    source = page.read_text().replace("&", "&amp;").replace('"', "&quot;")
    frame.write_text(
        f'<meta charset="utf-8"><iframe width="{width}" height="900" srcdoc="{source}"></iframe>'
        f"<script>{script}</script>"
    )
    assert browse(frame).texts["said"] == ["true 0 true"]


@pytest.mark.slow
@needs_chromium
def test_thousands_of_labels(tmp_path):
    labels = [f"label {number}" for number in range(5000)]
    evaluated = evaluated_of(tmp_path, labels, images=[f"{n}.png" for n in range(300)])
    path = tmp_path / "report.html"
    write_report(evaluated, path)
    assert path.stat().st_size < 20e6
    script = """
    say(names().length);
    one("#find").value = "label 499";
    one("#find").dispatchEvent(new Event("input"));
    say(text("#found"));
    one("#rows .open").click();
    say(text(".card h3"));
    one("#find").value = "";
    one("#find").dispatchEvent(new Event("input"));
    one("#show-more").click();
    say([names().length, document.activeElement.textContent]);
    """
    assert said(path, script) == [200, "11 of 5,000 labels", "label 499", [400, "label 200"]]


@needs_chromium
def test_corrections_are_kept_and_saved_as_a_table(evaluated, tmp_path):
    path = tmp_path / "report.html"
    write_report(evaluated, path)
    script = """
    one("#rows .open").click();
    const [first, second] = all("[data-examples=wrong] li");
    const pressed = () => all(".marks [aria-pressed=true]").map((each) => each.ariaLabel);
    say([one("#corrections").hidden, pressed(), first.querySelector(".file").textContent]);
    first.querySelector("[data-verdict=present]").click();
    const press = (key, more) => second.querySelector("a").dispatchEvent(
      new KeyboardEvent("keydown", { key, bubbles: true, ...more }));
    press("n"); press("u"); press("y", { ctrlKey: true });
    say([one("#corrections").hidden, pressed(), text("#corrections b")]);
    press("u");
    say([correctionsTable(), text("#corrections b")]);
    """
    (hidden, none, name), (shown, pressed, both), (table, one) = said(path, script)
    assert hidden and not shown and none == []
    assert pressed == ["cat: present", "cat: unknown"]
    assert (both, one) == ("2 corrections", "1 correction")
    saved = tmp_path / "corrections.csv"
    saved.write_text(table)
    assert [(each.image, each.label, each.value) for each in read_corrections(saved)] == [
        (name, "cat", 1)
    ]
    again = """
    say([one("#corrections").hidden, text("#corrections b")]);
    window.confirm = () => true;
    one("#forget-corrections").click();
    say([one("#corrections").hidden, correctionsTable(), localStorage.getItem(MARKS_KEY)]);
    """
    assert said(path, again) == [
        [False, "1 correction"],
        [True, "image,label,verdict\n", "[]"],
    ]


@needs_chromium
def test_corrections_name_images_and_labels_as_the_data_do(page, tmp_path):
    names = ("=1+1.jpg", "./@a", 'a"b,c;d.jpg', "line\nbreak", "\u3000x", "'+1", "\ufeff1", "'' 2")
    script = f"""
    for (const name of {json.dumps(names)}) mark(name, name, "absent");
    say(correctionsTable());
    """
    (table,) = said(page, script)
    saved = tmp_path / "corrections.csv"
    saved.write_text(table, newline="")
    assert [(each.image, each.label) for each in read_corrections(saved)] == [
        (name, name) for name in names
    ]


@needs_chromium
def test_names_that_are_shown_cut_are_corrected_whole(hostile_page, tmp_path):
    script = """
    for (const each of all("#rows .open")) each.click();
    for (const each of all(".marks [data-verdict=absent]")) each.click();
    say(correctionsTable());
    """
    (table,) = said(hostile_page, script)
    saved = tmp_path / "corrections.csv"
    saved.write_text(table, newline="")
    found = read_corrections(saved)
    assert {each.label for each in found} <= set(HOSTILE)
    assert max(len(each.label) for each in found) > 1000
    whole = {f"{name.replace('/', '_')}.png" for name in HOSTILE_IMAGES}
    assert {each.image for each in found} <= whole


@needs_chromium
def test_intervals_of_labels_are_shown_where_there_are_any(tmp_path):
    images = [f"{number}.png" for number in range(110)]
    evaluated = evaluated_of(tmp_path, images=images, written=False)
    assert {label.interval is None for label in evaluated.evaluation.labels} == {True, False}
    page = tmp_path / "report.html"
    write_report(evaluated, page)
    script = """
    for (const each of all("#rows .open")) each.click();
    say(all("#headings th").map((th) => th.dataset.key));
    const low = COLUMNS.findIndex(({ key }) => key === "low");
    say(all("#rows > .row").map((row) => row.children[low].textContent));
    say(all(".card .ap").map((each) => each.textContent));
    """
    keys, cells, lines = said(page, script)
    assert keys[1:3] == ["ap", "low"]
    for label, cell, line in zip(evaluated.evaluation.labels, cells, lines, strict=True):
        if label.interval is None:
            assert cell == "\u2013" and "interval" not in line
        else:
            low, high = (100 * round(end, 4) for end in label.interval)
            assert cell == f"{low:.0f}\u2013{high:.0f}"
            assert f"95 % interval {low:.1f}\u2013{high:.1f}" in line
        assert line.startswith(f"AP {percent(label.average_precision)}")


@needs_chromium
def test_where_the_page_has_no_room_images_are_read_from_their_places(tmp_path, monkeypatch):
    monkeypatch.setattr(label_cards, "_MOST_PICTURES", 2000)
    evaluated = evaluated_of(tmp_path)
    path = tmp_path / "report.html"
    write_report(evaluated, path)
    script = """
    for (const each of all("#rows .open")) each.click();
    const drawn = all(".examples img");
    for (const each of drawn) each.loading = "eager";
    setTimeout(() => {
      const there = drawn.filter((each) => each.isConnected);
      const isInside = (each) => each.src.startsWith("data:");
      const widths = there.every((each) => each.naturalWidth === (isInside(each) ? 144 : 24));
      say([there.length, there.filter(isInside).length, all(".missing").length, widths]);
    }, 2000);
    """
    ((there, inside, missing, right),) = said(path, script)
    assert 0 < inside < there and missing == 0 and right
    for image in tmp_path.glob("*.png"):
        image.unlink()
    ((_, inside_again, missing, _),) = said(path, script)
    assert inside_again == inside and missing == there - inside
